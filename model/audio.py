"""Decoding clips and tracks: any sample rate and channel count in, mono float32 out."""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from ..support.errors import AudioError, AudioFault
from .decoding import FORMATS, LOUDEST_SAMPLE, Decoded, decode, mix

MIN_CLIP_SECONDS = 1.0
MAX_CLIP_SECONDS = 20.0
SILENCE_DBFS = -70.0
"""A clip whose root mean square lies below this level counts as silent."""


def read_audio(
    path: str | PathLike[str], sample_rate: int, *, max_seconds: float | None = None
) -> NDArray[np.float32]:
    """Decode the beginning of an audio file.

    Args:
        path: of a file that FFmpeg decodes.
        sample_rate: sample rate of the result in Hz.
        max_seconds: read no more than this from the start; None for the whole file.

    Returns:
        Mono samples, float32 [n], full scale at +-1.

    Raises:
        AudioError: no such file, an empty file, or no audio that can be decoded.
    """
    return decode_audio(Path(path), sample_rate, max_seconds=max_seconds).samples


def decode_audio(path: Path, sample_rate: int, *, max_seconds: float | None = None) -> Decoded:
    """What `read_audio` decodes, and whether it is about as much as the file states."""
    if not path.is_file():
        raise AudioError(
            f"{path}: no such file. Give the path of an audio file.", AudioFault.MISSING
        )
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty. Expected {FORMATS}.", AudioFault.EMPTY)
    return decode(path, sample_rate, max_seconds=max_seconds)


def to_mono(
    samples: NDArray[np.floating[Any]], source_rate: int, sample_rate: int, *, name: str
) -> NDArray[np.float32]:
    """Put channels together and resample.

    Args:
        samples: float [n] or [n, channels].
        source_rate: sample rate of `samples` in Hz.
        sample_rate: sample rate of the result in Hz.
        name: what to call the clip in an error.

    Returns:
        Mono samples, float32 [m].

    Raises:
        AudioError: wrong shape or sample rate, or samples that are not finite numbers.
    """
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim not in (1, 2) or source_rate <= 0:
        raise AudioError(
            f"{name}: shape={samples.shape}, sample_rate={source_rate}. "
            "Expected samples [n] or [n, channels] and a positive sample rate in Hz."
        )
    if not np.isfinite(samples).all() or np.abs(samples).max(initial=0) > LOUDEST_SAMPLE:
        raise AudioError(
            f"{name}: holds samples that are not finite numbers, or far beyond full scale. "
            "Export it again.",
            AudioFault.NO_SOUND,
        )
    mono = samples if samples.ndim == 1 else mix(samples.T)
    return np.ascontiguousarray(resample(mono, source_rate, sample_rate))


def resample(wave: NDArray[np.float32], source_rate: int, sample_rate: int) -> NDArray[np.float32]:
    """Change the sample rate (soxr, high quality): float32 [n] -> [about n * ratio]."""
    if source_rate == sample_rate or not wave.size:
        return wave
    return np.asarray(soxr.resample(wave, source_rate, sample_rate, quality="HQ"), np.float32)


def check_audible(
    samples: NDArray[np.floating[Any]], sample_rate: int, min_seconds: float, *, name: str
) -> None:
    """Refuse a clip too short or too quiet to identify.

    Raises:
        AudioError: shorter than `min_seconds`, or a root mean square under ``SILENCE_DBFS``.
    """
    seconds = len(samples) / sample_rate
    if seconds < min_seconds:
        raise AudioError(
            f"{name}: too short, {seconds:.2f} s. At least {min_seconds:g} s are needed.",
            AudioFault.TOO_SHORT,
        )
    level = 20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64))) + 1e-12)
    if level < SILENCE_DBFS:
        raise AudioError(
            f"{name}: silent, {level:.0f} dBFS. Expected music above {SILENCE_DBFS:g} dBFS.",
            AudioFault.SILENT,
        )


def read_clip(
    clip: str | PathLike[str] | tuple[NDArray[np.floating[Any]], int], sample_rate: int
) -> tuple[NDArray[np.float32], str]:
    """Read a clip to identify: of longer ones, the first ``MAX_CLIP_SECONDS``.

    Args:
        clip: a file's path, or (samples [n] or [n, channels], sample rate in Hz).
        sample_rate: sample rate of the result in Hz.

    Returns:
        Mono samples, float32 [n], 1 s to 20 s of them; and the clip's name for messages.

    Raises:
        AudioError: undecodable, shorter than 1 s, or silent.
    """
    if isinstance(clip, tuple):
        samples, source_rate = clip
        name = "clip"
        head = np.asarray(samples)[: round(MAX_CLIP_SECONDS * max(source_rate, 1))]
        mono = to_mono(head, source_rate, sample_rate, name=name)
    else:
        name = str(clip)
        mono = read_audio(clip, sample_rate, max_seconds=MAX_CLIP_SECONDS)
    check_audible(mono, sample_rate, MIN_CLIP_SECONDS, name=name)
    return mono, name
