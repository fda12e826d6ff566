"""No spectrum: the samples of a crop at a low rate, at unit power, in blocks: ``kind: samples``.

Features: [1, blocks, samples of a block]. A frame is a block, a row a place in it.
"""

import math

import numpy as np

from ...configs.schema import RawSamples, SignalSettings
from ..audio import resample
from .base import FEATURE_LIMIT, Features, FrontEnd, Places, Shape


class SamplesFrontEnd(FrontEnd):
    """Turns audio into blocks of samples."""

    def __init__(
        self,
        signal: SignalSettings,
        spectrum: RawSamples,
        statistics: Features | None = None,
        selected: Places | None = None,
    ):
        super().__init__(signal, spectrum, statistics, selected)
        self._rate, self._block = spectrum.rate_hz, spectrum.block
        self._step = spectrum.block * signal.sample_rate_hz / spectrum.rate_hz

    @property
    def full_shape(self) -> Shape:
        """1, blocks of a crop, samples of a block."""
        return 1, self.crop_frames, self._block

    @property
    def statistics_shape(self) -> tuple[int, int, int, int]:
        """One mean and one deviation for all."""
        return 2, 1, 1, 1

    @property
    def steps(self) -> tuple[float, float]:
        """Samples of the clip in a block, twice: blocks do not overlap."""
        return self._step, self._step

    def frames(self, samples: int) -> int:
        """How many whole blocks a waveform of `samples` samples gives."""
        return int(samples // self._step)

    def samples(self, frames: int) -> int:
        """The fewest samples that give so many blocks."""
        return math.ceil(frames * self._step)

    def measure(self, features: Features) -> Features:
        """Nothing to measure: samples of unit power are standardised already."""
        return np.array([0.0, 1.0], np.float32).reshape(2, 1, 1, 1)

    def analyse(self, wave: Features) -> Features:
        """Blocks of samples: float32 [samples] -> [samples of a block, blocks]."""
        low = resample(np.asarray(wave, np.float32), self.signal.sample_rate_hz, self._rate)
        count = min(self.frames(len(wave)), len(low) // self._block)
        return np.ascontiguousarray(low[: count * self._block].reshape(count, self._block).T)

    def query_features(self, wave: Features) -> Features:
        """See `FrontEnd.query_features`; those of the beginning of a longer clip."""
        result: Features = self.features(self.analyse(wave)[None, :, : self.crop_frames])[0]
        return result

    def _full_features(self, analysed: Features, lengths: Places) -> Features:
        """Crops at unit power, silent where they are padded, within +- `FEATURE_LIMIT`."""
        valid = (np.arange(analysed.shape[2]) < lengths[:, None])[:, None]
        blocks = np.where(valid, analysed, np.float32(0)).transpose(0, 2, 1)[:, None]
        return unit_power(blocks, lengths * analysed.shape[1])


def unit_power(features: Features, samples: Places) -> Features:
    """Blocks of samples at unit power, within +- `FEATURE_LIMIT`.

    Args:
        features: float32 [clips, 1, blocks, samples of a block].
        samples: how many samples of each are not padding, int [clips].
    """
    mean = np.square(features).sum((1, 2, 3)) / samples.astype(np.float32)
    gain = 1 / (np.sqrt(mean) + np.float32(1e-9))
    result: Features = np.clip(features * gain[:, None, None, None], -FEATURE_LIMIT, FEATURE_LIMIT)
    return result
