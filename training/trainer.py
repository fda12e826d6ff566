"""Training: from a configuration to a trained network in a run folder, resumable at any point.

Without hidden layers, a network is fitted in closed form (`hushtune.training.linear`). With them,
first the floating-point twin is trained, then the quantized network starts from its weights and
learns from the labels and the twin's answers (distillation, Hinton et al. 2015). Every batch
depends only on seed and step, so a resumed run ends with the same weights as one that was never
stopped (with the same number of threads).
"""

import json
from collections.abc import Callable

import torch
from torch import Tensor

from ..configs.schema import Config
from ..model.features import make_front_end
from ..support.files import save_array
from ..support.parallel import release_workers
from .calibration import calibration_scores, write_decisions
from .curve import draw_learning_curve
from .data.catalogue import list_tracks, other_files
from .data.checking import check_tracks, summary
from .data.pool import (
    COMPILING,
    TRAINING,
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
from .fitting import PHASES, Fitting, read_checkpoint
from .linear.changes import compare
from .linear.train import linear_examples, train_linear
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
        data: with hidden layers, of `prepare_data`: its examples then stay in the cache, for other
            folds.

    Returns:
        The finished run.

    Raises:
        CatalogueError: no usable catalogue.
        RunError: the run's folder belongs to another configuration.
    """
    run = run or Run.create(config)
    prepare_split(run, announce)
    if run.trained:
        announce(f"{run.folder}: already trained.")
        if not config.network.layers and config.fold is None:
            changes = compare(run)
            if changes:
                announce(
                    f"The catalogue has changed since: {changes.text}. Take it over with "
                    f"'hushtune sync {run.folder}'."
                )
        return run
    torch.manual_seed(config.seed)
    if config.network.layers:
        _train_layers(run, data, announce)
    else:
        train_linear(run, announce)
    write_decisions(run)
    return run


def _train_layers(run: Run, data: TrainingData | None, announce: Callable[[str], None]) -> None:
    """Train both networks by gradient descent, and judge the calibration clips."""
    config = run.config
    keep_examples, data = data is not None, data or prepare_data(run)
    paths = make_examples(
        data, stream=TRAINING, count=config.training.examples, title="Making training examples"
    )
    if not run.has(RunFile.STATISTICS):
        analysed = make_front_end(config.signal, config.spectrum)
        save_array(run.path(RunFile.STATISTICS), statistics_of(paths, analysed))
    pool = load_pool(paths, run.front_end(), config.seed, data.remix())
    validation = data.maker(run.front_end()).validation()
    release_workers()
    checkpoint = read_checkpoint(run.path(RunFile.CHECKPOINT))
    if checkpoint is not None:
        announce(f"Resuming {checkpoint['phase']} training at step {checkpoint['step']}.")
    for phase in PHASES:
        if not run.has(RunFile.weights(quantized=phase == "quantized")):
            mine = checkpoint if checkpoint and checkpoint["phase"] == phase else None
            Fitting(run, phase, pool, mine).fit(*validation)
    draw_learning_curve(run.path(RunFile.METRICS), run.path(RunFile.CURVE))
    run.write_calibration(*calibration_scores(run))
    if not keep_examples:
        remove_examples(data)


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
    announce(f"{len(tracks)} tracks, {len(split.known)} of them to be enrolled.")
    for held, purpose in ((split.known_unknowns, "teach"), (split.unknown_test, "test")):
        if held:
            some = "; ".join(track.name for track in held[:SHOWN])
            more = f"; and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
            announce(f"Not enrolled, to {purpose} 'unknown': {some}{more}.")
    return split


def skipped(run: Run) -> list[str]:
    """What of a run's catalogue was left out, in a few lines for people."""
    path = run.path(RunFile.CATALOGUE)
    return summary(json.loads(path.read_text("utf-8")), str(path)) if path.exists() else []


def prepare_data(run: Run) -> TrainingData:
    """Everything training examples are made of, rendered where the cache lacks it."""
    config, split = run.config, run.split()
    views, opened = load_views(
        [*split.known, *split.teaching], config, run.cache, title="Rendering views"
    )
    opened.add(prepare_noise(config, run.cache).to_json())
    sounds = split_sounds(config).calibrating
    opened.add({"noise": sounds.noise.names, "impulse_responses": sounds.rooms.names})
    opened.add({"tracks": [str(track.path) for track in split.known_unknowns]})
    run.write_json(RunFile.OPENED, opened.to_json())
    known = len(split.known)
    return TrainingData(config, run.cache, tuple(views[:known]), tuple(views[known:]))


def training_examples(run: Run, data: TrainingData | None, count: int) -> Tensor:
    """Features drawn as in training, for the compiler: float [count, channels, bands, columns].

    Args:
        run: trained.
        data: of `prepare_data`, with hidden layers; prepared where None.
        count: how many.
    """
    if not run.config.network.layers:
        return linear_examples(run, count)
    data = data or prepare_data(run)
    paths = make_examples(data, stream=COMPILING, count=count, title="Drawing calibration clips")
    images = load_pool(paths, run.front_end(), run.config.seed).images[:count].float()
    for path in paths:
        path.unlink()
    return images
