"""Fitting one network by gradient descent: the loop, its checkpoints and its log."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..model.network import Network
from ..support.errors import RunError
from ..support.files import read_json_lines, replacing, write_atomically
from ..support.progress import progress_bar
from .data.pool import ExamplePool
from .run import Run, RunFile

LOG_EVERY = 25
WARM_UP = 0.1
"""Share of the steps over which the learning rate rises."""
PHASES = ("float", "quantized")
RANGE_EXAMPLES = 1000
"""Training examples that show a filter bank's activation range."""


def save_tensors(path: Path, state: Mapping[str, Any]) -> None:
    """`torch.save`, atomically."""
    with replacing(path) as partial:
        torch.save(state, partial)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `save_tensors` wrote of a training that has not finished; None where nothing is.

    Raises:
        RunError: it is damaged.
    """
    if not path.exists():
        return None
    try:
        result: dict[str, Any] | None = torch.load(path, map_location="cpu", weights_only=True)
        return result
    except (OSError, RuntimeError, EOFError) as error:
        raise RunError(f"{path}: damaged ({error}). Delete it to start this run again.") from error


def keep_log(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drop the lines of a log of steps that will be run again; make it where it is missing."""
    if not path.exists():
        path.touch()
    kept = [json.dumps(line) + "\n" for line in read_json_lines(path) if keep(line)]
    write_atomically(path, "".join(kept).encode())


@dataclass
class _Losses:
    loss: float = 0.0
    right: float = 0.0
    steps: int = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self.loss += loss.item()
        self.right += (logits.argmax(1) == labels).float().mean().item()
        self.steps += 1


class Fitting:
    """Fits one network: the loop, its checkpoints and its log."""

    def __init__(self, run: Run, phase: str, pool: ExamplePool, checkpoint: dict[str, Any] | None):
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
                pool.draw(PHASES.index(phase), 0, RANGE_EXAMPLES)[0]
                if self.network.has_filters
                else None
            )
            self.network.load_from_float(self.twin, some)
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
        keep_log(
            run.path(RunFile.METRICS),
            lambda line: line["phase"] != phase or line["step"] <= self.first,
        )

    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Run the remaining steps; an interruption loses those since the last checkpoint.

        Args:
            images: to validate with, float [clips, channels, bands, columns].
            labels: int [clips].
        """
        losses, started = _Losses(), time.monotonic()
        with progress_bar() as bar, self.run.path(RunFile.METRICS).open("a") as log:
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
                        line |= validate(self.network, images, labels)
                    log.write(json.dumps(line) + "\n")
                    log.flush()
                    bar.update(task, note=f"loss {line['loss']:.3f} acc {line['accuracy']:.1%}")
                    losses = _Losses()
                if (step + 1) % self.settings.checkpoint_every == 0 and step + 1 < self.steps:
                    self._checkpoint(step + 1)
        self.network.eval()
        save_tensors(
            self.run.path(RunFile.weights(quantized=self.phase == "quantized")),
            self.network.state_dict(),
        )
        self.run.path(RunFile.CHECKPOINT).unlink(missing_ok=True)

    def _step(self, step: int, losses: _Losses) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * _one_cycle(step / self.steps)
        images, labels = self.pool.draw(PHASES.index(self.phase), step, self.settings.batch_size)
        logits = self.network(images)
        loss = self._loss(images, logits, labels)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        losses.add(loss, logits, labels)

    def _loss(self, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        share = self.settings.distillation
        twin = None
        if self.twin is not None and share:
            with torch.no_grad():
                twin = self.twin(images)
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
        save_tensors(self.run.path(RunFile.CHECKPOINT), state)

    def _counters(self) -> dict[str, Any]:
        """Brevitas counts calibration batches outside the state dict."""
        return {
            name: module.counter
            for name, module in self.network.named_modules()
            if isinstance(getattr(module, "counter", None), int)
        }

    def _restore_counters(self, counters: dict[str, Any]) -> None:
        modules = dict(self.network.named_modules())
        for name, value in counters.items():
            modules[name].counter = value


def validate(network: Network, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """How a network does on clips, float [clips, channels, bands, columns]."""
    network.eval()
    with torch.no_grad():
        logits = torch.cat([network(part) for part in torch.split(images, 256)])
    unknown = labels == logits.shape[1] - 1
    right = logits[:, :-1].argmax(1) == labels
    rejected = logits.argmax(1) == labels
    return {
        "validation_top1_closed": right[~unknown].float().mean().item(),
        "validation_rejected": rejected[unknown].float().mean().item() if unknown.any() else None,
    }


def _parameter_groups(network: Network, weight_decay: float) -> list[dict[str, Any]]:
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
