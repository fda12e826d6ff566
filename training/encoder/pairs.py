"""Pairs to learn from: a crop as a phone may hear it, and the clean one of the same moment."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...configs.schema.encoder import EncoderConfig
from ...model.features import MelPower as MelTransform
from ...support.arrays import Array
from ...support.seeds import Stream
from ..data.batches import padded
from ..data.material import MelPower
from .music import Recording

COMMON_SONG = 0.7
"""A song is drawn as often as its length to this power."""
COMMON_SECONDS = 128.0
"""Beyond that length, no more often."""
TILT = 0.5
"""Deviation of each of three slow curves over the bands that a clip's power is multiplied by
(nepers of power), a random equalizer of every step."""
OPEN_FILES = 256


@dataclass(frozen=True)
class Pairs:
    """A step's pairs: the song's crop in place i belongs to the clip's in place i.

    Attributes:
        clips: mel power of noisy crops, float32 [pairs, bands, frames].
        rows: mel power of clean crops, float32 [pairs, bands, frames].
        songs: whose they are, int [pairs].
    """

    clips: Tensor
    rows: Tensor
    songs: Tensor


class PairMaker:
    """Draws pairs: always the same ones for a step and seed.

    Args:
        recordings: what to draw from.
        noise: mel power, float32 [pieces, bands, frames], longer than every clip.
        config: lengths, shares, seed.
    """

    def __init__(self, recordings: Sequence[Recording], noise: Array, config: EncoderConfig):
        self._recordings, self._noise, self._config = recordings, noise, config
        signal = config.signal
        self._hop = signal.hop_ms / 1000
        self._frames = MelTransform(signal).frames(
            round(signal.crop_seconds * signal.sample_rate_hz)
        )
        self._material = MelPower()
        weights = np.minimum([r.seconds for r in recordings], COMMON_SECONDS) ** COMMON_SONG
        self._shares = weights / weights.sum()
        self._open: OrderedDict[Path, Array] = OrderedDict()
        bands = np.linspace(-1, 1, signal.bands, dtype=np.float32)
        self._curves = np.stack([bands, np.cos(3 * bands), np.sin(5 * bands)])

    def draw(self, step: int) -> Pairs:
        """The pairs of a step."""
        settings = self._config.training
        rng = np.random.default_rng([self._config.seed, Stream.PAIRS, step])
        enough = settings.pairs <= len(self._recordings) // 2
        songs = rng.choice(
            len(self._recordings), settings.pairs, replace=not enough, p=self._shares
        )
        drawn = [self._pair(self._recordings[song], rng) for song in songs.tolist()]
        clips = self._material.restore(np.stack([clip for clip, _ in drawn]))
        rows = self._material.restore(np.stack([row for _, row in drawn]))
        return Pairs(
            torch.from_numpy(self._distorted(clips, rng)),
            torch.from_numpy(rows),
            torch.from_numpy(songs),
        )

    def _pair(self, recording: Recording, rng: np.random.Generator) -> tuple[Array, Array]:
        """A crop of a rendering and the clean one near it: float16 [bands, frames] each."""
        number, frames = int(rng.integers(len(recording.starts))), self._frames
        rendered = self._file(recording.rendered)[number]
        first = int(rng.integers(max(1, rendered.shape[1] - frames + 1)))
        clip = padded(np.array(rendered[:, first : first + frames]), frames)
        rate = 1 + recording.speeds[number] / 100
        middle = recording.starts[number] / self._hop + (first + frames / 2) * rate
        shift = rng.uniform(-1, 1) * self._config.training.shift_seconds / self._hop
        clean = self._file(recording.clean)
        start = round(middle + shift - frames / 2)
        start = max(0, min(start, clean.shape[1] - frames))
        return clip, padded(np.array(clean[:, start : start + frames]), frames)

    def _distorted(self, clips: Array, rng: np.random.Generator) -> Array:
        """Clips under noise and a random equalizer."""
        config = self._config
        chosen = np.flatnonzero(rng.random(len(clips)) < config.training.noise_share)
        if len(chosen):
            frames = clips.shape[2]
            starts = rng.integers(self._noise.shape[2] - frames + 1, size=len(chosen))
            pieces = rng.integers(len(self._noise), size=len(chosen))
            noise = np.stack(
                [
                    self._noise[piece, :, start : start + frames]
                    for piece, start in zip(pieces.tolist(), starts.tolist(), strict=True)
                ]
            )
            snr = rng.uniform(*config.augment.snr_db, (len(chosen), 1, 1)).astype(np.float32)
            clips[chosen] = self._material.mix(clips[chosen], noise, snr, rng)
        weights = rng.normal(0, TILT, (len(clips), len(self._curves))).astype(np.float32)
        return np.asarray(clips * np.exp(weights @ self._curves)[:, :, None], np.float32)

    def _file(self, path: Path) -> Array:
        """A file's array, mapped; the least recently used ones are closed."""
        if path in self._open:
            self._open.move_to_end(path)
        else:
            self._open[path] = np.load(path, mmap_mode="r")
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        return self._open[path]
