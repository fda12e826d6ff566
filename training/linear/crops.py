"""What a network without hidden layers needs of a track: a file of small integers.

A track is covered evenly by crops of its renderings, of the lengths that people record, under
noise. Each is what would be encrypted of it: the selected features, quantized. The same goes for
the clips that calibrate the open-set decision. So everything after this is exact integer sums, a
file depends on its own track alone, and an interrupted run goes on with those that are missing.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ...configs.schema import Config, TrainingSettings
from ...model.features import Features, FrontEnd, Places, make_front_end
from ...model.quantizers import quantized_inputs
from ...model.rows import row_at
from ...support.arrays import Array
from ...support.cache_keys import AUGMENTATION, cache_key
from ...support.errors import RunError
from ...support.files import replacing
from ...support.seeds import Stream
from ..data.batches import CropFeatures
from ..data.catalogue import file_digest
from ..data.clips import CALIBRATION_SEED, TestClip, clip_renderer
from ..data.material import material_of
from ..data.pool import noise_of
from ..data.sounds import split_sounds
from ..data.track import Track
from ..data.views import View, Views, remove_views, track_views

REVISION = 1
"""Of the code that makes these files, for their cache key."""
SHAPING = ("views", "view_seconds", "crops", "noise_share", "short_clip_share")
"""The training settings that shape a crop."""


@dataclass(frozen=True)
class TrackCrops:
    """What a file holds.

    Attributes:
        crops: quantized features, int8 [crops, inputs].
        rows: the row of the song that each belongs to, int [crops].
        negatives: quantized features of synthetic negatives, int8 [negatives, inputs].
        clips: of clips to calibrate with, int8 [clips, inputs].
        clip_seconds: their lengths, float [clips].
        seconds: length of the track.
        opened: every file opened to make them, by kind.
    """

    crops: Array
    rows: Array
    negatives: Array
    clips: Array
    clip_seconds: Array
    seconds: float
    opened: dict[str, list[str]]

    @staticmethod
    def load(path: Path) -> "TrackCrops":
        """Read a file.

        Raises:
            RunError: missing or damaged.
        """
        try:
            with np.load(path) as file:
                about = json.loads(str(file["about"]))
                names = ("crops", "rows", "negatives", "clips", "clip_seconds")
                return TrackCrops(*(file[name] for name in names), **about)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise RunError(
                f"{path}: cannot be read ({error}). Delete it and train again."
            ) from error


@dataclass(frozen=True)
class CropMaker:
    """Makes the files of tracks; goes to worker processes.

    Attributes:
        config: the run's.
        cache: folder of files shared by runs.
        statistics: of the features, float32 [2, channels, bands, columns].
        selected: places of those that the network reads; None for all.
        clips: to calibrate with, of each length.
        share: of the tracks that calibrate.
    """

    config: Config
    cache: Path
    statistics: Features
    selected: Places | None
    clips: int
    share: float = 1.0

    @cached_property
    def _shape(self) -> object:
        """Everything but the track that shapes a file."""
        config, split = self.config, split_sounds(self.config)
        training = config.training.model_dump(include=set(SHAPING))
        sections = [config.signal, config.spectrum, config.augment]
        shapes = [section.model_dump(mode="json") for section in sections]
        lengths = [config.enrolment.row_seconds, config.clip_lengths]
        fold = config.fold and config.fold.model_dump(mode="json")
        fitted = cache_key(
            "front end",
            1,
            (),
            self.statistics.tobytes().hex(),
            None if self.selected is None else self.selected.tolist(),
        )
        sounds = [*(one.names for one in split.training), split.calibrating.names]
        bits = config.network.input_bits
        return [
            training,
            shapes,
            lengths,
            fold,
            fitted,
            sounds,
            bits,
            self.clips,
            self.share,
            config.seed,
        ]

    def path(self, digest: str) -> Path:
        """Where the file of the track with this content digest lies."""
        key = cache_key("crops", REVISION, AUGMENTATION, self._shape, digest)
        return self.cache / "crops" / key[:2] / f"{key}.npz"

    def __call__(self, track: Track) -> Path:
        """The file of a track, made where it is missing."""
        path = self.path(file_digest(track.path))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._make(track, path)
        return path

    def _make(self, track: Track, path: Path) -> None:
        config, bits = self.config, self.config.network.input_bits
        views, opened = track_views(track, config, self.cache)
        front_end = make_front_end(config.signal, config.spectrum, self.statistics, self.selected)
        draw = CropDrawer(config, self.cache, front_end)
        rng = np.random.default_rng([config.seed, Stream.CROPS, int(views.digest[:8], 16)])
        parts = [draw(views, view, rng) for view in views.training]
        crops, negatives = (
            quantized_inputs(np.concatenate(each), bits)
            for each in ([p.features for p in parts], [p.negatives for p in parts])
        )
        chosen = int(views.digest[8:16], 16) < self.share * 2**32
        clips = calibration_clips(track, views.digest, config, self.clips * chosen)
        render = clip_renderer(config.model_dump_json(), True)
        heard = [front_end.query_features(render(clip)) for clip in clips]
        nothing = np.empty((0, *front_end.feature_shape), np.float32)
        about = {"seconds": views.seconds, "opened": opened.to_json()}
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                crops=crops,
                rows=np.concatenate([part.rows for part in parts]),
                negatives=negatives,
                clips=quantized_inputs(np.stack(heard) if heard else nothing, bits),
                clip_seconds=np.array([clip.seconds for clip in clips], np.float32),
                about=np.array(json.dumps(about)),
            )
        if config.fold is None:  # folds share them; else they would take gigabytes
            remove_views(track, config, self.cache)


@dataclass(frozen=True)
class Drawn:
    """Crops of one rendering.

    Attributes:
        features: float32 [crops, channels, bands, columns].
        rows: the row of the song that each belongs to, int [crops].
        negatives: features of synthetic negatives, float32 [negatives, channels, bands, columns].
    """

    features: Features
    rows: Array
    negatives: Features


class CropDrawer:
    """Draws crops of renderings.

    Args:
        config: of the run.
        cache: where its noise lies.
        front_end: makes the features.
    """

    def __init__(self, config: Config, cache: Path, front_end: FrontEnd):
        self._config, self._front_end = config, front_end
        self._features = CropFeatures(
            noise_of(config, cache), front_end, config.training, config.augment.snr_db
        )
        self._material = material_of(config.spectrum)
        steps = front_end.steps
        self._hop, self._window = (n / config.signal.sample_rate_hz for n in steps)

    def __call__(self, views: Views, view: View, rng: np.random.Generator) -> Drawn:
        """Crops all over a rendering, in even steps with a random part.

        Args:
            views: of the track.
            view: one of them.
            rng: all randomness.
        """
        training, row_seconds = self._config.training, self._config.enrolment.row_seconds
        content, count = view.content(), training.crops
        lengths = self._features.lengths(count, rng)
        places = (np.arange(count) + rng.random(count)) / count
        crops, rows = [], []
        for length, place in zip(lengths.tolist(), places.tolist(), strict=True):
            start, frames = view.place(place, length)
            crops.append(content[:, start : start + frames])
            middle = (start + frames / 2) * self._hop + self._window / 2
            rows.append(row_at(view.track_seconds(middle), views.seconds, row_seconds))
        features = self._features(crops, lengths, training.noise_share, [view.group], rng)
        spoiled = [
            self._material.synthetic_negative(
                crops[place], lambda: crops[int(rng.integers(count))], rng
            )
            for place in rng.integers(count, size=negatives_of(training)).tolist()
        ]
        full = np.full(len(spoiled), self._front_end.crop_frames)
        negatives = self._features(spoiled, full, training.noise_share, [view.group], rng)
        return Drawn(features, np.array(rows, np.int32), negatives)


def negatives_of(training: TrainingSettings) -> int:
    """Synthetic negatives of each rendering."""
    return round(training.crops * training.synthetic_negative_share)


def calibration_clips(track: Track, digest: str, config: Config, count: int) -> list[TestClip]:
    """Clips of a track to calibrate the open-set decision with, `count` of each length.

    From one track to the next the signal-to-noise ratios go on where they stopped.
    """
    ratios = config.augment.test_snr_db
    first = int(digest[:8], 16)
    lengths = [seconds for seconds in config.clip_lengths for _ in range(count)]
    return [
        TestClip(
            track,
            0,
            float(ratios[(first + place) % len(ratios)]),
            CALIBRATION_SEED + (first << 16) + place,
            seconds=seconds,
        )
        for place, seconds in enumerate(lengths)
    ]
