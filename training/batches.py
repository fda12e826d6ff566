"""Training batches from views: crops, cheap further noise, counterfeits, labels.

A counterfeit is a known track changed beyond identity - shifted by several mel bands, reversed
in time, or with the upper bands of another track - and labelled "unknown". It teaches the network
to reject what is near a known song without being one; a few dozen held-out tracks alone teach it
little.
"""

import numpy as np
import torch
from torch import Tensor

from ..configs.schema import TrainingSettings
from ..model.frontend import FrontEnd
from .augment import Augmenter

NOISE_PIECES = 256
INTERFERENCE = 1.0
"""Twice the cosine of the phase between music and noise, less what averaging over the Fourier
bins of a band takes off."""
SHORTEST_CLIP_SECONDS = 3.0
BAND_SHIFTS = (-4, -3, -2, 2, 3, 4)


class BatchMaker:
    """Draws batches.

    Args:
        known: views of the known tracks, float16 [views, bands, frames] each; place = class.
        unknown: views of the tracks that teach "unknown".
        calibrating: views of unknown tracks that only `calibration` draws from.
        noise: mel power of noise, float32 [pieces, bands, at least crop_frames].
        front_end: makes the images.
        settings: shares of each kind of clip.
        snr_db: range of the signal-to-noise ratio of noise mixed in, in dB.
        seed: with the step, all randomness of a batch.
    """

    def __init__(
        self,
        known: list[np.ndarray],
        unknown: list[np.ndarray],
        calibrating: list[np.ndarray],
        noise: np.ndarray,
        front_end: FrontEnd,
        settings: TrainingSettings,
        snr_db: tuple[float, float],
        seed: int,
    ):
        self.known = known
        self._unknown = unknown
        self._calibrating = calibrating
        self._noise = noise
        self._snr_db = snr_db
        self.front_end = front_end
        self.settings = settings
        self.seed = seed

    def batch(self, phase: int, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: always the same for the same phase, step and seed.

        Returns:
            images float [batch, channels, bands, columns], labels int [batch].
        """
        s = self.settings
        rng = np.random.default_rng([self.seed, 5, phase, step])
        unknowns = round(s.batch_size * s.unknown_share) if self._unknown else 0
        counterfeits = round(s.batch_size * s.counterfeit_share)
        knowns = max(1, s.batch_size - unknowns - counterfeits)
        crops, labels = [], []
        for _ in range(knowns):
            label = int(rng.integers(len(self.known)))
            crops.append(self._crop(self.known[label][:-1], rng))
            labels.append(label)
        for _ in range(unknowns):
            crops.append(self._crop(self._unknown[rng.integers(len(self._unknown))][:-1], rng))
        for _ in range(counterfeits):
            crops.append(self._counterfeit(rng))
        labels += [len(self.known)] * (unknowns + counterfeits)
        power = self._remix(np.exp(np.stack(crops).astype(np.float32)), self.settings.remix, rng)
        images = self.front_end.image(torch.from_numpy(power), self._lengths(len(crops), rng))
        return images, torch.tensor(labels)

    def _crop(self, views: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        frames = self.front_end.crop_frames
        view = views[rng.integers(len(views))]
        start = rng.integers(max(1, view.shape[1] - frames + 1))
        return padded(view[:, start : start + frames], frames)

    def _counterfeit(self, rng: np.random.Generator) -> np.ndarray:
        first, second = rng.permutation(len(self.known))[:2]
        crop = self._crop(self.known[first][:-1], rng)
        kind = rng.integers(3)
        if kind == 0:
            return np.roll(crop, rng.choice(BAND_SHIFTS), axis=0)
        if kind == 1:
            return crop[:, ::-1]
        other = self._crop(self.known[second][:-1], rng)
        cut = rng.integers(len(crop) // 4, 3 * len(crop) // 4 + 1)
        return np.concatenate([crop[:cut], other[cut:]])

    def _remix(self, power: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
        """Add noise to a share of the clips; powers add."""
        chosen = np.flatnonzero(rng.random(len(power)) < share)
        if not len(chosen):
            return power
        frames = power.shape[2]
        pieces = rng.integers(len(self._noise), size=len(chosen))
        starts = rng.integers(self._noise.shape[2] - frames + 1, size=len(chosen))
        noise = np.stack(
            [self._noise[p, :, s : s + frames] for p, s in zip(pieces, starts, strict=True)]
        )
        music = power[chosen]
        snr = rng.uniform(*self._snr_db, (len(chosen), 1, 1)).astype(np.float32)
        level = music.sum(1, keepdims=True).mean(2, keepdims=True) / 10 ** (snr / 10)
        noise = noise * (level / (noise.sum(1, keepdims=True).mean(2, keepdims=True) + 1e-12))
        # |a + b|^2 = |a|^2 + |b|^2 + 2 |a| |b| cos(phase), the phase being anything
        phase = rng.uniform(0, 2 * np.pi, music.shape).astype(np.float32)
        cross = INTERFERENCE * np.sqrt(music * noise) * np.cos(phase)
        power[chosen] = np.maximum(music + noise + cross, 1e-9)
        return power

    def _lengths(self, clips: int, rng: np.random.Generator) -> Tensor:
        frames = self.front_end.crop_frames
        shortest = round(frames * SHORTEST_CLIP_SECONDS / self.front_end.signal.crop_seconds)
        lengths = np.full(clips, frames)
        short = rng.random(clips) < self.settings.short_clips
        lengths[short] = rng.integers(min(shortest, frames), frames + 1, short.sum())
        return torch.from_numpy(lengths)

    def validation(self, crops: int = 2) -> tuple[Tensor, Tensor]:
        """A fixed set: crops of the view that training never draws, known and unknown tracks.

        Returns:
            images float [clips, channels, bands, columns], labels int [clips].
        """
        rng = np.random.default_rng([self.seed, 6])
        tracks = [*enumerate(self.known), *((len(self.known), v) for v in self._unknown)]
        labels = [label for label, _ in tracks for _ in range(crops)]
        parts = [self._crop(views[-1:], rng) for _, views in tracks for _ in range(crops)]
        return self._images(parts, rng), torch.tensor(labels)

    def calibration(self, clips: int) -> tuple[Tensor, Tensor]:
        """Noisy clips: `clips` of known songs, `clips` of songs that taught nothing.

        Returns:
            images float [2 * clips, channels, bands, columns], labels int [2 * clips].
        """
        rng = np.random.default_rng([self.seed, 13])
        labels = [int(rng.integers(len(self.known))) for _ in range(clips)]
        parts = [self._crop(self.known[label][-1:], rng) for label in labels]
        strangers = self._calibrating or self._unknown
        parts += [self._crop(strangers[rng.integers(len(strangers))], rng) for _ in range(clips)]
        return self._images(parts, rng), torch.tensor(labels + [len(self.known)] * clips)

    def _images(self, crops: list[np.ndarray], rng: np.random.Generator) -> Tensor:
        """Images of crops (log power), all of them under noise."""
        images = []
        for start in range(0, len(crops), 256):
            power = np.exp(np.stack(crops[start : start + 256]).astype(np.float32))
            images.append(self.front_end.image(torch.from_numpy(self._remix(power, 1.0, rng))))
        return torch.cat(images)


def padded(crop: np.ndarray, frames: int) -> np.ndarray:
    """Repeat a crop [bands, n] that a change of speed left short of `frames` frames."""
    return (
        crop
        if crop.shape[1] == frames
        else np.pad(crop, ((0, 0), (0, frames - crop.shape[1])), mode="wrap")
    )


class ImagePool:
    """A rolling pool of batches: each step trains on rows drawn from all of it.

    Making images costs more than a step of training, so each is used several times. What the pool
    holds depends on the step alone.

    Args:
        batches: makes the batches.
        phase: which training the batches are for.
        first: the step at which training begins or goes on.
    """

    def __init__(self, batches: BatchMaker, phase: int, first: int):
        settings = batches.settings
        self._batches, self._phase = batches, phase
        self._size, self._reuse = settings.pool_batches, settings.reuse
        self._newest = first // self._reuse
        made = [
            batches.batch(phase, number)
            for number in range(self._newest, self._newest + self._size)
        ]
        order = np.argsort([(self._newest + n) % self._size for n in range(self._size)])
        self._images = torch.stack([made[n][0].half() for n in order])
        self._labels = torch.stack([made[n][1] for n in order])

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """The clips of a step; steps must be asked for in order."""
        while self._newest < step // self._reuse:
            number = self._newest + self._size
            images, labels = self._batches.batch(self._phase, number)
            self._images[number % self._size] = images.half()
            self._labels[number % self._size] = labels
            self._newest += 1
        rng = np.random.default_rng([self._batches.seed, 12, self._phase, step])
        rows = torch.from_numpy(rng.integers(self._labels.numel(), size=self._labels.shape[1]))
        return self._images.flatten(0, 1)[rows].float(), self._labels.flatten()[rows]


def noise_power(augmenter: Augmenter, front_end: FrontEnd, seed: int) -> np.ndarray:
    """Mel power of stretches of training noise, twice as long as a crop.

    Returns:
        float32 [pieces, bands, frames].
    """
    rng = np.random.default_rng([seed, 7])
    samples = front_end.window + front_end.hop * (2 * front_end.crop_frames - 1)
    pieces = [front_end.power(augmenter.noise(samples, rng)).numpy() for _ in range(NOISE_PIECES)]
    return np.stack(pieces)
