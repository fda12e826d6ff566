"""Training: from a configuration to a trained network in a run folder, resumable at any point.

First the floating-point twin is trained, then the quantized network starts from its weights and
learns from the labels and the twin's answers (distillation, Hinton et al. 2015). Without hidden
layers, the twin is fitted in closed form and the quantized network learns its logits alone. Every
batch depends only on seed and step, so a resumed run ends with the same weights as one that was
never stopped (with the same number of threads).
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..configs.schema import Config
from ..model.features import make_front_end
from ..model.network import Network
from ..support.errors import RunError
from ..support.files import read_json_lines, save_array, save_tensors, write_atomically
from ..support.parallel import release_workers
from ..support.progress import progress_bar
from .calibration import PARTS, WITHOUT, calibrate, calibration_logits
from .curve import draw_learning_curve
from .data.catalogue import list_tracks
from .data.pool import (
    COMPILING,
    TRAINING,
    ImagePool,
    TrainingData,
    load_pool,
    make_images,
    prepare_noise,
    remove_images,
    statistics_of,
)
from .data.sounds import split_sounds
from .data.split import Split, split_tracks
from .data.views import check_tracks, load_views
from .ridge import fit_least_squares
from .run import Run

LOG_EVERY = 25
WARM_UP = 0.1
"""Share of the steps over which the learning rate rises."""
PHASES = ("float", "quantized")
ADOPTING = 1000
"""Training images that show how far a filter bank's outputs reach."""


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
    if run.path("decision.json").exists():
        run.path(WITHOUT).unlink(missing_ok=True)
        announce(f"{run.folder}: already trained.")
        return run
    torch.manual_seed(config.seed)
    keep_images, data = data is not None, data or prepare_data(run)
    paths = make_images(
        data, stream=TRAINING, count=config.training.examples, title="Making training images"
    )
    if not run.path("statistics.npy").exists():
        analysed = make_front_end(config.signal, config.spectrum)
        save_array(run.path("statistics.npy"), statistics_of(paths, analysed))
    if not run.path("float.pt").exists():
        run.path("selected.npy").unlink(missing_ok=True)  # of a fit that was interrupted
    pool = load_pool(paths, run.front_end(), config.seed, data.remix())
    validation = data.maker(run.front_end()).validation()
    release_workers()
    checkpoint = _read_checkpoint(run)
    if checkpoint is not None:
        announce(f"Resuming {checkpoint['phase']} training at step {checkpoint['step']}.")
    for phase in PHASES:
        if run.path(f"{phase}.pt").exists():
            continue
        if phase == "float" and not config.network.layers:
            validation = _fit_linear(run, pool, *validation)
        else:
            mine = checkpoint if checkpoint and checkpoint["phase"] == phase else None
            _Fitting(run, phase, pool, mine).fit(*validation)
    draw_learning_curve(run.path("metrics.jsonl"), run.path("curve.png"))
    labels, logits = calibration_logits(run)
    run.write_calibration(labels, logits)
    decisions = {
        phase: calibrate(logits[phase], labels, config.training.false_alarm_rate).to_json()
        for phase in PHASES
    }
    run.write_json("decision.json", decisions)
    run.path(WITHOUT).unlink(missing_ok=True)
    if not keep_images:
        remove_images(data)
    return run


def _fit_linear(run: Run, pool: ImagePool, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
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
    fit = fit_least_squares(
        pool,
        run.split().unknown_class + 1,
        config.training.ridge,
        inputs=config.network.inputs,
        parts=run.split().parts(PARTS),
        title="Training (float, in closed form)",
    )
    save_array(run.path(WITHOUT), fit.without.numpy())
    if len(fit.kept) < images[0].numel():
        save_array(run.path("selected.npy"), fit.kept.numpy())
        pool.images, images = (
            part.flatten(1)[:, fit.kept, None, None] for part in (pool.images, images)
        )
    network = run.new_network(quantized=False)
    with torch.no_grad():
        network.head.weight.copy_(fit.weights)
    line = {"phase": "float", "step": 1, "seconds": round(time.monotonic() - started, 2)}
    line |= _validate(network, images, labels)
    write_atomically(run.path("metrics.jsonl"), (json.dumps(line) + "\n").encode())
    save_tensors(run.path("float.pt"), network.state_dict())
    return images, labels


def prepare_split(run: Run, announce: Callable[[str], None]) -> Split:
    """The split on file, or a new one of the tracks that can be used."""
    if run.path("split.json").exists():
        return run.split()
    config = run.config
    tracks, problems = check_tracks(
        list_tracks(config.catalogue, run.cache), config, workers=config.training.workers
    )
    run.write_json(
        "catalogue.json",
        {
            "usable": len(tracks),
            "skipped": [{"id": p.track.id, "reason": p.reason} for p in problems],
        },
    )
    for problem in problems[:5]:
        announce(f"Skipped: {problem.reason}")
    if len(problems) > 5:
        announce(f"... {len(problems)} skipped in all: see {run.path('catalogue.json')}.")
    split = split_tracks(tracks, config.split, config.seed)
    split.save(run.path("split.json"))
    announce(
        f"{len(tracks)} tracks: {len(split.known)} known, {len(split.known_unknowns)} teach "
        f"'unknown', {len(split.unknown_test)} test it."
    )
    return split


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
    run.write_json("opened.json", opened.to_json())
    known = len(split.known)
    return TrainingData(config, run.cache, tuple(views[:known]), tuple(views[known:]))


def training_images(run: Run, data: TrainingData, count: int) -> Tensor:
    """Images drawn as in training, for calibration: float [count, channels, bands, columns]."""
    paths = make_images(data, stream=COMPILING, count=count, title="Drawing calibration clips")
    images = load_pool(paths, run.front_end(), run.config.seed).images[:count].float()
    for path in paths:
        path.unlink()
    return images


def _read_checkpoint(run: Run) -> dict | None:
    path = run.path("checkpoint.pt")
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise RunError(f"{path}: damaged ({error}). Delete it to start this run again.") from error


@dataclass
class _Losses:
    loss: float = 0.0
    right: float = 0.0
    steps: int = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self.loss += loss.item()
        self.right += (logits.argmax(1) == labels).float().mean().item()
        self.steps += 1


class _Fitting:
    """Fits one network: the loop, its checkpoints and its log."""

    def __init__(self, run: Run, phase: str, pool: ImagePool, checkpoint: dict | None):
        settings = run.config.training
        self.run, self.phase, self.pool, self.settings = run, phase, pool, settings
        quantized = phase == "quantized"
        self.steps = settings.quantized_steps if quantized else settings.float_steps
        self.rate = settings.quantized_learning_rate if quantized else settings.learning_rate
        self.twin: Network | None = None
        self.network = run.new_network(quantized=quantized)
        if quantized:
            self.twin = run.network(quantized=False)
            some = (
                pool.draw(PHASES.index(phase), 0, ADOPTING)[0] if self.network.has_filters else None
            )
            self.network.load_from_float(self.twin, some)
        self.first = 0
        if checkpoint is not None:
            self.network.load_state_dict(checkpoint["network"])
            self._restore_counters(checkpoint["counters"])
            self.first = checkpoint["step"]
        # Brevitas replaces the scale parameters when loading, so the optimizer comes after
        self.optimizer = torch.optim.AdamW(
            # weights that were fitted in closed form were shrunk there
            _parameter_groups(
                self.network, settings.weight_decay if run.config.network.layers else 0.0
            ),
            lr=self.rate,
        )
        if checkpoint is not None:
            self.optimizer.load_state_dict(checkpoint["optimizer"])
        _keep_log_before(run, phase, self.first)

    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Run the remaining steps; an interruption loses those since the last checkpoint.

        Args:
            images: to validate with, float [clips, channels, bands, columns].
            labels: int [clips].
        """
        losses, started = _Losses(), time.monotonic()
        with progress_bar() as bar, self.run.path("metrics.jsonl").open("a") as log:
            task = bar.add_task(f"Training ({self.phase})", total=self.steps, note="")
            bar.advance(task, self.first)
            for step in range(self.first, self.steps):
                self.network.train()
                self._step(step, losses)
                bar.advance(task)
                if (step + 1) % LOG_EVERY == 0 or step + 1 == self.steps:
                    line = {
                        "phase": self.phase,
                        "step": step + 1,
                        "loss": losses.loss / losses.steps,
                        "accuracy": losses.right / losses.steps,
                        "seconds": round(time.monotonic() - started, 2),
                    }
                    last = (step + 1) % self.settings.checkpoint_every == 0
                    if last or step + 1 == self.steps:
                        line |= _validate(self.network, images, labels)
                    log.write(json.dumps(line) + "\n")
                    log.flush()
                    bar.update(task, note=f"loss {line['loss']:.3f} acc {line['accuracy']:.1%}")
                    losses = _Losses()
                if (step + 1) % self.settings.checkpoint_every == 0 and step + 1 < self.steps:
                    self._checkpoint(step + 1)
        self.network.eval()
        save_tensors(self.run.path(f"{self.phase}.pt"), self.network.state_dict())
        self.run.path("checkpoint.pt").unlink(missing_ok=True)

    def _step(self, step: int, losses: _Losses) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * _one_cycle(step / self.steps)
        images, labels = self.pool.draw(PHASES.index(self.phase), step, self.settings.batch_size)
        logits = self.network(images)
        loss = self._loss(images, logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        losses.add(loss, logits, labels)

    def _loss(self, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        share = self.settings.distillation
        linear = not self.run.config.network.layers
        twin = None
        if self.twin is not None and (linear or share):
            with torch.no_grad():
                twin = self.twin(images)
            if linear:
                return (logits - twin).square().mean() / twin.var()
        loss = nn.functional.cross_entropy(
            logits, labels, label_smoothing=self.settings.label_smoothing
        )
        if twin is not None:
            taught = nn.functional.cross_entropy(logits, twin.softmax(1))
            loss = (1 - share) * loss + share * taught
        return loss

    def _checkpoint(self, step: int) -> None:
        state = {
            "phase": self.phase,
            "step": step,
            "network": self.network.state_dict(),
            "counters": self._counters(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_tensors(self.run.path("checkpoint.pt"), state)

    def _counters(self) -> dict:
        """Brevitas counts calibration batches outside the state dict."""
        return {
            name: module.counter
            for name, module in self.network.named_modules()
            if isinstance(getattr(module, "counter", None), int)
        }

    def _restore_counters(self, counters: dict) -> None:
        modules = dict(self.network.named_modules())
        for name, value in counters.items():
            modules[name].counter = value


def _validate(network: Network, images: Tensor, labels: Tensor) -> dict:
    """How a network does on clips, float [clips, channels, bands, columns]."""
    network.eval()
    with torch.no_grad():
        logits = torch.cat([network(part) for part in images.split(256)])
    unknown = labels == logits.shape[1] - 1
    right = logits[:, :-1].argmax(1) == labels
    rejected = logits.argmax(1) == labels
    return {
        "validation_top1_closed": right[~unknown].float().mean().item(),
        "validation_rejected": rejected[unknown].float().mean().item() if unknown.any() else None,
    }


def _parameter_groups(network: Network, weight_decay: float) -> list[dict]:
    """Weight decay for weights alone, not for batch norm or quantization scales."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _one_cycle(share: float) -> float:
    """Linear rise, then a cosine fall to a hundredth."""
    if share < WARM_UP:
        return 0.05 + 0.95 * share / WARM_UP
    fall = (share - WARM_UP) / (1 - WARM_UP)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fall))


def _keep_log_before(run: Run, phase: str, step: int) -> None:
    """Drop log lines of steps that will be run again."""
    path = run.path("metrics.jsonl")
    if not path.exists():
        path.touch()
    kept = [
        json.dumps(line) + "\n"
        for line in read_json_lines(path)
        if line["phase"] != phase or line["step"] <= step
    ]
    write_atomically(path, "".join(kept).encode())
