"""Training: from a configuration to a trained network in a run folder, resumable at any point.

First the floating-point twin is trained, then the quantized network starts from its weights and
learns from the labels and the twin's answers (distillation, Hinton et al. 2015). Every batch
depends only on seed and step, so a resumed run ends with the same weights as one that was never
stopped (with the same number of threads).
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..configs.errors import RunError
from ..configs.schema import Config
from ..model.frontend import FrontEnd
from ..model.network import Network
from .augment import Augmenter
from .batches import BatchMaker, ImagePool, noise_power
from .calibration import calibrate
from .catalogue import list_tracks
from .files import save_array, save_tensors, write_atomically
from .parallel import progress_bar
from .plots import draw_learning_curve
from .run import Run
from .sounds import Sounds
from .split import Split, split_tracks
from .views import ViewRecipe, check_tracks, load_views

STATISTICS_BATCHES = 24
LOG_EVERY = 25
WARM_UP = 0.1
"""Share of the steps over which the learning rate rises."""
PHASES = ("float", "quantized")


def train(config: Config, *, announce: Callable[[str], None] = print) -> Run:
    """Train a configuration, or go on with its interrupted run.

    Args:
        config: all settings.
        announce: told in one line each what happens.

    Returns:
        The finished run.

    Raises:
        CatalogueError: no usable catalogue.
        RunError: the run's folder belongs to another configuration.
    """
    run = Run.create(config)
    split = _prepare_split(run, announce)
    if run.path("decision.json").exists():
        announce(f"{run.folder}: already trained.")
        return run
    torch.manual_seed(config.seed)
    batches = _prepare_batches(run, split)
    checkpoint = _read_checkpoint(run)
    if checkpoint is not None:
        announce(f"Resuming {checkpoint['phase']} training at step {checkpoint['step']}.")
    for phase in PHASES:
        if not run.path(f"{phase}.pt").exists():
            mine = checkpoint if checkpoint and checkpoint["phase"] == phase else None
            _Fitting(run, phase, batches, mine).fit()
    draw_learning_curve(run.path("metrics.jsonl"), run.path("curve.png"))
    decisions = {
        phase: calibrate(
            run.network(quantized=phase == "quantized"), batches, config.training.false_alarms
        ).to_json()
        for phase in PHASES
    }
    run.write_json("decision.json", decisions)
    return run


def _prepare_split(run: Run, announce: Callable[[str], None]) -> Split:
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
        f"{len(tracks)} tracks: {len(split.known)} known, {len(split.unknown_train)} teach "
        f"'unknown', {len(split.unknown_test)} test it."
    )
    return split


def _prepare_batches(run: Run, split: Split) -> BatchMaker:
    """Views of all training tracks, and the statistics of their images."""
    config = run.config
    recipe = ViewRecipe.of(config, run.cache)
    workers = config.training.workers
    tracks = [*split.known, *split.teaching, *split.calibrating]
    views = load_views(tracks, recipe, title="Rendering views", workers=workers)
    known, unknown = views[: len(split.known)], views[len(split.known) :]
    unknown, calibrating = unknown[: len(split.teaching)], unknown[len(split.teaching) :]
    sounds = Sounds(config.augment, config.signal.sample_rate_hz, config.seed, "train")
    augmenter = Augmenter(config.augment, sounds, config.signal.sample_rate_hz)
    front_end = FrontEnd(config.signal, config.spectrum)
    noise = noise_power(augmenter, front_end, config.seed)
    run.write_json(
        "sounds.json", {"noise": sounds.noise.names, "impulse_responses": sounds.rooms.names}
    )
    batches = BatchMaker(
        known,
        unknown,
        calibrating,
        noise,
        front_end,
        config.training,
        config.augment.snr_db,
        config.seed,
    )
    path = run.path("statistics.npy")
    if not path.exists():
        images = torch.cat([batches.batch(0, n)[0] for n in range(STATISTICS_BATCHES)])
        statistics = torch.stack([images.mean(0), images.std(0) + 1e-6])
        save_array(path, statistics.numpy())
    batches.front_end = run.front_end()
    return batches


def training_images(run: Run, count: int) -> Tensor:
    """Images drawn as in training, for calibration: float [count, channels, bands, columns]."""
    batches = _prepare_batches(run, run.split())
    images: list[Tensor] = []
    while sum(map(len, images)) < count:
        images.append(batches.batch(3, len(images))[0])
    return torch.cat(images)[:count]


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

    def __init__(self, run: Run, phase: str, batches: BatchMaker, checkpoint: dict | None):
        settings = run.config.training
        self.run, self.phase, self.batches, self.settings = run, phase, batches, settings
        quantized = phase == "quantized"
        self.steps = settings.quantized_steps if quantized else settings.float_steps
        self.rate = settings.quantized_learning_rate if quantized else settings.learning_rate
        self.twin: Network | None = None
        self.network = run.new_network(quantized=quantized)
        if quantized:
            self.twin = run.network(quantized=False)
            self.network.adopt(self.twin)
        self.first = 0
        if checkpoint is not None:
            self.network.load_state_dict(checkpoint["network"])
            self._restore_counters(checkpoint["counters"])
            self.first = checkpoint["step"]
        # Brevitas replaces the scale parameters when loading, so the optimizer comes after
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.network, settings.weight_decay), lr=self.rate
        )
        if checkpoint is not None:
            self.optimizer.load_state_dict(checkpoint["optimizer"])
        _keep_log_before(run, phase, self.first)

    def fit(self) -> None:
        """Run the remaining steps; an interruption loses those since the last checkpoint."""
        images, labels = self.batches.validation()
        self.pool = ImagePool(self.batches, 1 + PHASES.index(self.phase), self.first)
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
                        line |= self._validate(images, labels)
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
        images, labels = self.pool.draw(step)
        logits = self.network(images)
        loss = nn.functional.cross_entropy(
            logits, labels, label_smoothing=self.settings.label_smoothing
        )
        share = self.settings.distillation
        if self.twin is not None and share:
            with torch.no_grad():
                target = self.twin(images).softmax(1)
            loss = (1 - share) * loss + share * nn.functional.cross_entropy(logits, target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        losses.add(loss, logits, labels)

    def _validate(self, images: Tensor, labels: Tensor) -> dict:
        self.network.eval()
        with torch.no_grad():
            logits = torch.cat([self.network(part) for part in images.split(256)])
        unknown = labels == logits.shape[1] - 1
        right = logits[:, :-1].argmax(1) == labels
        rejected = logits.argmax(1) == labels
        return {
            "validation_top1_closed": right[~unknown].float().mean().item(),
            "validation_rejected": rejected[unknown].float().mean().item()
            if unknown.any()
            else None,
        }

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
    kept = []
    for text in path.read_text("utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # a line cut off when the process was killed
        if line["phase"] != phase or line["step"] <= step:
            kept.append(text + "\n")
    write_atomically(path, "".join(kept).encode())
