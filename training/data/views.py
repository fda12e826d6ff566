"""Augmented renderings of tracks, analysed: made once, in parallel, and cached.

A *view* is a track, or a stretch of a long one, sent through one random chain of waveform
distortions, as log-mel power or samples (`hushtune.training.data.material`), float16
[rows, frames]. Stretches cover all of a track and overlap by a crop. The cache key covers the
file's content and every setting that shapes a view, so a changed setting makes new views and an
interrupted preparation goes on where it stopped. The views of one group of sounds lie in a file,
beside a JSON file that says which pieces they are and every file that was opened for them: so the
folds of a cross-validation share them, and each can show what it was made of.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...configs.schema import Config, RawSamples
from ...model.audio import read_audio
from ...model.features import FrontEnd, make_front_end
from ...support.arrays import Array
from ...support.cache_keys import AUGMENTATION, cache_key
from ...support.errors import CatalogueError
from ...support.files import save_array, write_atomically
from ...support.parallel import parallel_map
from .augment import Augmenter, fastest_length
from .catalogue import file_digest
from .checking import MAX_TRACK_SECONDS
from .material import material_of
from .segments import training_spans
from .sounds import Sounds, split_sounds
from .track import Track

REVISION = 4
"""Of the code that makes views, for their cache key."""
MIN_SPAN_SECONDS = 0.75
"""Shorter stretches of a view are not trained on."""


@dataclass(frozen=True)
class View:
    """One rendering.

    Attributes:
        path: file of views, float16 [views, rows, frames].
        row: which of them.
        group: of the sounds it was rendered with.
        spans: the frames that may be trained on, (first, end) each.
        start_seconds: where in the track it begins.
        speed_percent: how much faster it is.
    """

    path: Path
    row: int
    group: int
    spans: tuple[tuple[int, int], ...]
    start_seconds: float = 0.0
    speed_percent: float = 0.0

    def crop(self, frames: int, rng: np.random.Generator) -> Array:
        """A random stretch of `frames` frames, or all of a shorter span: [rows, <= frames]."""
        lengths = np.array([end - start for start, end in self.spans])
        first, end = self.spans[rng.choice(len(lengths), p=lengths / lengths.sum())]
        start = first + rng.integers(max(1, end - first - frames + 1))
        # opened anew each time: thousands of open maps would run out of file descriptors
        views = np.load(self.path, mmap_mode="r")
        return np.array(views[self.row, :, start : min(start + frames, end)])

    def content(self) -> Array:
        """All of it: float16 [rows, frames]."""
        return np.array(np.load(self.path, mmap_mode="r")[self.row])

    def place(self, share: float, frames: int) -> tuple[int, int]:
        """A stretch of its spans: the first frame, and how many, at most `frames`.

        Args:
            share: where among all the places that it could have, 0 to 1.
            frames: wanted.
        """
        room = [max(1, end - first - frames + 1) for first, end in self.spans]
        place = min(int(share * sum(room)), sum(room) - 1)
        for (first, end), places in zip(self.spans, room, strict=True):
            if place < places:
                return first + place, min(frames, end - first)
            place -= places
        raise AssertionError("a place lies in one of the spans")

    def track_seconds(self, seconds: float) -> float:
        """Where in the track that is which lies `seconds` s after its beginning."""
        return self.start_seconds + seconds * (1 + self.speed_percent / 100)


@dataclass(frozen=True)
class Views:
    """The views of one track: those to train on, and those kept for validation.

    `digest` is of the track's file, `seconds` its length.
    """

    digest: str
    seconds: float
    training: tuple[View, ...]
    validating: tuple[View, ...]


def view_path(config: Config, cache: Path, digest: str, sounds: Sounds, count: int) -> Path:
    """Where the views of the track with this content digest are cached."""
    name = cache_key(
        "views",
        REVISION,
        AUGMENTATION,
        digest,
        analysis(config, exclude={"crop_seconds"}),
        config.augment.model_dump(exclude={"test_snr_db", "test_share"}, mode="json"),
        sounds.names,
        count,
        config.training.view_seconds,
        config.seed,
    )
    return cache / "views" / name[:2] / f"{name}.npy"


def analysis(config: Config, exclude: set[str] | None = None) -> object:
    """The settings that shape what `FrontEnd.analyse` makes, for cache keys, JSON-ready."""
    signal = config.signal.model_dump(mode="json", exclude=exclude)
    spectrum = config.spectrum
    return [signal, spectrum.model_dump()] if isinstance(spectrum, RawSamples) else signal


def load_views(
    tracks: list[Track], config: Config, cache: Path, *, title: str
) -> tuple[list[Views], "Opened"]:
    """The views of tracks, rendered where the cache lacks them.

    Returns:
        The views of each track; every file opened to make them.
    """
    missing = [
        track for track in tracks if not all(p.exists() for p in _files(track, config, cache))
    ]
    if missing:
        work = _Render(config, cache)
        parallel_map(work, missing, title=title, workers=config.training.workers)
    opened, result = Opened(), []
    for track in tracks:
        views, mine = track_views(track, config, cache)
        opened.add(mine.to_json())
        result.append(views)
    return result, opened


def track_views(track: Track, config: Config, cache: Path) -> tuple[Views, "Opened"]:
    """The views of a track, rendered where the cache lacks them, and every file opened for them.

    Raises:
        CatalogueError: the config's fold leaves nothing of it to train on.
    """
    files = _files(track, config, cache)
    if not all(path.exists() for path in files):
        _Render(config, cache)(track)
    validating, linear = split_sounds(config).validating, not config.network.layers
    analysed, opened = make_front_end(config.signal, config.spectrum), Opened()
    views: list[tuple[View, bool]] = []
    for path in files:
        about = json.loads(path.with_suffix(".json").read_text("utf-8"))
        opened.add(about["opened"])
        group, pieces = about["group"], about["pieces"]
        for row, piece in enumerate(pieces):
            spans = _spans(config, analysed, about["seconds"], piece)
            last = not linear and piece["number"] == pieces[-1]["number"]
            kept = last if validating is None else group == validating
            if spans:
                view = View(path, row, group, spans, piece["start_seconds"], piece["speed_percent"])
                views.append((view, kept))
    training = tuple(view for view, kept in views if not kept)
    kept_views = tuple(view for view, kept in views if kept)
    if not training or not (kept_views or linear):
        raise CatalogueError(
            f"{track.path}: no rendering has anything left to train on in this fold. Raise "
            "training.view_seconds or take more folds."
        )
    return Views(about["digest"], about["seconds"], training, kept_views), opened


def remove_views(track: Track, config: Config, cache: Path) -> None:
    """Delete a track's renderings from the cache."""
    for path in _files(track, config, cache):
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)


def _files(track: Track, config: Config, cache: Path) -> list[Path]:
    """The file of each training group's views of a track."""
    count, digest = views_in_a_group(config), file_digest(track.path)
    groups = split_sounds(config).training
    return [view_path(config, cache, digest, sounds, count) for sounds in groups]


class Opened:
    """Files opened to make what a run trains on, by kind."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def add(self, names: Mapping[str, Iterable[str]]) -> None:
        """Note some more."""
        for kind, some in names.items():
            self._names.setdefault(kind, set()).update(some)

    def to_json(self) -> dict[str, list[str]]:
        """All names by kind, sorted."""
        return {kind: sorted(names) for kind, names in sorted(self._names.items())}


def _spans(
    config: Config, analysed: FrontEnd, seconds: float, piece: dict[str, Any]
) -> tuple[tuple[int, int], ...]:
    """The frames of a view that may be trained on.

    Args:
        config: its fold says what is held out.
        analysed: knows how long a frame is.
        seconds: length of the track.
        piece: where in the track the view begins (s), its change of speed (%), its frames.
    """
    if config.fold is None or not config.fold.holds_out_segments:
        return ((0, piece["frames"]),)
    rate = 1 + piece["speed_percent"] / 100
    hop, window = (samples / config.signal.sample_rate_hz for samples in analysed.steps)
    spans = []
    for start, end in training_spans(config, seconds):
        first = math.ceil(max(0.0, (start - piece["start_seconds"]) / rate) / hop)
        last = math.floor(((end - piece["start_seconds"]) / rate - window) / hop) + 1
        last = min(last, piece["frames"])
        if last - first >= MIN_SPAN_SECONDS / hop:
            spans.append((first, last))
    return tuple(spans)


@lru_cache(maxsize=1)
def _training_sounds(settings: str) -> tuple[Sounds, ...]:
    """The training groups' sounds, loaded once in each worker process."""
    return split_sounds(Config.model_validate_json(settings)).training


def views_in_a_group(config: Config) -> int:
    """How many times each training group renders a track, what validates included.

    A network without hidden layers, which is fitted in closed form, needs nothing to validate with.
    """
    groups = config.fold.of - 1 if config.fold else 1
    return math.ceil((config.training.views + bool(config.network.layers)) / groups)


@dataclass(frozen=True)
class _Render:
    config: Config
    cache: Path

    def __call__(self, track: Track) -> None:
        """Render a track's views with each group of training sounds, where they are missing."""
        config, rate = self.config, self.config.signal.sample_rate_hz
        digest, wave = file_digest(track.path), read_track(track.path, rate)
        groups = _training_sounds(config.model_dump_json())
        for sounds, path in zip(groups, _files(track, config, self.cache), strict=True):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._render(track, wave, digest, sounds, views_in_a_group(config), path)

    def _render(
        self, track: Track, wave: Array, digest: str, sounds: Sounds, count: int, path: Path
    ) -> None:
        config, rate = self.config, self.config.signal.sample_rate_hz
        analysed, material = (
            make_front_end(config.signal, config.spectrum),
            material_of(config.spectrum),
        )
        augment = Augmenter(config.augment, sounds, rate)
        wanted = round(config.training.view_seconds * rate)
        overlap = round(config.signal.crop_seconds * rate)
        # all views of a track get the same length, whatever the change of speed
        shortest = fastest_length(min(len(wave), wanted), config.augment.speed_percent)
        frames = analysed.frames(shortest)
        sounds.take_drawn()
        views, pieces = [], []
        for number in range(count):
            for place, start in enumerate(stretches(len(wave), wanted, overlap)):
                rng = np.random.default_rng(
                    [config.seed, int(digest[:8], 16), sounds.group, number, place]
                )
                speed = augment.draw_speed(rng)
                piece = augment(wave[start : start + wanted], rng, speed_percent=speed)
                content = analysed.analyse(piece)[:, :frames]
                views.append(material.store(content))
                pieces.append(
                    {
                        "number": number,
                        "start_seconds": start / rate,
                        "speed_percent": speed,
                        "frames": frames,
                    }
                )
        about = {
            "digest": digest,
            "group": sounds.group,
            "seconds": len(wave) / rate,
            "pieces": pieces,
            "opened": {"tracks": [str(track.path)], **sounds.take_drawn()},
        }
        write_atomically(path.with_suffix(".json"), json.dumps(about).encode())
        save_array(path, np.stack(views))


def stretches(available: int, wanted: int, overlap: int) -> list[int]:
    """Where stretches of `wanted` samples begin that cover `available` ones, evenly spaced.

    Neighbours overlap by at least `overlap` samples, or by half of `wanted` where that is less.
    """
    if available <= wanted:
        return [0]
    step = wanted - min(overlap, wanted // 2)
    count = math.ceil((available - wanted) / step) + 1
    return [int(start) for start in np.linspace(0, available - wanted, count).round()]


@lru_cache(maxsize=1)
def read_track(path: Path, sample_rate: int) -> Array:
    """The track decoded last, as much of it as is enrolled: what is made of it follows at once."""
    return read_audio(path, sample_rate, max_seconds=MAX_TRACK_SECONDS)


def random_start(available: int, wanted: int, rng: np.random.Generator) -> int:
    """Where a random stretch of `wanted` samples begins; 0 where there are not so many."""
    return int(rng.integers(available - wanted + 1)) if available > wanted else 0
