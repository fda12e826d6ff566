"""Training: from a configuration to a trained network in a run folder, resumable at any point.

First the floating-point twin is trained, then the quantized network starts from its weights and
learns from the labels and the twin's answers (distillation, Hinton et al. 2015). Without hidden
layers, the twin is fitted in closed form and the quantized network learns its logits alone. Every
batch depends only on seed and step, so a resumed run ends with the same weights as one that was
never stopped (with the same number of threads).
"""

import json
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ..configs.schema import Config
from ..model.features import make_front_end
from ..support.files import save_array, write_atomically
from ..support.parallel import release_workers
from .calibration import PARTS, calibrate, calibration_logits
from .curve import draw_learning_curve
from .data.catalogue import list_tracks, other_files
from .data.checking import check_tracks, summary
from .data.pool import (
    COMPILING,
    TRAINING,
    ExamplePool,
    TrainingData,
    load_pool,
    make_examples,
    prepare_noise,
    remove_examples,
    statistics_of,
)
from .data.sounds import split_sounds
from .data.split import Split, split_tracks
from .data.views import load_views
from .fitting import PHASES, Fitting, read_checkpoint, save_tensors, validate
from .ridge import fit_ridge
from .run import Run, RunFile

SHOWN = 5
"""Skipped tracks that are named at once; the others stand in ``catalogue.json``."""


def train(
    config: Config,
    *,
    announce: Callable[[str], None] = print,
    run: Run | None = None,
    data: TrainingData | None = None,
) -> Run:
    """Train a configuration, or go on with its interrupted run.

    Args:
        config: all settings.
        announce: told in one line each what happens.
        run: where the run lies; ``<runs>/<name>`` where None.
        data: of `prepare_data`, whose training images then stay in the cache, for other folds.

    Returns:
        The finished run.

    Raises:
        CatalogueError: no usable catalogue.
        RunError: the run's folder belongs to another configuration.
    """
    run = run or Run.create(config)
    prepare_split(run, announce)
    if run.trained:
        run.path(RunFile.WITHOUT).unlink(missing_ok=True)
        announce(f"{run.folder}: already trained.")
        return run
    torch.manual_seed(config.seed)
    keep_examples, data = data is not None, data or prepare_data(run)
    paths = make_examples(
        data, stream=TRAINING, count=config.training.examples, title="Making training examples"
    )
    if not run.has(RunFile.STATISTICS):
        analysed = make_front_end(config.signal, config.spectrum)
        save_array(run.path(RunFile.STATISTICS), statistics_of(paths, analysed))
    if not run.has(RunFile.FLOAT):
        run.path(RunFile.SELECTED).unlink(missing_ok=True)  # of a fit that was interrupted
    pool = load_pool(paths, run.front_end(), config.seed, data.remix())
    validation = data.maker(run.front_end()).validation()
    release_workers()
    checkpoint = read_checkpoint(run.path(RunFile.CHECKPOINT))
    if checkpoint is not None:
        announce(f"Resuming {checkpoint['phase']} training at step {checkpoint['step']}.")
    for phase in PHASES:
        if run.has(RunFile.weights(quantized=phase == "quantized")):
            continue
        if phase == "float" and not config.network.layers:
            validation = _fit_linear(run, pool, *validation)
        else:
            mine = checkpoint if checkpoint and checkpoint["phase"] == phase else None
            Fitting(run, phase, pool, mine).fit(*validation)
    draw_learning_curve(run.path(RunFile.METRICS), run.path(RunFile.CURVE))
    labels, logits = calibration_logits(run)
    run.write_calibration(labels, logits)
    decisions = {
        phase: calibrate(logits[phase], labels, config.training.false_alarm_rate).to_json()
        for phase in PHASES
    }
    run.write_json(RunFile.DECISION, decisions)
    run.path(RunFile.WITHOUT).unlink(missing_ok=True)
    if not keep_examples:
        remove_examples(data)
    return run


def _fit_linear(
    run: Run, pool: ExamplePool, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Fit the floating-point twin that has no hidden layers, in closed form.

    From then on the pool holds only those values of its images that the network reads.

    Args:
        run: where the twin is saved.
        pool: training images.
        images: to validate with, float [clips, channels, bands, columns].
        labels: int [clips].

    Returns:
        What to validate the quantized network with, likewise.
    """
    started = time.monotonic()
    config = run.config
    fit = fit_ridge(
        pool,
        run.split().unknown_class + 1,
        config.training.ridge,
        inputs=config.network.inputs,
        parts=run.split().parts(PARTS),
        title="Training (float, in closed form)",
    )
    save_array(run.path(RunFile.WITHOUT), fit.without.numpy())
    if len(fit.selected) < images[0].numel():
        save_array(run.path(RunFile.SELECTED), fit.selected.numpy())
        pool.images, images = (
            part.flatten(1)[:, fit.selected, None, None] for part in (pool.images, images)
        )
    network = run.new_network(quantized=False)
    with torch.no_grad():
        network.head.weight.copy_(fit.weights)
    line = {"phase": "float", "step": 1, "seconds": round(time.monotonic() - started, 2)}
    line |= validate(network, images, labels)
    write_atomically(run.path(RunFile.METRICS), (json.dumps(line) + "\n").encode())
    save_tensors(run.path(RunFile.FLOAT), network.state_dict())
    return images, labels


def prepare_split(run: Run, announce: Callable[[str], None]) -> Split:
    """The split on file, or a new one of the tracks that can be used."""
    if run.has(RunFile.SPLIT):
        return run.split()
    config = run.config
    found = check_tracks(
        list_tracks(config.catalogue, run.cache), config, workers=config.training.workers
    )
    told = {**found.to_json(), "other_files": other_files(config.catalogue)}
    run.write_json(RunFile.CATALOGUE, told)
    for problem in found.problems[:SHOWN]:
        announce(f"Skipped: {problem.reason}")
    for line in skipped(run):
        announce(line)
    tracks = found.usable
    split = split_tracks(tracks, config.split, config.seed)
    split.save(run.path(RunFile.SPLIT))
    announce(
        f"{len(tracks)} tracks: {len(split.known)} known, {len(split.known_unknowns)} teach "
        f"'unknown', {len(split.unknown_test)} test it."
    )
    return split


def skipped(run: Run) -> list[str]:
    """What of a run's catalogue was left out, in a few lines for people."""
    path = run.path(RunFile.CATALOGUE)
    return summary(json.loads(path.read_text("utf-8")), str(path)) if path.exists() else []


def prepare_data(run: Run) -> TrainingData:
    """Everything training images are made of, rendered where the cache lacks it."""
    config, split = run.config, run.split()
    teaching = split.teaching if config.network.layers else split.known_unknowns
    views, opened = load_views(
        [*split.known, *teaching], config, run.cache, title="Rendering views"
    )
    opened.add(prepare_noise(config, run.cache).to_json())
    sounds = split_sounds(config).calibrating
    opened.add({"noise": sounds.noise.names, "impulse_responses": sounds.rooms.names})
    opened.add({"tracks": [str(track.path) for track in split.known_unknowns]})
    run.write_json(RunFile.OPENED, opened.to_json())
    known = len(split.known)
    return TrainingData(config, run.cache, tuple(views[:known]), tuple(views[known:]))


def training_examples(run: Run, data: TrainingData, count: int) -> Tensor:
    """Images drawn as in training, for calibration: float [count, channels, bands, columns]."""
    paths = make_examples(data, stream=COMPILING, count=count, title="Drawing calibration clips")
    images = load_pool(paths, run.front_end(), run.config.seed).images[:count].float()
    for path in paths:
        path.unlink()
    return images
