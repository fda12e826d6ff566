"""Test clips: pieces of tracks under noise and rooms that training never heard.

Clips of known songs are taken from the enrolled tracks (the bounty's task: unseen conditions on
enrolled audio); clips of unknown songs from tracks never used in training. Each clip is defined by
its track, signal-to-noise ratio and seed, so that any of them can be rendered again as audio.
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from ..configs.schema import Config
from ..model.audio import read_audio
from ..model.frontend import FrontEnd
from .augment import Augmenter
from .batches import padded
from .parallel import parallel_map
from .run import Run
from .sounds import Sounds
from .split import Split
from .track import Track
from .views import MAX_TRACK_SECONDS, random_piece

UNKNOWN_REPEATS = 2
"""Clips per signal-to-noise ratio of each unknown track, against one of each known track."""


@dataclass(frozen=True)
class TestClip:
    """One test clip. `label` is the class: a place in ``split.known``, or its length."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    track: Track
    label: int
    snr_db: float
    seed: int


@dataclass(frozen=True)
class ClipImages:
    """The images of test clips: images [clips, channels, bands, columns], labels, dB."""

    images: Tensor
    labels: Tensor
    snr_db: np.ndarray


def list_test_clips(config: Config, split: Split) -> list[TestClip]:
    """All test clips of a split: one a known track and ratio, more of unknown tracks."""
    clips = []
    sides = [(track, label, 1) for label, track in enumerate(split.known)]
    sides += [(track, split.unknown_class, UNKNOWN_REPEATS) for track in split.unknown_test]
    for track, label, repeats in sides:
        for snr in config.augment.test_snr_db:
            for _ in range(repeats):
                clips.append(TestClip(track, label, float(snr), len(clips)))
    return clips


class ClipRenderer:
    """Renders test clips as waveforms, with the test side's noise and rooms."""

    def __init__(self, config: Config):
        self.config = config
        rate = config.signal.sample_rate_hz
        self.sounds = Sounds(config.augment, rate, config.seed, "test")
        self._augment = Augmenter(config.augment, self.sounds, rate)

    def __call__(self, clip: TestClip, seconds: float | None = None) -> np.ndarray:
        """The waveform of a clip.

        Args:
            clip: what to render.
            seconds: its length; the crop's length where None.

        Returns:
            Mono samples, float32 [n].
        """
        rate = self.config.signal.sample_rate_hz
        rng = np.random.default_rng([self.config.seed, 8, clip.seed])
        # a change of speed must not leave the clip shorter than asked for
        spare = 1 + 2 * self.config.augment.speed_percent / 100
        samples = round((seconds or self.config.signal.crop_seconds) * rate)
        piece = random_piece(_track(clip.track.path, rate), round(samples * spare), rng)
        return self._augment(piece, rng, clip.snr_db)[:samples]


def clip_images(
    clips: list[TestClip], config: Config, front_end: FrontEnd, *, workers: int = 0
) -> ClipImages:
    """Render clips and turn them into images, in parallel.

    Args:
        clips: what to render; clips of one track side by side are fastest.
        config: the run's.
        front_end: with the run's statistics.
        workers: processes; 0 for one a core.
    """
    parts = parallel_map(
        _Images(config, front_end.statistics),
        _chunks(clips, 16),
        title="Rendering test clips",
        workers=workers,
    )
    labels = torch.tensor([clip.label for clip in clips])
    return ClipImages(torch.cat(parts), labels, np.array([clip.snr_db for clip in clips]))


@lru_cache(maxsize=1)
def _renderer(settings: str) -> ClipRenderer:
    """One renderer a worker process, so that noise and rooms are decoded once."""
    return ClipRenderer(Config.model_validate_json(settings))


@lru_cache(maxsize=1)
def _track(path: Path, sample_rate: int) -> np.ndarray:
    """The track decoded last: its clips follow one another."""
    return read_audio(path, sample_rate, max_seconds=MAX_TRACK_SECONDS)


@dataclass(frozen=True)
class _Images:
    config: Config
    statistics: Tensor | None

    def __call__(self, clips: list[TestClip]) -> Tensor:
        front_end = FrontEnd(self.config.signal, self.config.spectrum, self.statistics)
        render = _renderer(self.config.model_dump_json())
        frames = front_end.crop_frames
        powers = []
        for clip in clips:
            power = front_end.power(torch.from_numpy(render(clip)))[:, :frames]
            powers.append(torch.from_numpy(padded(power.numpy(), frames)))
        return front_end.image(torch.stack(powers))


def _chunks(items: list, size: int) -> list[list]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def write_clips(
    run: Run, folder: Path, *, known: int, unknown: int, seed: int = 0
) -> list[tuple[TestClip, Path]]:
    """Write some of a run's test clips as WAV files and what they are to ``clips.csv``.

    Args:
        run: trained, or at least split.
        folder: made where missing.
        known: how many clips of known songs.
        unknown: how many clips of songs never enrolled.
        seed: which clips are drawn.

    Returns:
        The clips and their files.
    """
    split = run.split()
    clips = list_test_clips(run.config, split)
    order = np.random.default_rng([run.config.seed, 11, seed]).permutation(len(clips))
    shuffled = [clips[i] for i in order]
    chosen = [clip for clip in shuffled if clip.label != split.unknown_class][:known]
    chosen += [clip for clip in shuffled if clip.label == split.unknown_class][:unknown]
    render = ClipRenderer(run.config)
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("clip[0-9][0-9].wav"):
        earlier.unlink()
    written = []
    for number, clip in enumerate(chosen, 1):
        path = folder / f"clip{number:02d}.wav"
        soundfile.write(path, render(clip), run.config.signal.sample_rate_hz, subtype="PCM_16")
        written.append((clip, path))
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["clip", "snr_db", "expected_id", "expected"])
        for clip, path in written:
            enrolled = clip.label != split.unknown_class
            rows.writerow(
                [
                    path.name,
                    clip.snr_db,
                    *((clip.track.id, clip.track.name) if enrolled else ("", "unknown")),
                ]
            )
    return written
