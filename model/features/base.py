"""What all front ends have in common: standardised, selected features of crops and queries."""

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...configs.schema import SignalSettings, Spectrum

Features = NDArray[np.float32]
Places = NDArray[np.int64]
Shape = tuple[int, int, int]

FEATURE_LIMIT = 4.0
"""Standardised features are clipped to +- this many deviations."""
CLIPS_AT_ONCE = 16
"""Clips whose features are computed together: more would no longer fit into the caches."""


class FrontEnd(ABC):
    """Turns audio into features, with the settings of one configuration.

    A waveform is analysed frame by frame (`analyse`), can be cut between frames, and becomes
    features a crop at a time (`features`), or all at once (`query_features`).

    Args:
        signal: of the configuration.
        spectrum: of the configuration; its kind is the subclass's.
        statistics: mean and deviation of every feature over training examples, float32
            [2, channels, bands, columns]; None leaves features as they are.
        selected: places of the features that the network reads, in flattened ones, int64
            [selected]; None for all.
    """

    def __init__(
        self,
        signal: SignalSettings,
        spectrum: Spectrum,
        statistics: Features | None = None,
        selected: Places | None = None,
    ):
        self.signal = signal
        self.spectrum = spectrum
        self.statistics = statistics
        self.selected = selected

    @property
    @abstractmethod
    def full_shape(self) -> Shape:
        """Channels, bands and columns of all features."""

    @property
    def feature_shape(self) -> Shape:
        """Channels, bands and columns of the features that the network reads."""
        return self.full_shape if self.selected is None else (len(self.selected), 1, 1)

    @property
    def statistics_shape(self) -> tuple[int, int, int, int]:
        """The shape of `statistics`."""
        return (2, *self.full_shape)

    @property
    @abstractmethod
    def steps(self) -> tuple[float, float]:
        """Samples from one frame to the next, and samples in a frame."""

    @abstractmethod
    def frames(self, samples: int) -> int:
        """How many frames a waveform of `samples` samples gives."""

    @abstractmethod
    def samples(self, frames: int) -> int:
        """The fewest samples that give so many frames."""

    @cached_property
    def crop_frames(self) -> int:
        """Frames of a crop."""
        return self.frames(round(self.signal.crop_seconds * self.signal.sample_rate_hz))

    @abstractmethod
    def analyse(self, wave: Features) -> Features:
        """What features are made of, frame by frame: float32 [samples] -> [rows, frames]."""

    @abstractmethod
    def _full_features(self, analysed: Features, lengths: Places) -> Features:
        """All features of a few crops, not standardised.

        Args:
            analysed: float32 [clips, rows, at least crop_frames].
            lengths: frames of each clip that are no padding, int64 [clips].

        Returns:
            float32 [clips, channels, bands, columns].
        """

    def features(self, analysed: Features, lengths: Places | None = None) -> Features:
        """Features of crops.

        Args:
            analysed: float32 [clips, rows, frames]; of the mel crop and of samples, at most
                ``crop_frames`` frames.
            lengths: valid frames of each clip, int [clips]; None where all are.

        Returns:
            float32 [clips, channels, bands, columns]; where statistics are known, standardised
            and of the selected features alone.
        """
        clips, _, frames = analysed.shape
        if lengths is None:
            lengths = np.full(clips, frames, np.int64)
        missing = max(0, self.crop_frames - frames)
        known = self.statistics is not None
        result = np.empty(
            (clips, *(self.feature_shape if known else self.full_shape)), dtype=np.float32
        )
        for start in range(0, clips, CLIPS_AT_ONCE):
            some = slice(start, start + CLIPS_AT_ONCE)
            part = np.asarray(analysed[some], np.float32)
            if missing:
                part = np.pad(part, ((0, 0), (0, 0), (0, missing)))
            made = self._full_features(part, lengths[some])
            result[some] = self.select(self.standardise(made)) if known else made
        return result

    @abstractmethod
    def query_features(self, wave: Features) -> Features:
        """Features of one clip, at most ``MAX_CLIP_SECONDS`` long.

        Args:
            wave: mono samples at the config's rate, float32 [samples], at least one frame long.

        Returns:
            float32 [channels, bands, columns].
        """

    def standardise(self, features: Features) -> Features:
        """Deviations from the mean, clipped: [..., channels, bands, columns] -> the same.

        Raises:
            ValueError: the statistics are not known.
        """
        if self.statistics is None:
            raise ValueError("statistics=None: features cannot be standardised without them.")
        mean, deviation = self.statistics
        deviations: Features = (features - mean) / deviation
        return np.clip(deviations, -FEATURE_LIMIT, FEATURE_LIMIT, out=deviations)

    def measure(self, features: Features) -> Features:
        """Statistics to standardise by: mean and deviation of every feature of these examples.

        Args:
            features: not standardised, float [examples, channels, bands, columns].

        Returns:
            float32 [2, channels, bands, columns].
        """
        mean = features.mean(0, dtype=np.float64)
        deviation = features.std(0, ddof=1, dtype=np.float64) + 1e-6
        result: Features = np.stack([mean, deviation]).astype(np.float32)
        return result

    def select(self, features: Features) -> Features:
        """What the network reads of features: [..., channels, bands, columns] ->
        [..., selected, 1, 1]; the features themselves where it reads all of them.
        """
        if self.selected is None:
            return features
        flat = features.reshape(*features.shape[:-3], -1)
        result: Features = np.take(flat, self.selected, axis=-1)[..., None, None]
        return result

    def picture(self, wave: Features) -> Features:
        """All features of a clip for people to look at, NaN where the network does not look.

        Args:
            wave: mono samples at the config's rate, float32 [samples].

        Returns:
            float32 [channels, bands, columns].
        """
        whole = type(self)(self.signal, self.spectrum, self.statistics).query_features(wave)
        if self.selected is None:
            return whole
        seen = np.full(whole.size, np.nan, np.float32)
        seen[self.selected] = whole.ravel()[self.selected]
        return seen.reshape(whole.shape)
