"""Training an encoder: the loop, its checkpoints, its log and what it leaves behind.

Every step depends only on seed and step, so a resumed run ends with the same weights as one that
was never stopped (with the same number of threads).
"""

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from ...configs.schema.encoder import EncoderConfig
from ...model.encoder import Encoder
from ...support.memory import keep_freed_memory
from ...support.parallel import release_workers
from ...support.progress import progress_bar
from ..curve import draw_encoder_curve
from ..fitting import keep_log, read_checkpoint, save_tensors
from .export import export_encoder
from .loss import ContrastiveLoss
from .music import noise_pieces, prepare_recordings, usable_tracks
from .pairs import PairMaker
from .run import Announce, EncoderFile, EncoderRun

LOG_EVERY = 25
WARM_UP_STEPS = 100
"""Steps over which the learning rate rises, or a tenth of all where that is less."""
LARGEST_GRADIENT = 1.0
"""Norm to which gradients are clipped."""
REMEMBER_AFTER = 200
"""Rows of the first steps are not worth remembering."""


def train_encoder(config: EncoderConfig, *, announce: Announce = print) -> EncoderRun:
    """Train an encoder, or go on with its interrupted training.

    Args:
        config: all settings.
        announce: told in one line each what happens.

    Returns:
        The finished run.

    Raises:
        CatalogueError: no usable music.
        RunError: the run's folder belongs to another configuration, or is damaged.
    """
    run = EncoderRun.create(config)
    if run.trained:
        announce(f"{run.folder}: already trained.")
        return run
    learned, held = usable_tracks(config, run.cache)
    announce(f"{len(learned)} tracks to learn from, {len(held)} held out.")
    recordings = prepare_recordings(learned, config, run.cache, announce)
    run.write_tracks([recording.track for recording in recordings], held)
    noise = noise_pieces(config, run.cache)
    release_workers()
    hours = sum(recording.seconds for recording in recordings) / 3600
    announce(f"Learning from {len(recordings)} tracks, {hours:.1f} hours.")
    fitting = EncoderFitting(run, PairMaker(recordings, noise, config))
    if fitting.first:
        announce(f"Resuming at step {fitting.first}.")
    fitting.fit()
    draw_encoder_curve(run.path(EncoderFile.METRICS), run.path(EncoderFile.CURVE))
    export_encoder(fitting.network, run.path(EncoderFile.GRAPH), run.path(EncoderFile.WEIGHTS))
    run.path(EncoderFile.CHECKPOINT).unlink(missing_ok=True)
    return run


class EncoderFitting:
    """The loop over steps.

    Args:
        run: whose checkpoint and log are read and written.
        pairs: what to learn from.
    """

    def __init__(self, run: EncoderRun, pairs: PairMaker):
        self._run, self._pairs, self._settings = run, pairs, run.config.training
        torch.manual_seed(run.config.seed)
        self.network = Encoder(run.config.network, run.config.signal)
        settings = self._settings
        self._loss = ContrastiveLoss(settings.temperature, settings.remembered)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.first = 0
        state = read_checkpoint(run.path(EncoderFile.CHECKPOINT))
        if state is not None:
            self.network.load_state_dict(state["network"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._loss.rows, self._loss.songs = state["rows"], state["songs"]
            self.first = state["step"]
        keep_log(run.path(EncoderFile.METRICS), lambda line: line["step"] <= self.first)

    def fit(self) -> None:
        """Run the remaining steps; an interruption loses those since the last checkpoint."""
        settings, started = self._settings, time.monotonic()
        keep_freed_memory()
        log_path = self._run.path(EncoderFile.METRICS)
        sums, count = [0.0, 0.0], 0
        with (
            progress_bar() as bar,
            log_path.open("a") as log,
            ThreadPoolExecutor(1) as ahead,  # the next step's pairs are made meanwhile
        ):
            task = bar.add_task("Training the encoder", total=settings.steps, note="")
            bar.advance(task, self.first)
            drawn = ahead.submit(self._pairs.draw, self.first)
            for step in range(self.first, settings.steps):
                pairs = drawn.result()
                if step + 1 < settings.steps:
                    drawn = ahead.submit(self._pairs.draw, step + 1)
                for group in self._optimizer.param_groups:
                    group["lr"] = settings.learning_rate * learning_rate(step, settings.steps)
                self.network.train()
                clips, rows = self.network(pairs.clips), self.network(pairs.rows)
                loss, right = self._loss(clips, rows, pairs.songs)
                self._optimizer.zero_grad()
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
                self._optimizer.step()
                if step >= min(REMEMBER_AFTER, settings.steps // 4) and settings.remembered:
                    self._loss.remember(rows, pairs.songs)
                sums, count = [sums[0] + loss.item(), sums[1] + right], count + 1
                bar.advance(task)
                if (step + 1) % LOG_EVERY == 0 or step + 1 == settings.steps:
                    line = {
                        "step": step + 1,
                        "loss": sums[0] / count,
                        "accuracy": sums[1] / count,
                        "seconds": round(time.monotonic() - started, 2),
                    }
                    log.write(json.dumps(line) + "\n")
                    log.flush()
                    note = f"loss {line['loss']:.3f} found {line['accuracy']:.1%}"
                    bar.update(task, note=note)
                    sums, count = [0.0, 0.0], 0
                if (step + 1) % settings.checkpoint_every == 0:
                    self._checkpoint(step + 1)
        self.network.eval()

    def _checkpoint(self, step: int) -> None:
        state = {
            "step": step,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "rows": self._loss.rows,
            "songs": self._loss.songs,
        }
        save_tensors(self._run.path(EncoderFile.CHECKPOINT), state)


def learning_rate(step: int, steps: int) -> float:
    """Share of the highest learning rate: a linear rise, then a cosine to nothing."""
    rise = min(WARM_UP_STEPS, max(1, steps // 10))
    return min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * step / steps))
