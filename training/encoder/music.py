"""The music an encoder learns from: mel power of every track, clean and as a phone may hear it.

Each track gives two files in the cache: its clean mel power, and *renderings*: pieces of it, each
sent through one random chain of waveform distortions (noise is mixed in later, at every step).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...configs.schema.encoder import EncoderConfig
from ...model.audio import check_audible, read_audio
from ...model.features import MelPower as MelTransform
from ...support.arrays import Array
from ...support.cache_keys import AUGMENTATION, cache_key
from ...support.errors import AudioError, CatalogueError
from ...support.files import save_array
from ...support.parallel import parallel_map
from ...support.seeds import Stream
from ..data.augment import Augmenter, fastest_length
from ..data.catalogue import file_digest, list_tracks
from ..data.material import MelPower
from ..data.sounds import Sounds, SoundSplit, split_recordings
from ..data.track import Track

REVISION = 1
"""Of the code that makes clean power, renderings and noise, for their cache keys."""
PIECE_SECONDS = 30.0
"""Length of a rendering."""
CHANGED_SPEED = 0.5
"""Share of renderings whose speed is changed."""
LEAST_SECONDS = 10.0
"""Shorter tracks are not learned from."""
NOISE_PIECES = 256
NOISE_SECONDS = 20.0


@dataclass(frozen=True)
class Recording:
    """One track's files.

    Attributes:
        track: what it is.
        seconds: its length.
        clean: file of its mel power, logarithm, float16 [bands, frames].
        rendered: file of its renderings, float16 [renderings, bands, frames].
        starts: where in the track each rendering begins, in s.
        speeds: and how much faster it is, in percent.
    """

    track: Track
    seconds: float
    clean: Path
    rendered: Path
    starts: tuple[float, ...]
    speeds: tuple[float, ...]


def usable_tracks(config: EncoderConfig, cache: Path) -> tuple[list[Track], list[Track]]:
    """The tracks to learn from, and those held out, without decoding them.

    Of tracks with equal title and artist, the first counts.

    Raises:
        CatalogueError: a catalogue is missing, malformed or empty, or nothing is left.
    """
    learned, held, seen = [], [], set()
    for number, catalogue in enumerate(config.music):
        for track in list_tracks(catalogue, cache):
            name = (track.title.casefold(), track.artist.casefold())
            if name in seen and catalogue.kind != "composed":
                continue
            seen.add(name)
            track = replace(track, id=f"{number}-{track.id}")
            if _matches(track.genre, config.held_out):
                held.append(track)
            elif not _matches(track.license, config.without_licenses):
                learned.append(track)
    if len(learned) < 4:
        raise CatalogueError(
            f"music: {len(learned)} track(s) left to learn from; at least 4 are needed. Check "
            "music, held_out and without_licenses."
        )
    return learned, held


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text.casefold(), pattern.casefold()) for pattern in patterns)


def encoder_sounds(config: EncoderConfig) -> SoundSplit:
    """The noise and rooms to learn with, and those to judge with."""
    return split_recordings(
        config.augment,
        config.signal.sample_rate_hz,
        config.seed,
        share=config.augment.test_share,
    )


def prepare_recordings(
    tracks: list[Track], config: EncoderConfig, cache: Path, announce: Callable[[str], None]
) -> list[Recording]:
    """Analyse and render tracks where the cache lacks them; unusable ones are left out, and told.

    Raises:
        CatalogueError: fewer than four tracks can be used.
    """
    made = parallel_map(
        _Render(config, cache),
        tracks,
        title="Rendering music",
        workers=config.training.workers,
    )
    recordings = [one for one in made if isinstance(one, Recording)]
    problems = [one for one in made if isinstance(one, str)]
    for problem in problems[:5]:
        announce(f"Skipped: {problem}")
    if problems:
        announce(f"{len(problems)} of {len(tracks)} tracks skipped.")
    if len(recordings) < 4:
        raise CatalogueError(
            f"music: only {len(recordings)} of {len(tracks)} tracks can be used; 4 are needed."
        )
    return recordings


@lru_cache(maxsize=1)
def _training_sounds(settings: str) -> Sounds:
    """The training sounds, loaded once in each worker process."""
    return encoder_sounds(EncoderConfig.model_validate_json(settings)).training[0]


@dataclass(frozen=True)
class _Render:
    config: EncoderConfig
    cache: Path

    def __call__(self, track: Track) -> Recording | str:
        """The track's files, or why it cannot be used."""
        try:
            return self._render(track)
        except AudioError as error:
            return str(error)

    def _render(self, track: Track) -> Recording:
        config, rate = self.config, self.config.signal.sample_rate_hz
        digest = file_digest(track.path)
        sounds = _training_sounds(config.model_dump_json())
        key = cache_key(
            "encoder-music",
            REVISION,
            AUGMENTATION,
            digest,
            config.signal.model_dump(mode="json", exclude={"crop_seconds"}),
            config.augment.model_dump(exclude={"test_snr_db", "test_share"}, mode="json"),
            sounds.names,
            config.training.renderings,
            config.seed,
        )
        folder = self.cache / "encoder" / key[:2]
        clean, rendered = folder / f"{key}-clean.npy", folder / f"{key}-rendered.npy"
        about = folder / f"{key}-about.npy"
        if not about.exists():
            folder.mkdir(parents=True, exist_ok=True)
            wave = read_audio(track.path, rate)
            check_audible(wave, rate, LEAST_SECONDS, name=str(track.path))
            analyse, material = MelTransform(config.signal), MelPower()
            save_array(clean, material.store(analyse(wave)))
            parts, told = [], []
            for start, speed, piece in self._pieces(wave, digest, sounds):
                parts.append(material.store(analyse(piece)))
                told.append((start, speed))
            frames = min(part.shape[1] for part in parts)
            save_array(rendered, np.stack([part[:, :frames] for part in parts]))
            save_array(about, np.array([(len(wave) / rate, 0.0), *told]))
        (seconds, _), *told = np.load(about).tolist()
        starts, speeds = zip(*told, strict=True)
        return Recording(track, seconds, clean, rendered, starts, speeds)

    def _pieces(
        self, wave: Array, digest: str, sounds: Sounds
    ) -> Iterator[tuple[float, float, Array]]:
        """Start (s), change of speed (%) and samples of every rendering."""
        config, rate = self.config, self.config.signal.sample_rate_hz
        augment = Augmenter(config.augment, sounds, rate)
        length = min(len(wave), round(PIECE_SECONDS * rate))
        count = max(1, len(wave) // length)
        shortest = fastest_length(length, config.augment.speed_percent)
        for number in range(config.training.renderings):
            rng = np.random.default_rng(
                [config.seed, Stream.RENDERINGS, int(digest[:8], 16), number]
            )
            offset = int(rng.integers(length)) if len(wave) >= 2 * length else 0
            for place in range(count):
                start = min(offset + place * length, len(wave) - length)
                changed = rng.random() < CHANGED_SPEED
                speed = augment.draw_speed(rng) if changed else 0.0
                piece = augment(wave[start : start + length], rng, speed_percent=speed)
                yield start / rate, speed, piece[:shortest]


def noise_pieces(config: EncoderConfig, cache: Path) -> Array:
    """Stretches of the training noise as mel power: float32 [pieces, bands, frames]."""
    sounds = encoder_sounds(config).training[0]
    signal = config.signal.model_dump(mode="json", exclude={"crop_seconds"})
    key = cache_key(
        "encoder-noise", REVISION, AUGMENTATION, signal, sounds.noise.names, config.seed
    )
    path = cache / "encoder" / f"{key}-noise.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = config.signal.sample_rate_hz
        augment, analyse = Augmenter(config.augment, sounds, rate), MelTransform(config.signal)
        rng = np.random.default_rng([config.seed, Stream.NOISE_PIECES])
        samples = round(NOISE_SECONDS * rate)
        pieces = [analyse(augment.noise(samples, rng).numpy()) for _ in range(NOISE_PIECES)]
        save_array(path, np.stack(pieces))
    result: Array = np.load(path)
    return result
