"""The front end: waveform -> mel power -> the image that is encrypted.

The very code that makes the training images makes the client's query. Three images, one choice
in the config (``spectrum.kind``):

``mel``
    The normalised log-mel crop, its frames averaged down: [1, bands, frames].
``modulation``
    With L[m, t] the normalised log-mel crop and X[m, w] its FFT over a window of some seconds of
    t (Hann), w = 1..bins: channel 0 is |X|^0.5; each band distance d adds the real and the
    imaginary part of C_d / |C_d|^0.75, C_d[m, w] = X[m + d, w] conj(X[m, w]) (bands wrap around).
    All are averaged over overlapping windows (Welch 1967).
    A shift of the window turns all phases of one w alike, so neither |X| nor C_d depends on where
    in the song the window begins, up to its edges. |X| of a band is the modulation spectrum
    of Greenberg & Kingsbury (ICASSP 1997); C_d keeps when bands move with respect to each other,
    which |X| throws away. With ``levels``, one more channel holds the long-term spectrum: its
    column k of n is the (k + 1/2) / n quantile over time of the log power, less its mean over
    neighbouring bands (a lifter that takes off what an equalizer, a loudspeaker or broadband
    noise adds), scaled to unit deviation. Quantiles do not depend on the order of frames.
    With ``more_windows`` the spectra are taken over windows of several lengths. With
    ``compression: pcen`` L is (E / (eps + M)^0.98 + 2)^0.5 - 2^0.5 instead of a logarithm, M the
    power E smoothed over the last 0.4 s (per-channel energy normalisation, Wang et al. 2017).
``audio``
    No spectrum: the samples of the crop at a low rate, brought to unit power, in blocks:
    [1, blocks, samples of a block].
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchaudio.functional import lfilter, resample
from torchaudio.transforms import MelSpectrogram

from ..configs.schema import MelSpectrum, RawSamples, SignalSettings, Spectrum

MAGNITUDE_POWER = 0.5
RELATION_POWER = 0.25
DYNAMIC_FLOOR = 0.1
"""Added to a band's power relative to its mean: noise would fill what lies below."""
PCEN_SECONDS, PCEN_GAIN, PCEN_BIAS, PCEN_POWER = 0.4, 0.98, 2.0, 0.5
"""Of per-channel energy normalisation, as its authors set them."""
LEVEL_FLOOR = 1e-6
"""Added to power relative to the clip's mean before levels are taken."""
LEVEL_NEIGHBOURS = 17
"""Bands over which a level is averaged to compare it with."""
IMAGE_LIMIT = 4.0
"""Standardised image values are clipped to +- this many deviations."""


class FrontEnd:
    """Turns audio into images, with the settings of one config.

    Args:
        signal: waveform to mel power.
        spectrum: mel power to image.
        statistics: mean and deviation of every image value over training clips,
            float [2, channels, bands, columns]; None leaves images unstandardised.
        kept: places of the image values that the network reads, in a flattened image, int [kept];
            images are then [kept, 1, 1]. None for all.
    """

    def __init__(
        self,
        signal: SignalSettings,
        spectrum: Spectrum,
        statistics: Tensor | None = None,
        kept: Tensor | None = None,
    ):
        self.signal = signal
        self.spectrum = spectrum
        self.statistics = statistics
        self.kept = kept
        rate = signal.sample_rate_hz
        self.hop = round(signal.hop_ms * rate / 1000)
        self.window = round(signal.window_ms * rate / 1000)
        self.crop_frames = self.frames(round(signal.crop_seconds * rate))
        self._mel = MelSpectrogram(
            sample_rate=rate,
            n_fft=self.window,
            hop_length=self.hop,
            f_min=signal.f_min_hz,
            f_max=signal.f_max_hz,
            n_mels=signal.bands,
            power=2.0,
            center=False,
        )

    @staticmethod
    def load(signal: SignalSettings, spectrum: Spectrum, folder: Path) -> "FrontEnd":
        """The front end with ``statistics.npy`` and ``selected.npy`` of training."""
        statistics = torch.from_numpy(np.load(folder / "statistics.npy"))
        path = folder / "selected.npy"
        kept = torch.from_numpy(np.load(path)) if path.is_file() else None
        return make_front_end(signal, spectrum, statistics, kept)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, bands and columns of an image, as the network reads it."""
        return self.whole_shape if self.kept is None else (len(self.kept), 1, 1)

    @property
    def whole_shape(self) -> tuple[int, int, int]:
        """Channels, bands and columns of an image before values are left out."""
        if isinstance(self.spectrum, MelSpectrum):
            return 1, self.signal.bands, self.spectrum.frames
        scales = 1 + len(self.spectrum.more_windows)
        channels = scales * (1 + 2 * len(self.spectrum.distances)) + self.spectrum.quantiles
        return channels, self.signal.bands, self.spectrum.bins

    def frames(self, samples: int) -> int:
        """How many frames a waveform of `samples` samples gives."""
        return max(0, (samples - self.window) // self.hop + 1)

    @property
    def steps(self) -> tuple[float, float]:
        """Samples from one frame to the next, and samples in a frame."""
        return self.hop, self.window

    def samples(self, frames: int) -> int:
        """The fewest samples that give so many frames."""
        return self.window + self.hop * (frames - 1)

    def analyse(self, wave: Tensor) -> Tensor:
        """What images are made of, frame by frame: float [..., samples] -> [..., rows, frames]."""
        return self.power(wave)

    def power(self, wave: Tensor) -> Tensor:
        """Mel power of a waveform: float [..., samples] -> [..., bands, frames]."""
        return self._mel(wave)

    def normalised(self, power: Tensor, lengths: Tensor) -> Tensor:
        """Normalised log-mel crop.

        Each band is taken relative to its own mean power (so an equalizer and the recording
        level drop out), floored at -10 dB of it (where noise would fill it anyway), its
        logarithm centred, and the crop scaled to unit deviation. With ``compression: pcen`` that
        takes the place of floor and logarithm.

        Args:
            power: mel power, float [clips, bands, frames].
            lengths: valid frames of each clip, int [clips]; the rest is padding.

        Returns:
            float [clips, bands, frames], zero in the padding.
        """
        valid = (torch.arange(power.shape[2]) < lengths[:, None])[:, None].to(power)
        count = lengths[:, None, None]
        band_mean = (power * valid).sum(2, keepdim=True) / count
        relative = power / (band_mean + 1e-20)
        if getattr(self.spectrum, "compression", "log") == "pcen":
            log = self._pcen(relative) * valid
        else:
            log = torch.log(relative + DYNAMIC_FLOOR) * valid
        log = (log - log.sum(2, keepdim=True) / count) * valid
        deviation = (log.square().sum((1, 2), keepdim=True) / (count * power.shape[1])).sqrt()
        return (log / (deviation + 1e-6)).clamp(-3, 3)

    def image(self, power: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Images of crops.

        Args:
            power: mel power, float [clips, bands, frames]; for the mel image, at most
                ``crop_frames`` frames.
            lengths: valid frames of each clip, int [clips]; None where all are.

        Returns:
            float [clips, channels, bands, columns], standardised and without the values that the
            network does not read, where statistics are known.
        """
        if lengths is None:
            lengths = torch.full((power.shape[0],), power.shape[2])
        missing = max(0, self.crop_frames - power.shape[2])
        power = torch.nn.functional.pad(power, (0, missing))
        crop = self.normalised(power, lengths)
        if isinstance(self.spectrum, MelSpectrum):
            image = torch.nn.functional.adaptive_avg_pool1d(crop, self.spectrum.frames)[:, None]
        else:
            channels = self._modulation(crop, lengths)
            if self.spectrum.quantiles:
                channels.append(self._levels(power, lengths))
            image = torch.stack(channels, dim=1)
        return image if self.statistics is None else self.kept_of(self.standardised(image))

    def standardised(self, images: Tensor) -> Tensor:
        """Images in deviations from the mean, clipped: [..., channels, bands, columns]."""
        mean, deviation = self.statistics
        return ((images - mean) / deviation).clamp(-IMAGE_LIMIT, IMAGE_LIMIT)

    def measure(self, images: Tensor) -> Tensor:
        """Statistics to standardise by: mean and deviation of every value of these images.

        Args:
            images: not standardised, float [images, channels, bands, columns].

        Returns:
            float [2, channels, bands, columns].
        """
        return torch.stack([images.mean(0), images.std(0) + 1e-6])

    def kept_of(self, images: Tensor) -> Tensor:
        """What the network reads of images: [..., channels, bands, columns] -> [..., kept, 1, 1].

        The images themselves where it reads all of them.
        """
        return images if self.kept is None else images.flatten(-3)[..., self.kept, None, None]

    def picture(self, wave: Tensor) -> Tensor:
        """The whole image of a clip for people to look at, NaN where the network does not look.

        Args:
            wave: mono samples at the config's rate, float [samples].

        Returns:
            float [channels, bands, columns].
        """
        whole = make_front_end(self.signal, self.spectrum, self.statistics).query_image(wave)
        if self.kept is None:
            return whole
        unseen = torch.ones(whole.numel(), dtype=torch.bool)
        unseen[self.kept] = False
        return whole.masked_fill(unseen.view_as(whole), torch.nan)

    def _pcen(self, power: Tensor) -> Tensor:
        """Per-channel energy normalisation: [clips, bands, frames] -> the same shape."""
        frames = PCEN_SECONDS * self.signal.sample_rate_hz / self.hop
        share = (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
        first = power[..., :1]
        smooth = first + lfilter(
            power - first,
            torch.tensor([1.0, share - 1.0]),
            torch.tensor([share, 0.0]),
            clamp=False,
        )
        gain = (smooth + 1e-6) ** -PCEN_GAIN
        return (power * gain + PCEN_BIAS) ** PCEN_POWER - PCEN_BIAS**PCEN_POWER

    def _levels(self, power: Tensor, lengths: Tensor) -> Tensor:
        """Quantiles over time of the log power: [clips, bands, frames] -> [clips, bands, bins]."""
        stride = max(1, self.window // self.hop)  # frames that do not overlap say it all
        power, lengths = power[..., ::stride], (lengths - 1) // stride + 1
        bins = self.spectrum.bins
        inside = torch.arange(power.shape[2]) < lengths[:, None]
        ordered = power.masked_fill(~inside[:, None], torch.inf).sort(dim=2).values
        quantiles = (torch.arange(bins) + 0.5) / bins
        places = (quantiles * (lengths[:, None] - 1)).round().long()[:, None]
        taken = ordered.gather(2, places.expand(-1, power.shape[1], -1))
        mean = (power * inside[:, None]).sum((1, 2)) / (lengths * power.shape[1])
        level = torch.log(taken / (mean[:, None, None] + 1e-20) + LEVEL_FLOOR)
        width = min(LEVEL_NEIGHBOURS, power.shape[1] - 1 + power.shape[1] % 2)
        around = torch.nn.functional.avg_pool2d(
            level[:, None], (width, 1), 1, (width // 2, 0), count_include_pad=False
        )[:, 0]
        level = level - around
        return level / (level.std((1, 2), keepdim=True) + 1e-6)

    def _modulation(self, crop: Tensor, lengths: Tensor) -> list[Tensor]:
        """Averaged spectrum: [clips, bands, frames] -> channels, [clips, bands, bins] each."""
        lengths_and_hops = [(self.spectrum.window_seconds, self.spectrum.hop_seconds)]
        lengths_and_hops += [(more, more / 4) for more in self.spectrum.more_windows]
        return [
            channel
            for window, hop in lengths_and_hops
            for channel in self._scale(crop, lengths, window, hop)
        ]

    def _scale(
        self, crop: Tensor, lengths: Tensor, window_seconds: float, hop_seconds: float
    ) -> list[Tensor]:
        """The same over windows of one length."""
        seconds = self.hop / self.signal.sample_rate_hz
        window = min(round(window_seconds / seconds), self.crop_frames)
        hop = max(1, round(hop_seconds / seconds))
        own = lengths.clamp(max=window)  # a clip shorter than a window has one of its own length
        spectrum = self._windows(crop, own, window, hop)
        starts = torch.arange(spectrum.shape[2]) * hop
        inside = (starts + own[:, None] <= lengths[:, None]).to(crop)
        weight = (inside / inside.sum(1, keepdim=True))[:, None, :, None]
        channels = [spectrum.abs() ** MAGNITUDE_POWER]
        for distance in self.spectrum.distances:
            relation = spectrum.roll(-distance, dims=1) * spectrum.conj()
            relation = relation * (relation.abs() + 1e-9) ** (RELATION_POWER - 1)
            channels += [relation.real, relation.imag]
        return [(channel * weight).sum(2) for channel in channels]

    def _windows(self, crop: Tensor, own: Tensor, window: int, hop: int) -> Tensor:
        """Windowed Fourier bins: [clips, bands, frames] -> complex [clips, bands, windows, bins].

        Only a few bins of each window are wanted, so that a strided convolution with their cosines
        and sines is faster than an FFT.
        """
        clips, bands, frames = crop.shape
        out = None
        for length in own.unique().tolist():
            rows = (own == length).nonzero()[:, 0]
            kernel = _fourier_kernel(length, window, self.spectrum.bins)
            flat = crop[rows].reshape(-1, 1, frames)
            part = torch.nn.functional.conv1d(flat, kernel, stride=hop)
            part = part.reshape(len(rows), bands, 2, self.spectrum.bins, -1).permute(0, 1, 4, 3, 2)
            part = torch.view_as_complex(part.contiguous())
            if out is None:
                out = part.new_zeros((clips, *part.shape[1:]))
            out[rows] = part
        return out

    def query_image(self, wave: Tensor) -> Tensor:
        """Image of one clip, at most ``MAX_CLIP_SECONDS`` long.

        A clip shorter than the crop is padded with the mean of each band. Of a longer one, the
        mel image takes the first crop; the modulation image averages all of it.

        Args:
            wave: mono samples, float32 [n], at least one window long.

        Returns:
            float [channels, bands, columns].
        """
        power = self.power(wave)[None]
        if isinstance(self.spectrum, MelSpectrum):
            power = power[..., : self.crop_frames]
        return self.image(power)[0]


class AudioFrontEnd(FrontEnd):
    """Turns audio into blocks of samples; a frame is a block, a row a place in it."""

    def __init__(
        self,
        signal: SignalSettings,
        spectrum: RawSamples,
        statistics: Tensor | None = None,
        kept: Tensor | None = None,
    ):
        self._step = spectrum.block * signal.sample_rate_hz / spectrum.rate_hz
        super().__init__(signal, spectrum, statistics, kept)

    @property
    def whole_shape(self) -> tuple[int, int, int]:
        """1, blocks of a crop, samples of a block."""
        return 1, self.crop_frames, self.spectrum.block

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

    def measure(self, images: Tensor) -> Tensor:
        """Nothing: samples of unit power are standardised already."""
        return torch.tensor([0.0, 1.0])[:, None, None, None]

    def analyse(self, wave: Tensor) -> Tensor:
        """Blocks of samples: float [..., samples] -> [..., samples of a block, blocks]."""
        low = resample(wave, self.signal.sample_rate_hz, self.spectrum.rate_hz)
        count = min(self.frames(wave.shape[-1]), low.shape[-1] // self.spectrum.block)
        low = low[..., : count * self.spectrum.block]
        return low.unflatten(-1, (count, self.spectrum.block)).mT

    def image(self, power: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Crops brought to unit power, silent where they are padded.

        Args:
            power: blocks of samples, float [clips, samples of a block, at most crop_frames].
            lengths: valid blocks of each clip, int [clips]; None where all are.

        Returns:
            float [clips, 1, blocks, samples of a block], within +- `IMAGE_LIMIT`.
        """
        if lengths is None:
            lengths = torch.full((power.shape[0],), power.shape[2])
        power = torch.nn.functional.pad(power, (0, max(0, self.crop_frames - power.shape[2])))
        valid = (torch.arange(power.shape[2]) < lengths[:, None])[:, None].to(power)
        return unit_power((power * valid).mT[:, None], lengths * power.shape[1])

    def query_image(self, wave: Tensor) -> Tensor:
        """Image of the beginning of a clip: mono samples, float [n] -> [1, blocks, block]."""
        return self.image(self.analyse(wave)[None, :, : self.crop_frames])[0]


def unit_power(images: Tensor, samples: Tensor) -> Tensor:
    """Images of audio at unit power, within +- `IMAGE_LIMIT`.

    Args:
        images: float [clips, 1, blocks, samples of a block].
        samples: how many samples of each are not padding, int [clips].
    """
    mean = images.square().sum((1, 2, 3)) / samples
    return (images / (mean.sqrt() + 1e-9)[:, None, None, None]).clamp(-IMAGE_LIMIT, IMAGE_LIMIT)


def make_front_end(
    signal: SignalSettings,
    spectrum: Spectrum,
    statistics: Tensor | None = None,
    kept: Tensor | None = None,
) -> FrontEnd:
    """The front end of a config; the arguments are those of `FrontEnd`."""
    kind = AudioFrontEnd if isinstance(spectrum, RawSamples) else FrontEnd
    return kind(signal, spectrum, statistics, kept)


def _fourier_kernel(length: int, window: int, bins: int) -> Tensor:
    """Hann-windowed cosines and minus sines of bins 1..bins: [2 * bins, 1, window].

    The window spans `length` frames (zeros follow) and has unit energy; the bins' frequencies are
    multiples of one cycle per `window` frames.
    """
    time = torch.arange(window)
    hann = (0.5 - 0.5 * torch.cos(2 * torch.pi * (time + 0.5) / length)) * (time < length)
    hann = hann / hann.square().sum().sqrt()
    phase = 2 * torch.pi * torch.arange(1, bins + 1)[:, None] * time / window
    return torch.cat([torch.cos(phase), -torch.sin(phase)])[:, None] * hann
