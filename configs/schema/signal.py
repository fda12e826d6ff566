"""The front end: from a waveform to features."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Count, Settings


class SignalSettings(Settings):
    """From waveform to mel power. One set of constants for training and the client."""

    sample_rate_hz: Annotated[int, Field(strict=True, ge=4000, le=48000)] = 16000
    """Sample rate every clip is resampled to, in Hz."""
    window_ms: Annotated[float, Field(ge=8, le=256)] = 128.0
    """Length of the short-time Fourier window, in ms."""
    hop_ms: Annotated[float, Field(ge=4, le=256)] = 32.0
    """Step between two frames, in ms."""
    bands: Annotated[int, Field(strict=True, ge=4, le=256)] = 128
    """Number of mel bands."""
    f_min_hz: Annotated[float, Field(ge=0)] = 30.0
    """Lower edge of the lowest band, in Hz."""
    f_max_hz: Annotated[float, Field(gt=0)] = 6000.0
    """Upper edge of the highest band, in Hz."""
    crop_seconds: Annotated[float, Field(ge=2, le=20)] = 10.0
    """Length of the piece of music the network sees at once, in seconds."""

    @model_validator(mode="after")
    def _check(self) -> "SignalSettings":
        nyquist = self.sample_rate_hz / 2
        if not self.f_min_hz < self.f_max_hz <= nyquist:
            raise ValueError(
                f"f_min_hz={self.f_min_hz} and f_max_hz={self.f_max_hz} must rise and stay "
                f"within half the sample rate ({nyquist} Hz)"
            )
        if self.hop_ms > self.window_ms:
            raise ValueError(f"hop_ms={self.hop_ms} must not exceed window_ms={self.window_ms}")
        return self


class MelSpectrum(Settings):
    """The normalised log-mel crop itself: one channel, bands x frames."""

    kind: Literal["mel"]
    frames: Annotated[int, Field(strict=True, ge=4, le=400)] = 50
    """Frames of the crop after averaging neighbouring ones."""


class ModulationSpectrum(Settings):
    """The shift-invariant spectrum: FFTs over time of every band (see the docs, front end)."""

    kind: Literal["modulation"] = "modulation"
    window_seconds: Annotated[float, Field(ge=0.5, le=20)] = 2.5
    """Length of the windows whose spectra are averaged over the clip, in seconds."""
    hop_seconds: Annotated[float, Field(ge=0.1, le=20)] = 0.625
    """Step between those windows, in seconds."""
    more_windows: Annotated[
        tuple[Annotated[float, Field(ge=0.5, le=20)], ...], Field(max_length=3)
    ] = ()
    """Further lengths of windows, in seconds, in steps of a quarter: several time scales at once.
    Each adds the channels of magnitudes and relations once more."""
    compression: Literal["log", "pcen"] = "log"
    """How each band's power is compressed before its spectrum is taken: the logarithm relative to
    the band's mean over the clip, or per-channel energy normalisation, which is relative to what
    the band did just before."""
    bins: Annotated[int, Field(strict=True, ge=1, le=128)] = 8
    """Modulation bins used, from 1/window_seconds Hz upwards."""
    distances: Annotated[tuple[Count, ...], Field(max_length=8)] = (1, 2, 4)
    """Band distances whose phase relations are used; each adds two channels."""
    quantiles: bool = True
    """Add a channel of spectral quantiles, the long-term spectrum: as many quantiles over time as
    there are bins."""


class RawSamples(Settings):
    """The samples themselves, at unit power, in blocks; no spectrum. The server does the rest,
    beginning with a filter bank."""

    kind: Literal["samples"]
    rate_hz: Annotated[int, Field(strict=True, ge=1000, le=16000)] = 4000
    """Samples encrypted a second."""
    block: Annotated[int, Field(strict=True, ge=16, le=4000)] = 320
    """Samples in a block: the step of the filter bank."""


class EmbeddingSpectrum(Settings):
    """The embedding of a trained encoder, which the client computes."""

    kind: Literal["embedding"]
    encoder: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=32)] = "default"
    """Which of the encoders that come with Hushtune. ``signal`` must be what it was trained with.
    """
    step_seconds: Annotated[float, Field(ge=0.05, le=5)] = 0.5
    """From one crop to the next whose embeddings' mean is taken, in seconds."""


Spectrum = Annotated[
    MelSpectrum | ModulationSpectrum | RawSamples | EmbeddingSpectrum, Field(discriminator="kind")
]
