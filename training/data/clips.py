"""Clips to test and to calibrate with: pieces of tracks under noise and rooms.

Test clips have noise and rooms that training never heard; calibration clips those that it kept
aside, or, outside of a cross-validation, where it kept none, its own.

Clips of known songs are taken from the enrolled tracks (the bounty's task: unseen conditions on
enrolled audio; in a fold that holds out segments, from those alone); clips of unknown songs from
tracks never used in training. Each clip is defined by its track, conditions and seed, so that any
of them can be rendered again as audio.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from ...configs.schema import AugmentSettings, Config
from ...model.features import FrontEnd, make_front_end
from ...support.arrays import Array
from ...support.cache_keys import AUGMENTATION, cache_key
from ...support.files import save_array
from ...support.parallel import parallel_map
from ...support.seeds import Stream
from ..run import Run
from .augment import Augmenter
from .catalogue import file_digest
from .segments import clip_seconds, held_out, training_spans
from .sounds import Sounds, split_sounds
from .split import Split
from .track import Track
from .views import random_start, read_track

REVISION = 1
"""Of the code that makes the features of clips, for their cache key."""
UNKNOWN_REPEATS = 2
"""Clips per signal-to-noise ratio of each unknown track, against one of each known track."""

CLIPS_OF_A_TRACK = 50
CLIPS_OF_A_TASK = 16
"""The fewest clips that a worker gets at once."""
CALIBRATION_SEED = 2_000_000
"""Apart from those of test clips."""

DISTORTIONS = ("none", "speed", "equalizer", "reverb", "noise", "clipping", "codec")
"""What a clip can suffer alone; "noise" at `ALONE_SNR_DB`."""
ALONE_SNR_DB = 5.0
MIXED = "mixed"
"""The distortion of a clip that goes through the whole random chain."""


@dataclass(frozen=True)
class TestClip:
    """One test clip.

    Attributes:
        track: what it is a piece of.
        label: the class: a place in ``split.known``, or its length.
        snr_db: signal-to-noise ratio.
        seed: with the config's, all its randomness.
        seconds: its length; as long as the config's fold gives where None.
        distortion: ``mixed``, or one of ``DISTORTIONS`` alone.
    """

    __test__ = False  # not a test case, whatever pytest thinks of the name

    track: Track
    label: int
    snr_db: float
    seed: int
    seconds: float | None = None
    distortion: str = MIXED


@dataclass(frozen=True)
class ClipImages:
    """The images of test clips: images [clips, channels, bands, columns], labels, dB."""

    images: Tensor
    labels: Tensor
    snr_db: Array


def list_calibration_clips(
    config: Config, split: Split, unknown: Sequence[Track]
) -> list[TestClip]:
    """Clips to calibrate the open-set decision by, of known tracks and of `unknown` ones.

    About ``training.decision_clips`` of each kind, in equal shares of all its tracks: at least one
    of a track, at most `CLIPS_OF_A_TRACK`.
    """
    ratios = config.augment.test_snr_db
    clips: list[TestClip] = []
    for tracks, label in ((split.known, None), (unknown, split.unknown_class)):
        repeats = min(math.ceil(config.training.decision_clips / len(tracks)), CLIPS_OF_A_TRACK)
        for place, track in enumerate(tracks):
            for repeat in range(repeats):
                # from one track to the next the ratios go on where they stopped
                snr = float(ratios[(place * repeats + repeat) % len(ratios)])
                seed = CALIBRATION_SEED + len(clips)
                clips.append(TestClip(track, place if label is None else label, snr, seed))
    return clips


def list_test_clips(config: Config, split: Split) -> list[TestClip]:
    """All test clips of a split: one a known track and ratio, more of unknown tracks."""
    clips: list[TestClip] = []
    sides = [(track, label, 1) for label, track in enumerate(split.known)]
    sides += [(track, split.unknown_class, UNKNOWN_REPEATS) for track in split.unknown_test]
    for track, label, repeats in sides:
        for snr in config.augment.test_snr_db:
            for _ in range(repeats):
                clips.append(TestClip(track, label, float(snr), len(clips)))
    return clips


class ClipRenderer:
    """Renders clips as waveforms.

    Args:
        config: the run's.
        validating: take noise and rooms that training kept for validation (or any of training's,
            where it kept none) and segments that it may know, not the test side's.
    """

    def __init__(self, config: Config, *, validating: bool = False):
        self.config, self.validating = config, validating
        self.sounds = _sounds(config, validating)
        augment, rate = config.augment, config.signal.sample_rate_hz
        self._augment = {
            name: Augmenter(settings, self.sounds, rate)
            for name, settings in _distortions(augment).items()
        }

    def __call__(self, clip: TestClip) -> Array:
        """The waveform of a clip: mono samples, float32 [n]."""
        config, rate = self.config, self.config.signal.sample_rate_hz
        rng = np.random.default_rng([config.seed, Stream.CLIPS, config.fold_number, clip.seed])
        wave = read_track(clip.track.path, rate)
        samples = round((clip.seconds or clip_seconds(config, len(wave) / rate)) * rate)
        segment = held_out(config, len(wave) / rate)
        if segment is not None and self.validating:
            spans = training_spans(config, len(wave) / rate)
            segment = spans[rng.integers(len(spans))]
        if segment is not None:
            wave = wave[round(segment[0] * rate) : round(segment[1] * rate)]
        # a change of speed must not leave the clip shorter than asked for
        wanted = round(samples * (1 + 2 * config.augment.speed_percent / 100))
        start = random_start(len(wave), wanted, rng)
        noisy = clip.distortion in (MIXED, "noise")
        out = self._augment[clip.distortion](
            wave[start : start + wanted], rng, snr_db=clip.snr_db if noisy else None
        )
        return out[:samples]


def _sounds(config: Config, validating: bool) -> Sounds:
    split = split_sounds(config)
    return split.calibrating if validating else split.test


def _distortions(settings: AugmentSettings) -> dict[str, AugmentSettings]:
    """The settings of the whole chain, and of each distortion alone."""
    off: dict[str, object] = {
        "noisy": 0.0,
        "reverb": 0.0,
        "equalizer": 0.0,
        "clipping": 0.0,
        "codec": 0.0,
        "speed_percent": 0.0,
        "gain_db": (-6.0, -6.0),
    }
    alone = {name: {**off} for name in DISTORTIONS}
    alone["speed"]["speed_percent"] = settings.speed_percent
    for name in ("equalizer", "reverb", "clipping", "codec"):
        alone[name][name] = 1.0
    return {MIXED: settings} | {
        name: settings.model_copy(update=changes) for name, changes in alone.items()
    }


def clip_images(
    clips: list[TestClip],
    config: Config,
    front_end: FrontEnd,
    *,
    title: str = "Rendering test clips",
    validating: bool = False,
    workers: int = 0,
    cache: Path | None = None,
) -> ClipImages:
    """Render clips and turn them into images, in parallel.

    Args:
        clips: what to render; clips of one track side by side are fastest.
        config: the run's.
        front_end: with the run's statistics.
        title: shown beside the progress bar.
        validating: render with the training side's sounds, as `ClipRenderer` says.
        workers: processes; 0 for one a core.
        cache: folder where images are kept for other runs that ask for the same clips.
    """
    path = None if cache is None else cache / "clips" / f"{_key(clips, config, validating)}.npy"
    if path is not None and path.exists():
        images = np.load(path)
    else:
        work = _Images(config, validating)
        images = np.concatenate(parallel_map(work, _tasks(clips), title=title, workers=workers))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_array(path, images)
    read = front_end.select(front_end.standardise(images.astype(np.float32)))
    labels = torch.tensor([clip.label for clip in clips])
    return ClipImages(torch.from_numpy(read), labels, np.array([clip.snr_db for clip in clips]))


def _key(clips: list[TestClip], config: Config, validating: bool) -> str:
    """Of the clips and all that shapes them."""
    names = _sounds(config, validating).names
    sections = (config.signal, config.spectrum, config.augment, config.fold)
    shapes = [section and section.model_dump(mode="json") for section in sections]
    told = [
        [file_digest(clip.track.path), clip.snr_db, clip.seed, clip.seconds, clip.distortion]
        for clip in clips
    ]
    return cache_key("clips", REVISION, AUGMENTATION, names, shapes, config.seed, validating, told)


@lru_cache(maxsize=1)
def clip_renderer(settings: str, validating: bool) -> ClipRenderer:
    """One renderer a worker process, so that noise and rooms are decoded once.

    Args:
        settings: the configuration as JSON.
        validating: as `ClipRenderer` says.
    """
    return ClipRenderer(Config.model_validate_json(settings), validating=validating)


@dataclass(frozen=True)
class _Images:
    config: Config
    validating: bool

    def __call__(self, clips: list[TestClip]) -> Array:
        front_end = make_front_end(self.config.signal, self.config.spectrum)
        render = clip_renderer(self.config.model_dump_json(), self.validating)
        return np.stack([front_end.query_features(render(clip)) for clip in clips]).astype(
            np.float16
        )


def _tasks(clips: list[TestClip]) -> list[list[TestClip]]:
    """Clips in order, those of one track that follow one another together: it is decoded once."""
    tasks: list[list[TestClip]] = []
    for _, some in groupby(clips, key=lambda clip: clip.track.path):
        if not tasks or len(tasks[-1]) >= CLIPS_OF_A_TASK:
            tasks.append([])
        tasks[-1].extend(some)
    return tasks


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
    order = np.random.default_rng([run.config.seed, Stream.WRITTEN_CLIPS, seed]).permutation(
        len(clips)
    )
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
