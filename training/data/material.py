"""What crops are made of - mel power, or samples - and what training may do to it.

Both are arrays [rows, frames] that can be cut between frames. They differ in how they are stored,
how noise adds to them, and how a synthetic negative is made: a known track changed beyond
recognition, which teaches the network to reject what is near a known song without being one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from ...configs.schema import RawSamples, Spectrum
from ...support.arrays import Array

LOG_FLOOR = 1e-9
INTERFERENCE = 1.0
"""Twice the cosine of the phase between music and noise, less what averaging over the Fourier
bins of a band takes off."""
BAND_SHIFTS = (-4, -3, -2, 2, 3, 4)
SEMITONES = (-4, -3, -2, 2, 3, 4)
SPLICED_BELOW = (0.15, 0.6)
"""Where the spectra of two songs may be joined, as shares of the highest frequency."""

Crop = Array
"""As stored, float16 [rows, frames]."""


class Material(ABC):
    """One kind of material."""

    @abstractmethod
    def store(self, content: Array) -> Crop:
        """Content as `FrontEnd.analyse` makes it, in half precision: [rows, frames]."""

    @abstractmethod
    def restore(self, crops: Array) -> Array:
        """The inverse of `store`, float32, for any number of crops."""

    @abstractmethod
    def power(self, content: Array) -> Array:
        """Mean power of each: [clips, rows, frames] -> [clips, 1, 1]."""

    @abstractmethod
    def add(self, music: Array, noise: Array, rng: np.random.Generator) -> Array:
        """Music under noise: [clips, rows, frames] each.

        Args:
            music: restored.
            noise: restored, at the power that it is to have.
            rng: all randomness.
        """

    @abstractmethod
    def scale(self, content: Array, gain: Array) -> Array:
        """Content whose power is multiplied by `gain`."""

    def mix(self, music: Array, noise: Array, snr_db: Array, rng: np.random.Generator) -> Array:
        """Music under noise at signal-to-noise ratios [clips, 1, 1], in dB."""
        gain = self.power(music) / 10 ** (snr_db / 10) / (self.power(noise) + 1e-12)
        return self.add(music, self.scale(noise, gain), rng)

    def synthetic_negative(
        self, crop: Crop, draw_other: Callable[[], Crop], rng: np.random.Generator
    ) -> Crop:
        """A crop changed beyond recognition, in one of three ways.

        Args:
            crop: of a known track.
            draw_other: draws a crop of another one.
            rng: all randomness.
        """
        kind = rng.integers(3)
        if kind == 0:
            return self._shifted(crop, rng)
        if kind == 1:
            return self._reversed(crop)
        other = draw_other()
        frames = min(crop.shape[1], other.shape[1])
        return self._spliced(crop[:, :frames], other[:, :frames], rng)

    @abstractmethod
    def _shifted(self, crop: Crop, rng: np.random.Generator) -> Crop: ...

    @abstractmethod
    def _reversed(self, crop: Crop) -> Crop: ...

    @abstractmethod
    def _spliced(self, low: Crop, high: Crop, rng: np.random.Generator) -> Crop: ...


class MelPower(Material):
    """Mel power, stored as its natural logarithm."""

    def store(self, content: Array) -> Crop:
        """See `Material.store`."""
        result: Crop = np.log(content + np.float32(LOG_FLOOR)).astype(np.float16)
        return result

    def restore(self, crops: Array) -> Array:
        """See `Material.restore`."""
        return np.exp(crops.astype(np.float32))

    def power(self, content: Array) -> Array:
        """See `Material.power`."""
        result: Array = content.sum(1, keepdims=True).mean(2, keepdims=True)
        return result

    def add(self, music: Array, noise: Array, rng: np.random.Generator) -> Array:
        """See `Material.add`."""
        # |a + b|^2 = |a|^2 + |b|^2 + 2 |a| |b| cos(phase), the phase being anything
        phase = rng.uniform(0, 2 * np.pi, music.shape).astype(np.float32)
        cross = INTERFERENCE * np.sqrt(music * noise) * np.cos(phase)
        result: Array = np.maximum(music + noise + cross, 1e-9)
        return result

    def scale(self, content: Array, gain: Array) -> Array:
        """See `Material.scale`."""
        return content * gain

    def _shifted(self, crop: Crop, rng: np.random.Generator) -> Crop:
        return np.roll(crop, rng.choice(BAND_SHIFTS), axis=0)

    def _reversed(self, crop: Crop) -> Crop:
        return crop[:, ::-1]

    def _spliced(self, low: Crop, high: Crop, rng: np.random.Generator) -> Crop:
        cut = rng.integers(len(low) // 4, 3 * len(low) // 4 + 1)
        return np.concatenate([low[:cut], high[cut:]])


class Samples(Material):
    """Blocks of samples; a row is a place in its block."""

    def store(self, content: Array) -> Crop:
        """See `Material.store`."""
        return content.astype(np.float16)

    def restore(self, crops: Array) -> Array:
        """See `Material.restore`."""
        return crops.astype(np.float32)

    def power(self, content: Array) -> Array:
        """See `Material.power`."""
        result: Array = np.square(content).mean((1, 2), keepdims=True)
        return result

    def add(self, music: Array, noise: Array, rng: np.random.Generator) -> Array:
        """See `Material.add`."""
        return music + noise

    def scale(self, content: Array, gain: Array) -> Array:
        """See `Material.scale`."""
        result: Array = content * np.sqrt(gain)
        return result

    def _shifted(self, crop: Crop, rng: np.random.Generator) -> Crop:
        """Played at another pitch and tempo; where that makes it shorter, it begins again."""
        wave = _wave(crop)
        places = np.arange(0, len(wave) - 1, 2 ** (rng.choice(SEMITONES) / 12))
        played = np.interp(places[: len(wave)], np.arange(len(wave)), wave)
        return _blocks(np.resize(played, len(wave)), crop)

    def _reversed(self, crop: Crop) -> Crop:
        return crop[::-1, ::-1]

    def _spliced(self, low: Crop, high: Crop, rng: np.random.Generator) -> Crop:
        below, above = np.fft.rfft(_wave(low)), np.fft.rfft(_wave(high))
        cut = int(rng.uniform(*SPLICED_BELOW) * len(below))
        return _blocks(np.fft.irfft(np.append(below[:cut], above[cut:]), low.size), low)


def _wave(crop: Crop) -> Array:
    return crop.T.ravel().astype(np.float32)


def _blocks(wave: Array, like: Crop) -> Crop:
    return wave.reshape(like.shape[::-1]).T.astype(np.float16)


def material_of(spectrum: Spectrum) -> Material:
    """What the crops of a config are made of."""
    return Samples() if isinstance(spectrum, RawSamples) else MelPower()
