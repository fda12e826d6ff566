"""Training images from views: crops, cheap further noise, synthetic negatives, labels.

A synthetic negative is a known track changed beyond recognition - shifted in pitch, reversed in
time, or with the upper frequencies of another track - and labelled "unknown". It teaches the
network to reject what is near a known song without being one; a few dozen known unknowns alone
teach it little.
"""

import numpy as np
import torch
from torch import Tensor

from ...configs.schema import RawSamples, TrainingSettings
from ...model.features import Features, FrontEnd
from ...support.arrays import Array
from ...support.seeds import Stream
from .augment import Augmenter
from .material import Crop, material_of
from .views import View, Views

NOISE_PIECES = 128
SHORTEST_CLIP_SECONDS = 3.0
LARGEST_PART = 256
"""Images made at once."""


class CropFeatures:
    """Features of crops: cut to their lengths, under noise.

    Args:
        noise: each group's, as the front end analyses it, float32 [pieces, rows, at least
            crop_frames].
        front_end: makes the features.
        settings: shares of short and noisy clips.
        snr_db: range of the signal-to-noise ratio of noise mixed in, in dB.
    """

    def __init__(
        self,
        noise: dict[int, Array],
        front_end: FrontEnd,
        settings: TrainingSettings,
        snr_db: tuple[float, float],
    ):
        self._noise, self._front_end = noise, front_end
        self._settings, self._snr_db = settings, snr_db
        self._material = material_of(front_end.spectrum)

    def lengths(self, clips: int, rng: np.random.Generator) -> Array:
        """Lengths of so many clips, in frames; some are short."""
        frames = self._front_end.crop_frames
        shortest = round(frames * SHORTEST_CLIP_SECONDS / self._front_end.signal.crop_seconds)
        lengths = np.full(clips, frames)
        short = rng.random(clips) < self._settings.short_clip_share
        lengths[short] = rng.integers(min(shortest, frames), frames + 1, short.sum())
        return lengths

    def __call__(
        self,
        crops: list[Crop],
        lengths: Array,
        share: float,
        groups: list[int],
        rng: np.random.Generator,
    ) -> Features:
        """Images of crops, a share of them under noise, none longer than `lengths` frames."""
        frames = self._front_end.crop_frames
        images = []
        for start in range(0, len(crops), LARGEST_PART):
            part = crops[start : start + LARGEST_PART]
            most = lengths[start : start + LARGEST_PART]
            valid = np.minimum(most, [crop.shape[1] for crop in part])
            full = np.stack([padded(crop, frames) for crop in part])
            power = self._remix(self._material.restore(full), share, groups, rng)
            images.append(self._front_end.features(power, valid))
        return np.concatenate(images)

    def _remix(
        self, power: Array, share: float, groups: list[int], rng: np.random.Generator
    ) -> Array:
        """Add noise to a share of the clips."""
        chosen = np.flatnonzero(rng.random(len(power)) < share)
        if not len(chosen):
            return power
        frames = power.shape[2]
        noise = np.stack([self._noise_piece(groups, frames, rng) for _ in chosen])
        snr = rng.uniform(*self._snr_db, (len(chosen), 1, 1)).astype(np.float32)
        power[chosen] = self._material.mix(power[chosen], noise, snr, rng)
        return power

    def _noise_piece(self, groups: list[int], frames: int, rng: np.random.Generator) -> Array:
        pieces = self._noise[groups[rng.integers(len(groups))]]
        start = rng.integers(pieces.shape[2] - frames + 1)
        return pieces[rng.integers(len(pieces)), :, start : start + frames]


class BatchMaker:
    """Draws images and labels.

    All clips of one batch were rendered with, and get noise of, one group of sounds, so that a
    fold can leave out whole batches.

    Args:
        known: views of the known tracks; place = class.
        unknown: views of the tracks that teach "unknown".
        noise: each group's, as the front end analyses it, float32 [pieces, rows, at least
            crop_frames].
        front_end: makes the images.
        settings: shares of each kind of clip.
        snr_db: range of the signal-to-noise ratio of noise mixed in, in dB.
        seed: with the batch's number, all its randomness.
    """

    def __init__(
        self,
        known: list[Views],
        unknown: list[Views],
        noise: dict[int, Array],
        front_end: FrontEnd,
        settings: TrainingSettings,
        snr_db: tuple[float, float],
        seed: int,
    ):
        self.known = known
        self._unknown = unknown
        self._groups = sorted(noise)
        self._features = CropFeatures(noise, front_end, settings, snr_db)
        self.front_end = front_end
        self._material = material_of(front_end.spectrum)
        self.settings = settings
        self.seed = seed

    def batch(self, stream: int, number: int, count: int, group: int) -> tuple[Tensor, Tensor]:
        """A training batch: always the same for the same arguments and seed.

        Args:
            stream: what the batch is for.
            number: which one.
            count: clips in it.
            group: of the sounds it may contain.

        Returns:
            images float [count, channels, bands, columns], labels int [count].
        """
        s = self.settings
        rng = np.random.default_rng([self.seed, Stream.EXAMPLES, stream, number])
        unknowns = round(count * s.known_unknown_share) if self._unknown else 0
        negatives = round(count * s.synthetic_negative_share)
        labels = rng.integers(len(self.known), size=max(1, count - unknowns - negatives))
        crops = [self._training_crop(self.known[label], group, rng) for label in labels]
        for _ in range(unknowns):
            teacher = self._unknown[rng.integers(len(self._unknown))]
            crops.append(self._training_crop(teacher, group, rng))
        crops += [self._synthetic_negative(group, rng) for _ in range(negatives)]
        strangers = np.full(unknowns + negatives, len(self.known))
        lengths = self._features.lengths(len(crops), rng)
        # noise is mixed into samples as they are drawn, see remix.py
        drawn = isinstance(self.front_end.spectrum, RawSamples)
        images = self._features(crops, lengths, 0.0 if drawn else s.noise_share, [group], rng)
        labels = np.concatenate([labels, strangers])
        return torch.from_numpy(images), torch.from_numpy(labels)

    def _training_crop(self, views: Views, group: int, rng: np.random.Generator) -> Crop:
        return self._crop([view for view in views.training if view.group == group], rng)

    def _crop(self, views: list[View] | tuple[View, ...], rng: np.random.Generator) -> Crop:
        return views[rng.integers(len(views))].crop(self.front_end.crop_frames, rng)

    def _synthetic_negative(self, group: int, rng: np.random.Generator) -> Crop:
        first, second = rng.permutation(len(self.known))[:2]
        crop = self._training_crop(self.known[first], group, rng)
        return self._material.synthetic_negative(
            crop, lambda: self._training_crop(self.known[second], group, rng), rng
        )

    def validation(self, crops: int = 2) -> tuple[Tensor, Tensor]:
        """A fixed set: crops of views that training never draws, known and unknown tracks.

        Returns:
            images float [clips, channels, bands, columns], labels int [clips].
        """
        rng = np.random.default_rng([self.seed, Stream.VALIDATION])
        tracks = [*enumerate(self.known), *((len(self.known), v) for v in self._unknown)]
        labels = [label for label, _ in tracks for _ in range(crops)]
        parts = [self._crop(views.validating, rng) for _, views in tracks for _ in range(crops)]
        return torch.from_numpy(self._noisy(parts, rng)), torch.tensor(labels)

    def _noisy(self, crops: list[Crop], rng: np.random.Generator) -> Features:
        lengths = np.full(len(crops), self.front_end.crop_frames)
        return self._features(crops, lengths, 1.0, self._groups, rng)


def padded(crop: Array, frames: int) -> Array:
    """Repeat a crop [bands, n] to fill `frames` frames: [bands, frames]."""
    return (
        crop
        if crop.shape[1] == frames
        else np.pad(crop, ((0, 0), (0, frames - crop.shape[1])), mode="wrap")
    )


def noise_power(augmenter: Augmenter, front_end: FrontEnd, seed: int) -> Array:
    """Stretches of one group's noise, twice as long as a crop, as the front end analyses it.

    Returns:
        float32 [pieces, rows, frames].
    """
    rng = np.random.default_rng([seed, Stream.NOISE_PIECES])
    samples = front_end.samples(2 * front_end.crop_frames)
    pieces = [augmenter.noise(samples, rng) for _ in range(NOISE_PIECES)]
    return np.stack([front_end.analyse(piece.numpy()) for piece in pieces])
