"""The shift-invariant modulation spectrum: ``kind: modulation``.

With L[m, t] the normalised log-mel crop and X[m, w] its FFT over a window of some seconds of t
(Hann), w = 1..bins: channel 0 is |X|^0.5; each band distance d adds the real and the imaginary
part of C_d / |C_d|^0.75, C_d[m, w] = X[m + d, w] conj(X[m, w]) (bands wrap around). All are
averaged over overlapping windows (Welch 1967).

A shift of the window turns all phases of one w alike, so neither |X| nor C_d depends on where in
the song the window begins, up to its edges. |X| of a band is the modulation spectrum of Greenberg &
Kingsbury (ICASSP 1997); C_d keeps when bands move with respect to each other, which |X| throws
away.

With ``quantiles``, one more channel holds the spectral quantiles, a long-term spectrum: its column
k of n is the (k + 1/2) / n quantile over time of the log power, less its mean over neighbouring
bands (a lifter that takes off what an equalizer, a loudspeaker or broadband noise adds), scaled to
unit deviation. Quantiles do not depend on the order of frames.

With ``more_windows`` the spectra are taken over windows of several lengths. With ``compression:
pcen`` L is (E / (eps + M)^0.98 + 2)^0.5 - 2^0.5 instead of a logarithm, M the power E smoothed over
the last 0.4 s (per-channel energy normalisation, Wang et al. 2017).
"""

import math
from functools import lru_cache

import numpy as np

from ...configs.schema import ModulationSpectrum, SignalSettings
from .base import Features, Places, Shape
from .mel import PowerFrontEnd, centre, normalise, relative_power, valid_frames

PCEN_SECONDS, PCEN_GAIN, PCEN_BIAS = 0.4, 0.98, 2.0
"""Of per-channel energy normalisation, as its authors set them."""
QUANTILE_FLOOR = 1e-6
"""Added to power relative to the clip's mean before quantiles are taken."""
QUANTILE_NEIGHBOURS = 17
"""Bands over which a quantile is averaged to compare it with."""


class ModulationFrontEnd(PowerFrontEnd):
    """Modulation magnitudes, relations between bands, and spectral quantiles."""

    def __init__(
        self,
        signal: SignalSettings,
        spectrum: ModulationSpectrum,
        statistics: Features | None = None,
        selected: Places | None = None,
    ):
        super().__init__(signal, spectrum, statistics, selected)
        self._settings = spectrum

    @property
    def full_shape(self) -> Shape:
        """See `FrontEnd.full_shape`."""
        settings = self._settings
        scales = 1 + len(settings.more_windows)
        channels = scales * (1 + 2 * len(settings.distances)) + settings.quantiles
        return channels, self.signal.bands, settings.bins

    def query_features(self, wave: Features) -> Features:
        """See `FrontEnd.query_features`; all of a longer clip is averaged."""
        result: Features = self.features(self.analyse(wave)[None])[0]
        return result

    def normalised(self, power: Features, lengths: Places) -> Features:
        """L of the module's docstring: float32 [clips, bands, frames], zero in the padding."""
        if self._settings.compression == "log":
            return normalise(power, lengths)
        return centre(self._pcen(relative_power(power, lengths)), lengths)

    def _full_features(self, analysed: Features, lengths: Places) -> Features:
        settings = self._settings
        crop = self.normalised(analysed, lengths)
        windows = [(settings.window_seconds, settings.hop_seconds)]
        windows += [(more, more / 4) for more in settings.more_windows]
        channels = [self._scale(crop, lengths, *window) for window in windows]
        if settings.quantiles:
            channels.append(self._quantiles(analysed, lengths)[:, None])
        return np.concatenate(channels, axis=1)

    def _scale(
        self, crop: Features, lengths: Places, window_seconds: float, hop_seconds: float
    ) -> Features:
        """The averaged spectrum over windows of one length.

        Args:
            crop: float32 [clips, bands, frames].
            lengths: valid frames of each clip, int [clips].
            window_seconds: length of the windows.
            hop_seconds: step between them.

        Returns:
            float32 [clips, channels, bands, bins].
        """
        seconds = self._mel.hop / self.signal.sample_rate_hz
        window = min(round(window_seconds / seconds), self.crop_frames)
        hop = max(1, round(hop_seconds / seconds))
        own = np.minimum(lengths, window)  # a clip shorter than a window has one of its own length
        starts = np.arange((crop.shape[2] - window) // hop + 1) * hop
        inside = starts + own[:, None] <= lengths[:, None]
        weights = (inside / inside.sum(1, keepdims=True)).astype(np.float32)
        bands, bins = crop.shape[1], self._settings.bins
        channels = 1 + 2 * len(self._settings.distances)
        result = np.empty((len(crop), channels, bands, bins), np.float32)
        for length in np.unique(own).tolist():
            rows = np.flatnonzero(own == length)
            some = crop if len(rows) == len(crop) else crop[rows]
            kernel = _fourier_kernel(length, window, bins)
            total = np.zeros((channels, bins, len(rows), bands), np.float32)
            for place, start in enumerate(starts.tolist()):
                weight = weights[rows, place][:, None]
                if weight.any():
                    # only a few bins of each window are wanted: a product is faster than an FFT
                    piece = some.reshape(-1, crop.shape[2])[:, start : start + window]
                    self._add_window((kernel @ piece.T).reshape(2, *total.shape[1:]), weight, total)
            result[rows] = total.transpose(2, 0, 3, 1)
        return result

    def _add_window(self, spectrum: Features, weight: Features, total: Features) -> None:
        """Add the channels of one window of some clips.

        Args:
            spectrum: real and imaginary parts, float32 [2, bins, clips, bands].
            weight: of the window, float32 [clips, 1].
            total: added to, float32 [channels, bins, clips, bands].
        """
        bands = spectrum.shape[-1]
        magnitude = np.sqrt(np.square(spectrum[0]) + np.square(spectrum[1]))
        total[0] += weight * np.sqrt(magnitude)
        reach = max(self._settings.distances, default=0)
        real, imag, size = (
            np.concatenate([part, part[..., :reach]], axis=-1)  # bands wrap around
            for part in (*spectrum, magnitude)
        )
        for number, distance in enumerate(self._settings.distances):
            other = slice(distance, distance + bands)
            product = size[..., other] * magnitude
            product += np.float32(1e-9)
            root = np.sqrt(product)
            scale = weight / (root * np.sqrt(root))  # |C|^-0.75
            total[1 + 2 * number] += scale * (
                real[..., other] * spectrum[0] + imag[..., other] * spectrum[1]
            )
            total[2 + 2 * number] += scale * (
                imag[..., other] * spectrum[0] - real[..., other] * spectrum[1]
            )

    def _pcen(self, power: Features) -> Features:
        """Per-channel energy normalisation: [clips, bands, frames] -> the same shape."""
        frames = PCEN_SECONDS * self.signal.sample_rate_hz / self._mel.hop
        share = (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
        smooth = _smoothed(power, share)
        gain = np.exp(-PCEN_GAIN * np.log(smooth + np.float32(1e-6)))
        bias = np.float32(PCEN_BIAS)
        return np.asarray(np.sqrt(power * gain + bias) - np.sqrt(bias), np.float32)

    def _quantiles(self, power: Features, lengths: Places) -> Features:
        """Spectral quantiles: [clips, bands, frames] -> [clips, bands, bins]."""
        stride = max(1, self._mel.window // self._mel.hop)  # frames that do not overlap say it all
        power, lengths = power[..., ::stride], (lengths - 1) // stride + 1
        bins, bands = self._settings.bins, power.shape[1]
        inside = valid_frames(power, lengths)
        if inside is not None:
            ordered = np.sort(np.where(inside, power, np.float32(np.inf)), axis=2)
            power = power * inside
        else:
            ordered = np.sort(power, axis=2)
        shares = (np.arange(bins, dtype=np.float32) + np.float32(0.5)) / np.float32(bins)
        places = np.round(shares * (lengths[:, None] - 1).astype(np.float32)).astype(np.int64)
        taken = np.take_along_axis(ordered, places[:, None], axis=2)
        count = (lengths * bands).astype(np.float32)
        mean = power.sum((1, 2)) / count
        level = np.log(
            taken / (mean[:, None, None] + np.float32(1e-20)) + np.float32(QUANTILE_FLOOR)
        )
        level -= _neighbour_means(bands) @ level
        return np.asarray(
            level / (level.std((1, 2), ddof=1, keepdims=True) + np.float32(1e-6)), np.float32
        )


@lru_cache(maxsize=64)
def _fourier_kernel(length: int, window: int, bins: int) -> Features:
    """Hann-windowed cosines, then minus sines, of bins 1..bins: float32 [2 * bins, window].

    The window spans `length` frames (zeros follow) and has unit energy; the bins' frequencies are
    multiples of one cycle per `window` frames.
    """
    time = np.arange(window)
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * (time + 0.5) / length)) * (time < length)
    hann /= np.sqrt(np.square(hann).sum())
    phase = 2 * np.pi * np.arange(1, bins + 1)[:, None] * time / window
    result: Features = (np.concatenate([np.cos(phase), -np.sin(phase)]) * hann).astype(np.float32)
    return result


@lru_cache(maxsize=8)
def _neighbour_means(bands: int) -> Features:
    """Means over the bands around each, fewer at the edges: float32 [bands, bands]."""
    reach = min(QUANTILE_NEIGHBOURS, bands - 1 + bands % 2) // 2
    places = np.arange(bands)
    near = np.abs(places[:, None] - places) <= reach
    result: Features = (near / near.sum(1, keepdims=True)).astype(np.float32)
    return result


def _smoothed(power: Features, share: float) -> Features:
    """Each frame mixed, by its share, with the mix before it; the first one as it is.

    By hand, since scipy.signal takes a second to import, which every query would wait for.
    """
    frames = np.moveaxis(power, -1, 0)
    smooth = np.empty_like(frames)
    state = frames[0]
    new, old = np.float32(share), np.float32(1.0 - share)
    for number, frame in enumerate(frames):
        state = smooth[number] = old * state + new * frame
    return np.moveaxis(smooth, 0, -1)
