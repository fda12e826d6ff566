"""What a phone does to music, on the waveform: seeded, reproducible.

The order follows the sound: the player's speed, the loudspeaker's equalizer, the room, noise,
the recording level, clipping, the codec.
"""

import io
import math

import numpy as np
import soundfile
import torch
import torchaudio.functional as F
from scipy.signal import oaconvolve
from torch import Tensor

from ...configs.schema import AugmentSettings
from ...support.arrays import Array
from .sounds import Sounds

EQUALIZER_BANDS_HZ = (120.0, 4500.0)
TELEPHONE_BAND_HZ = (300.0, 3400.0)
MP3_COMPRESSION = (0.6, 0.95)
"""libsndfile's compression level; at 16 kHz mono this is about 24 to 48 kbit/s."""


class Augmenter:
    """Applies a random chain of distortions to waveforms.

    Args:
        settings: shares and ranges of the distortions.
        sounds: noise and impulse responses of one side of their split.
        sample_rate: of the waveforms, in Hz.
    """

    def __init__(self, settings: AugmentSettings, sounds: Sounds, sample_rate: int):
        self.settings = settings
        self.sounds = sounds
        self.sample_rate = sample_rate

    def draw_speed(self, rng: np.random.Generator) -> float:
        """A change of speed, in percent."""
        return rng.uniform(-self.settings.speed_percent, self.settings.speed_percent)

    def __call__(
        self,
        wave: Array,
        rng: np.random.Generator,
        *,
        snr_db: float | None = None,
        speed_percent: float | None = None,
    ) -> Array:
        """Distort a waveform.

        Args:
            wave: mono samples, float32 [n].
            rng: all randomness comes from here.
            snr_db: signal-to-noise ratio; drawn from the settings where None.
            speed_percent: change of speed; drawn from the settings where None.

        Returns:
            float32 [about n]: a change of speed changes the length.
        """
        s = self.settings
        out = torch.from_numpy(wave)
        out = change_speed(out, self.draw_speed(rng) if speed_percent is None else speed_percent)
        if rng.random() < s.equalizer:
            out = self._equalize(out, rng)
        if rng.random() < s.reverb:
            out = reverberate(out, torch.from_numpy(self.sounds.rooms.draw(rng)))
        if snr_db is not None or rng.random() < s.noisy:
            snr = rng.uniform(*s.snr_db) if snr_db is None else snr_db
            out = F.add_noise(out, self.noise(len(out), rng), torch.tensor(float(snr)))
        out = out * (10 ** (rng.uniform(*s.gain_db) / 20) / (out.abs().max() + 1e-9))
        if rng.random() < s.clipping:
            out = clip_loudest(out, rng.uniform(0.001, 0.02))
        if rng.random() < s.codec:
            out = (
                telephone(out, self.sample_rate)
                if rng.random() < 0.5
                else mp3(out, self.sample_rate, rng.uniform(*MP3_COMPRESSION))
            )
        result: Array = out.numpy()
        return result

    def _equalize(self, wave: Tensor, rng: np.random.Generator) -> Tensor:
        gains = rng.uniform(-self.settings.equalizer_db, self.settings.equalizer_db, 3)
        low, high = EQUALIZER_BANDS_HZ
        centre = float(np.exp(rng.uniform(np.log(300), np.log(3000))))
        wave = F.bass_biquad(wave, self.sample_rate, gains[0], low)
        wave = F.equalizer_biquad(wave, self.sample_rate, centre, gains[1], 0.7)
        result: Tensor = F.treble_biquad(
            wave, self.sample_rate, gains[2], min(high, self.sample_rate / 2.5)
        )
        return result

    def noise(self, samples: int, rng: np.random.Generator) -> Tensor:
        """Noise recordings of unit power, one after another, `samples` in all: [samples]."""
        parts: list[Array] = []
        missing = samples
        while missing > 0:
            recording = self.sounds.noise.draw(rng)
            recording = recording / (np.sqrt(np.mean(recording**2)) + 1e-9)
            part = np.roll(recording, rng.integers(len(recording)))[:missing]
            parts.append(part)
            missing -= len(part)
        return torch.from_numpy(np.concatenate(parts))


def change_speed(wave: Tensor, percent: float) -> Tensor:
    """Play faster (positive) or slower, pitch and tempo together: [n] -> [n / speed]."""
    rate = 1000 + round(10 * percent)
    return wave if rate == 1000 else F.resample(wave, rate, 1000, lowpass_filter_width=4)


def fastest_length(samples: int, percent: float) -> int:
    """The fewest samples that `change_speed` by up to `percent` can leave of `samples`."""
    return math.floor(samples * 1000 / (1000 + round(10 * percent)))


def reverberate(wave: Tensor, room: Tensor) -> Tensor:
    """Convolve with an impulse response, keeping the length: [n], [k] -> [n]."""
    return torch.from_numpy(oaconvolve(wave.numpy(), room.numpy())[: len(wave)])


def clip_loudest(wave: Tensor, share: float) -> Tensor:
    """Clip so that `share` of the samples reach the limit."""
    limit = torch.quantile(wave[:: max(1, len(wave) // 100_000)].abs(), 1 - share)
    return wave.clamp(-limit, limit)


def telephone(wave: Tensor, sample_rate: int) -> Tensor:
    """Telephone band (300 to 3,400 Hz) and 8-bit mu-law."""
    low, high = TELEPHONE_BAND_HZ
    wave = F.lowpass_biquad(F.highpass_biquad(wave, sample_rate, low), sample_rate, high)
    result: Tensor = F.mu_law_decoding(F.mu_law_encoding(wave.clamp(-1, 1), 256), 256)
    return result


def mp3(wave: Tensor, sample_rate: int, compression: float) -> Tensor:
    """Code as MP3 and decode again, by libsndfile: [n] -> [n]."""
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        wave.numpy(),
        sample_rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=compression,
        bitrate_mode="CONSTANT",
    )
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    decoded = np.pad(decoded, (0, max(0, len(wave) - len(decoded))))
    return torch.from_numpy(decoded[: len(wave)])
