"""Decoding audio files block by block with FFmpeg (PyAV): what is not needed is never in memory.

FFmpeg looks at a file's content, not at its name, goes on after damaged stretches, and reads until
nothing more comes, whatever the file says of its own length.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
import soxr
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from ..support.errors import AudioError, AudioFault

Samples = NDArray[np.float32]

SUFFIXES = (
    ".aac", ".aif", ".aiff", ".amr", ".ape", ".flac", ".m4a", ".m4b", ".mka", ".mp2", ".mp3",
    ".mp4", ".oga", ".ogg", ".opus", ".wav", ".weba", ".webm", ".wma", ".wv",
)  # fmt: skip
"""Names that audio files have, as far as folders are searched for them."""
FORMATS = "WAV, FLAC, MP3, M4A, OGG, Opus, WMA or another format that FFmpeg decodes"
LOUDEST_SAMPLE = 1000.0
"""Samples beyond this many times full scale are no sound."""
CANCELLED = 0.1
"""A mix with less than this share of its channels' mean power has lost music to opposite phases."""
SHORTFALL = 0.97
"""A file gives less than it announces where it gives less than this share."""


@dataclass(frozen=True)
class Decoded:
    """What a file holds.

    Attributes:
        samples: mono, float32 [n], full scale at +-1.
        announced_seconds: the length that the file states; None where it states none.
        complete: whether about as much came as the file states, or as was asked for.
    """

    samples: Samples
    announced_seconds: float | None
    complete: bool


def decode(path: Path, sample_rate: int, *, max_seconds: float | None = None) -> Decoded:
    """Decode an audio file, or the sound of a video file.

    Channels are averaged; where they cancel each other (one is the other's negative), or all but
    one are silent, the loudest is taken instead.

    Args:
        path: of the file.
        sample_rate: sample rate of the result in Hz.
        max_seconds: decode no more than this from the start; None for all of it.

    Raises:
        AudioError: nothing that can be decoded, or samples that are no sound.
    """
    try:
        with path.open("rb") as file:
            return _decode(file, path, sample_rate, max_seconds)
    except av.error.FFmpegError as error:
        raise AudioError(
            f"{path}: not audio that can be decoded. Expected {FORMATS}.", AudioFault.UNDECODABLE
        ) from error
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be read ({error.strerror}).", AudioFault.UNREADABLE
        ) from error


def _decode(file: IO[bytes], path: Path, sample_rate: int, max_seconds: float | None) -> Decoded:
    wanted = None if max_seconds is None else round(max_seconds * sample_rate)
    channels = _Channels(sample_rate, str(path))
    with av.open(file, metadata_errors="replace") as container:
        if not container.streams.audio:
            raise AudioError(
                f"{path}: holds no audio. Expected {FORMATS}.", AudioFault.WITHOUT_AUDIO
            )
        stream = container.streams.audio[0]
        announced = _announced_seconds(container, stream)
        for block, rate in _blocks(container, stream):
            channels.add(block, rate)
            if wanted is not None and channels.samples >= wanted:
                break
    samples = channels.mono()[:wanted]
    if announced is None:
        complete = True
    else:
        expected = announced if max_seconds is None else min(announced, max_seconds)
        complete = len(samples) >= SHORTFALL * expected * sample_rate
    return Decoded(samples, announced, complete)


def _announced_seconds(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base


def _blocks(container: Any, stream: Any) -> Iterator[tuple[Samples, int]]:
    """Blocks of samples, float32 [channels, n], each with its rate in Hz.

    Packets that cannot be decoded are passed over; rate and channels may change within a file that
    was joined from others.
    """
    converter, form = None, None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.EOFError:
            break
        except av.error.FFmpegError:
            continue  # damaged
        for frame in frames:
            now = frame.format.name, frame.layout.name, frame.sample_rate
            if now != form:
                converter = av.AudioResampler("fltp", frame.layout, frame.sample_rate)
                form = now
            assert converter is not None
            frame.pts = None  # times in damaged files jump
            for part in converter.resample(frame):
                yield _array(part), part.sample_rate


def _array(frame: AudioFrame) -> Samples:
    return np.asarray(frame.to_ndarray(), np.float32)


class _Channels:
    """Channels as they come in, resampled, and put together at the end."""

    def __init__(self, sample_rate: int, name: str):
        self.sample_rate = sample_rate
        self.name = name
        self.samples = 0
        self._resampler: soxr.ResampleStream | None = None
        self._form: tuple[int, int] | None = None
        self._blocks: list[Samples] = []
        self._finished: list[list[Samples]] = []

    def add(self, block: Samples, rate: int) -> None:
        """Some more samples: float32 [channels, n]."""
        if not np.isfinite(block).all() or np.abs(block).max(initial=0) > LOUDEST_SAMPLE:
            raise AudioError(
                f"{self.name}: holds samples that are not finite numbers, or far beyond full "
                "scale. Export it again.",
                AudioFault.NO_SOUND,
            )
        if (len(block), rate) != self._form:
            self._end_part()
            self._form = len(block), rate
            self._resampler = (
                None
                if rate == self.sample_rate
                else soxr.ResampleStream(rate, self.sample_rate, len(block), "float32", "HQ")
            )
        self._keep(block if self._resampler is None else self._resample(block.T))

    def _resample(self, block: Samples, *, last: bool = False) -> Samples:
        assert self._resampler is not None
        channels = block.shape[1]
        block = np.ascontiguousarray(block[:, 0] if channels == 1 else block)
        result = self._resampler.resample_chunk(block, last=last)
        return np.asarray(result, np.float32).reshape(-1, channels).T

    def _keep(self, block: Samples) -> None:
        if block.size:
            self._blocks.append(np.array(block))
            self.samples += block.shape[1]

    def _end_part(self) -> None:
        if self._form is None:
            return
        if self._resampler is not None:
            self._keep(self._resample(np.empty((0, self._form[0]), np.float32), last=True))
        if self._blocks:
            self._finished.append(self._blocks)
        self._blocks = []

    def mono(self) -> Samples:
        """All of it: float32 [n]."""
        self._end_part()
        if not self._finished:
            return np.empty(0, np.float32)
        return np.concatenate([mix(np.concatenate(part, axis=1)) for part in self._finished])


def mix(channels: Samples) -> Samples:
    """One channel of several: [channels, n] -> [n], see `decode`."""
    mean: Samples = channels.mean(0, dtype=np.float32)
    if len(channels) == 1 or not mean.size:
        return mean
    power = np.square(channels, dtype=np.float32).mean(1)
    if np.square(mean).mean() < CANCELLED * power.mean():
        loudest: Samples = channels[int(power.argmax())]
        return loudest
    return mean
