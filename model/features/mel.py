"""Mel power, its normalised logarithm, and the front end that encrypts that: ``kind: mel``.

Features: the normalised log-mel crop, its frames averaged down, [1, bands, frames].
"""

from functools import cached_property

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ...configs.schema import MelSpectrum, SignalSettings, Spectrum
from .base import Features, FrontEnd, Places, Shape

DYNAMIC_FLOOR = 0.1
"""Added to a band's power relative to its mean: noise would fill what lies below."""
LOG_LIMIT = 3.0
"""A normalised log-mel crop is clipped to +- this many deviations."""


class MelPower:
    """Waveform to mel power: short-time Fourier transform (Hann), then triangles on the mel scale.

    Args:
        signal: rate, window, hop and bands.
    """

    def __init__(self, signal: SignalSettings):
        rate = signal.sample_rate_hz
        self.hop = round(signal.hop_ms * rate / 1000)
        self.window = round(signal.window_ms * rate / 1000)
        time = np.arange(self.window) / self.window
        self._hann = (0.5 - 0.5 * np.cos(2 * np.pi * time)).astype(np.float32)
        bank = mel_filter_bank(
            self.window // 2 + 1, signal.f_min_hz, signal.f_max_hz, signal.bands, rate
        )
        heard = np.flatnonzero(bank.any(1))  # the other Fourier bins need no multiplication
        self._bins = slice(heard[0], heard[-1] + 1) if len(heard) else slice(0, 1)
        self._bank = np.ascontiguousarray(bank[self._bins])

    def frames(self, samples: int) -> int:
        """How many frames a waveform of `samples` samples gives."""
        return max(0, (samples - self.window) // self.hop + 1)

    def samples(self, frames: int) -> int:
        """The fewest samples that give so many frames."""
        return self.window + self.hop * (frames - 1)

    def __call__(self, wave: Features) -> Features:
        """Mel power: float32 [samples], at least one window long -> [bands, frames]."""
        wave = np.asarray(wave, np.float32)
        pieces = sliding_window_view(wave, self.window)[:: self.hop]
        spectrum = scipy.fft.rfft(pieces * self._hann, overwrite_x=True)[:, self._bins]
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        return np.ascontiguousarray((power @ self._bank).T)


def mel_filter_bank(
    bins: int, f_min_hz: float, f_max_hz: float, bands: int, sample_rate: int
) -> Features:
    """Triangles of equal height whose corners lie evenly on the mel scale of HTK.

    Args:
        bins: Fourier bins, from 0 Hz to half the sample rate.
        f_min_hz: lower edge of the lowest band.
        f_max_hz: upper edge of the highest band.
        bands: how many.
        sample_rate: in Hz.

    Returns:
        float32 [bins, bands].
    """
    frequency = np.linspace(0, sample_rate // 2, bins)
    lowest, highest = (2595 * np.log10(1 + np.array([f_min_hz, f_max_hz]) / 700)).tolist()
    corners = 700 * (10 ** (np.linspace(lowest, highest, bands + 2) / 2595) - 1)
    widths = np.diff(corners)
    distance = corners - frequency[:, None]
    rising, falling = -distance[:, :-2] / widths[:-1], distance[:, 2:] / widths[1:]
    result: Features = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return result


class PowerFrontEnd(FrontEnd):
    """What front ends that begin with mel power share."""

    def __init__(
        self,
        signal: SignalSettings,
        spectrum: Spectrum,
        statistics: Features | None = None,
        selected: Places | None = None,
    ):
        super().__init__(signal, spectrum, statistics, selected)
        self._mel = MelPower(signal)

    @property
    def steps(self) -> tuple[float, float]:
        """See `FrontEnd.steps`."""
        return self._mel.hop, self._mel.window

    def frames(self, samples: int) -> int:
        """See `FrontEnd.frames`."""
        return self._mel.frames(samples)

    def samples(self, frames: int) -> int:
        """See `FrontEnd.samples`."""
        return self._mel.samples(frames)

    def analyse(self, wave: Features) -> Features:
        """Mel power: float32 [samples] -> [bands, frames]."""
        return self._mel(wave)


class MelFrontEnd(PowerFrontEnd):
    """The normalised log-mel crop, its frames averaged down."""

    def __init__(
        self,
        signal: SignalSettings,
        spectrum: MelSpectrum,
        statistics: Features | None = None,
        selected: Places | None = None,
    ):
        super().__init__(signal, spectrum, statistics, selected)
        self._columns = spectrum.frames

    @property
    def full_shape(self) -> Shape:
        """See `FrontEnd.full_shape`."""
        return 1, self.signal.bands, self._columns

    def query_features(self, wave: Features) -> Features:
        """See `FrontEnd.query_features`; of a longer clip, those of the first crop."""
        result: Features = self.features(self.analyse(wave)[None, :, : self.crop_frames])[0]
        return result

    def _full_features(self, analysed: Features, lengths: Places) -> Features:
        return (normalise(analysed, lengths) @ self._averages)[:, None]

    @cached_property
    def _averages(self) -> Features:
        """Means over neighbouring frames, as even as whole frames allow: [frames, columns]."""
        weights = np.zeros((self.crop_frames, self._columns), np.float32)
        for column in range(self._columns):
            first = column * self.crop_frames // self._columns
            end = -(-(column + 1) * self.crop_frames // self._columns)
            weights[first:end, column] = 1 / (end - first)
        return weights


def relative_power(power: Features, lengths: Places) -> Features:
    """Each band's power relative to its own mean over the valid frames.

    An equalizer and the recording level drop out.

    Args:
        power: mel power, float32 [clips, bands, frames].
        lengths: valid frames of each clip, int [clips].
    """
    valid = valid_frames(power, lengths)
    total = (power if valid is None else power * valid).sum(2, keepdims=True)
    mean = total / lengths[:, None, None].astype(np.float32)
    return np.asarray(power / (mean + np.float32(1e-20)), np.float32)


def valid_frames(values: Features, lengths: Places) -> NDArray[np.bool_] | None:
    """Which frames are no padding: bool [clips, 1, frames]; None where all are."""
    if int(lengths.min()) >= values.shape[2]:
        return None
    return (np.arange(values.shape[2]) < lengths[:, None])[:, None]


def centre(values: Features, lengths: Places) -> Features:
    """Bands without their means, at unit deviation over the clip, clipped; in place.

    Args:
        values: float32 [clips, bands, frames]; what is in the padding does not matter.
        lengths: valid frames of each clip, int [clips].

    Returns:
        The same array, zero in the padding.
    """
    count = lengths[:, None, None].astype(np.float32)
    valid = valid_frames(values, lengths)
    if valid is not None:
        values *= valid
    values -= values.sum(2, keepdims=True) / count
    if valid is not None:
        values *= valid
    power = np.einsum("cbf,cbf->c", values, values)[:, None, None]
    values /= np.sqrt(power / (count * values.shape[1])) + np.float32(1e-6)
    return np.clip(values, -LOG_LIMIT, LOG_LIMIT, out=values)


def normalise(power: Features, lengths: Places) -> Features:
    """Normalised log-mel crops.

    Each band relative to its own mean power, floored at -10 dB of it (where noise would fill it
    anyway), its logarithm centred, and the crop scaled to unit deviation.

    Args:
        power: mel power, float32 [clips, bands, frames].
        lengths: valid frames of each clip, int [clips].

    Returns:
        float32 [clips, bands, frames], zero in the padding.
    """
    relative = relative_power(power, lengths)
    relative += np.float32(DYNAMIC_FLOOR)
    return centre(np.log(relative, out=relative), lengths)
