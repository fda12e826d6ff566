"""Augmented renderings of tracks as log-mel power: made once, in parallel, and cached.

A *view* is one track (or a random piece of a long one) sent through one random chain of
waveform distortions, as natural-log mel power, float16 [bands, frames]. The cache key covers the
file's content and every setting that shapes a view, so a changed setting makes new views and an
interrupted preparation goes on where it stopped.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..configs.errors import AudioError, CatalogueError
from ..configs.schema import AugmentSettings, Config, SignalSettings
from ..model.audio import check_audible, read_audio
from ..model.frontend import FrontEnd
from .augment import Augmenter, fastest_length
from .catalogue import file_digest
from .files import save_array
from .parallel import parallel_map
from .sounds import Sounds
from .track import Track

LOG_FLOOR = 1e-9
MAX_TRACK_SECONDS = 1200.0
"""Of longer tracks, only the beginning is enrolled."""


@dataclass(frozen=True)
class Problem:
    """A track that cannot be used, and why."""

    track: Track
    reason: str


@dataclass(frozen=True)
class ViewRecipe:
    """Everything a worker needs to render the views of a track."""

    signal: SignalSettings
    spectrum: object
    augment: AugmentSettings
    views: int
    view_seconds: float
    seed: int
    cache: Path

    @staticmethod
    def of(config: Config, cache: Path) -> "ViewRecipe":
        """The recipe of a configuration; one more view than asked for is kept to validate on."""
        training = config.training
        return ViewRecipe(
            config.signal,
            config.spectrum,
            config.augment,
            training.views + 1,
            training.view_seconds,
            config.seed,
            cache,
        )

    def path(self, digest: str, sounds: Sounds) -> Path:
        """Where the views of the track with this content digest are cached."""
        signal = self.signal.model_dump(exclude={"crop_seconds"})
        augment = self.augment.model_dump(exclude={"test_snr_db"}, mode="json")
        names = sounds.noise.names + sounds.rooms.names
        key = json.dumps(
            [1, digest, signal, augment, names, self.views, self.view_seconds, self.seed]
        )
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.cache / "views" / name[:2] / f"{name}.npy"


def check_tracks(
    tracks: list[Track], config: Config, *, workers: int = 0
) -> tuple[list[Track], list[Problem]]:
    """Decode every track and sort out those that cannot be used.

    A track must decode, last at least one crop, not be silent, and not repeat another's file.

    Returns:
        Usable tracks, in order; problems of the others.

    Raises:
        CatalogueError: a problem under ``strict: true``, or no usable track.
    """
    signal = config.signal
    checks = parallel_map(
        _Check(signal.sample_rate_hz, signal.crop_seconds),
        tracks,
        title="Checking tracks",
        workers=workers,
    )
    first_with: dict[str, Track] = {}
    usable, problems = [], []
    for track, (digest, reason) in zip(tracks, checks, strict=True):
        twin = first_with.setdefault(digest, track) if digest else track
        if reason is None and twin is not track:
            reason = f"{track.path}: the same file as track {twin.id}."
        if reason is None:
            usable.append(track)
        else:
            problems.append(Problem(track, reason))
    if problems and config.catalogue.strict:
        raise CatalogueError(
            f"catalogue (strict): {len(problems)} of {len(tracks)} tracks cannot be used:\n"
            + "\n".join(problem.reason for problem in problems)
        )
    if not usable:
        raise CatalogueError(
            f"catalogue.path={getattr(config.catalogue, 'path', '')}: none of {len(tracks)} tracks "
            f"can be used; the first: {problems[0].reason}"
        )
    return usable, problems


@dataclass(frozen=True)
class _Check:
    sample_rate: int
    min_seconds: float

    def __call__(self, track: Track) -> tuple[str, str | None]:
        digest = ""
        try:
            digest = file_digest(track.path)
            samples = read_audio(track.path, self.sample_rate, max_seconds=MAX_TRACK_SECONDS)
            check_audible(samples, self.sample_rate, self.min_seconds, name=str(track.path))
        except AudioError as error:
            return digest, str(error)
        return digest, None


def load_views(
    tracks: list[Track], recipe: ViewRecipe, *, title: str, workers: int = 0
) -> list[np.ndarray]:
    """The views of tracks, rendered where the cache lacks them.

    Returns:
        For each track, natural-log mel power, float16 [views, bands, frames].
    """
    paths = parallel_map(_Render(recipe), tracks, title=title, workers=workers)
    return [np.load(path) for path in paths]


_sounds: dict[str, Sounds] = {}


def _training_sounds(recipe: ViewRecipe) -> Sounds:
    """The training side's sounds, loaded once in each worker process."""
    key = repr((recipe.augment, recipe.signal.sample_rate_hz, recipe.seed))
    if key not in _sounds:
        _sounds[key] = Sounds(recipe.augment, recipe.signal.sample_rate_hz, recipe.seed, "train")
    return _sounds[key]


@dataclass(frozen=True)
class _Render:
    recipe: ViewRecipe

    def __call__(self, track: Track) -> Path:
        recipe, rate = self.recipe, self.recipe.signal.sample_rate_hz
        sounds = _training_sounds(recipe)
        digest = file_digest(track.path)
        path = recipe.path(digest, sounds)
        if path.exists():
            return path
        front_end = FrontEnd(recipe.signal, recipe.spectrum)
        augment = Augmenter(recipe.augment, sounds, rate)
        wave = read_audio(track.path, rate, max_seconds=MAX_TRACK_SECONDS)
        # all views of a track get the same length, whatever the change of speed
        longest = min(len(wave), recipe.view_seconds * rate)
        frames = front_end.frames(fastest_length(int(longest), recipe.augment.speed_percent))
        views = []
        for number in range(recipe.views):
            rng = np.random.default_rng([recipe.seed, int(digest[:8], 16), number])
            piece = random_piece(wave, round(recipe.view_seconds * rate), rng)
            power = front_end.power(torch.from_numpy(augment(piece, rng)))[:, :frames]
            views.append(torch.log(power + LOG_FLOOR).half().numpy())
        path.parent.mkdir(parents=True, exist_ok=True)
        save_array(path, np.stack(views))
        return path


def random_piece(wave: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """A random stretch of `samples` samples, or all of a shorter wave."""
    if len(wave) <= samples:
        return wave
    start = rng.integers(len(wave) - samples + 1)
    return wave[start : start + samples]
