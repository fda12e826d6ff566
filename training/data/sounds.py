"""Noise recordings and impulse responses: listed, split into training and test, logged, loaded.

Recordings are split whole (all clips cut from one recording go to one group), impulse responses
by file. What was drawn is noted, and travels beside everything made of it, so that a run can show
that training never touched a test sound.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...configs.schema import AugmentSettings, Config
from ...model.audio import read_audio
from ...model.decoding import SUFFIXES
from ...support.arrays import Array
from ...support.errors import AudioError, CatalogueError
from ...support.seeds import Stream
from .tables import read_rows

SYNTHETIC_SOUNDS = 40
"""How many noises and rooms are synthesised where no recordings are given."""

Loader = Callable[[int], Array]


class SoundPool:
    """Sounds of one kind and one group, loaded when first used."""

    def __init__(self, sounds: dict[str, Loader], sample_rate: int):
        self._sounds = sounds
        self._names = sorted(sounds)
        self._sample_rate = sample_rate
        self._loaded: dict[str, Array] = {}
        self._drawn: set[str] = set()

    @property
    def names(self) -> list[str]:
        """Names of all sounds of this pool."""
        return self._names

    @property
    def opened(self) -> set[str]:
        """Names of the sounds that were loaded so far."""
        return set(self._loaded)

    def take_drawn(self) -> list[str]:
        """Names of the sounds drawn since the last call, sorted."""
        drawn, self._drawn = sorted(self._drawn), set()
        return drawn

    def draw(self, rng: np.random.Generator) -> Array:
        """One sound at random: mono samples, float32 [n]."""
        name = self._names[rng.integers(len(self._names))]
        if name not in self._loaded:
            self._loaded[name] = self._sounds[name](self._sample_rate)
        self._drawn.add(name)
        return self._loaded[name]


@dataclass(frozen=True)
class Sounds:
    """The noise and the impulse responses of one group."""

    group: int
    noise: SoundPool
    rooms: SoundPool

    @property
    def names(self) -> list[str]:
        """Names of all sounds of the group."""
        return self.noise.names + self.rooms.names

    def take_drawn(self) -> dict[str, list[str]]:
        """What was drawn since the last call, by kind."""
        return {"noise": self.noise.take_drawn(), "impulse_responses": self.rooms.take_drawn()}


@dataclass(frozen=True)
class SoundSplit:
    """Disjoint groups of sounds: one to test with, the others to train with."""

    test: Sounds
    training: tuple[Sounds, ...]

    @property
    def validating(self) -> int | None:
        """The training group kept for validation and calibration, where there are several."""
        if len(self.training) < 3:
            return None
        groups = [sounds.group for sounds in self.training]
        return next((group for group in groups if group > self.test.group), groups[0])

    @property
    def calibrating(self) -> Sounds:
        """What calibration clips are made with: the group kept, or the first where none is."""
        kept = self.training[0].group if self.validating is None else self.validating
        return next(sounds for sounds in self.training if sounds.group == kept)


def split_sounds(config: Config) -> SoundSplit:
    """Split a configuration's sounds.

    Without a fold, ``augment.test_share`` of the recordings are for testing (group 0), the others
    for training (group 1). A fold has as many groups as there are folds, the same for each of them,
    and tests with the one of its number.

    Raises:
        CatalogueError: missing, malformed, or fewer recordings than groups.
    """
    return split_recordings(
        config.augment,
        config.signal.sample_rate_hz,
        config.seed,
        groups=config.sound_groups,
        test=config.fold_number,
        share=None if config.fold else config.augment.test_share,
    )


def split_recordings(
    augment: AugmentSettings,
    rate: int,
    seed: int,
    *,
    groups: int = 2,
    test: int = 0,
    share: float | None,
) -> SoundSplit:
    """Split the recordings of settings into groups.

    Args:
        augment: says where they are.
        rate: to load them at, in Hz.
        seed: of the split.
        groups: how many.
        test: the group to test with.
        share: of the recordings, in the first group; equal ones where None.

    Raises:
        CatalogueError: missing, malformed, or fewer recordings than groups.
    """
    noise = _grouped(augment.noise, _noise, groups, share, seed)
    rooms = _grouped(augment.impulse_responses, _room, groups, share, seed)
    sounds = [
        Sounds(number, SoundPool(noise[number], rate), SoundPool(rooms[number], rate))
        for number in range(groups)
    ]
    testing = sounds.pop(test)
    return SoundSplit(testing, tuple(sounds))


def _recordings(
    source: Path | None, synthesise: Callable[[int, int], Array]
) -> dict[str, dict[str, Loader]]:
    """All sounds by name, grouped by the recording they come from."""
    groups: dict[str, dict[str, Loader]] = defaultdict(dict)
    if source is None:
        for number in range(SYNTHETIC_SOUNDS):
            name = f"synthetic-{number:02d}"
            groups[name][name] = partial(synthesise, number)
        return groups
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                groups[str(path)][str(path)] = partial(_read, path)
    elif source.is_file():
        for row in _rows(source):
            path = source.parent / row["path"]
            recording = f"{row.get('source', '')} {row.get('source_path') or path}"
            groups[recording.split("@")[0]][str(path)] = partial(_read, path)
    else:
        raise CatalogueError(f"augment: {source}: no such file or folder of recordings.")
    return groups


def _rows(manifest: Path) -> list[dict[str, str]]:
    """The rows of a CSV file that has a column ``path``."""
    rows = []
    for line, row in read_rows(manifest, ("path",)):
        if not row["path"]:
            raise CatalogueError(f"{manifest}, line {line}: path=''. It must be given.")
        rows.append(row)
    return rows


def _grouped(
    source: Path | None,
    synthesise: Callable[[int, int], Array],
    groups: int,
    test_share: float | None,
    seed: int,
) -> list[dict[str, Loader]]:
    """The sounds of each group by name; the first group gets `test_share` of the recordings."""
    recordings = _recordings(source, synthesise)
    if len(recordings) < groups:
        raise CatalogueError(
            f"augment: {source}: {len(recordings)} recording(s) found; at least {groups} are "
            f"needed, to train with some and to test with others ({groups} disjoint groups)."
        )
    names = sorted(recordings)
    np.random.default_rng([seed, Stream.SOUND_GROUPS]).shuffle(names)
    if test_share is None:
        parts = [names[number::groups] for number in range(groups)]
    else:
        tests = min(max(1, round(test_share * len(names))), len(names) - 1)
        parts = [names[:tests], names[tests:]]
    return [
        {name: load for recording in part for name, load in recordings[recording].items()}
        for part in parts
    ]


def _read(path: Path, sample_rate: int) -> Array:
    samples = read_audio(path, sample_rate)
    if not samples.size or not np.any(samples):
        raise AudioError(f"{path}: a silent noise or impulse response. Remove it.")
    return samples


def _noise(number: int, sample_rate: int) -> Array:
    """Ten seconds of noise with a random slope (brown to blue) and a slow or fast swell."""
    rng = np.random.default_rng([number, Stream.SYNTHETIC_NOISE])
    samples = 10 * sample_rate
    frequency = np.fft.rfftfreq(samples, 1 / sample_rate)
    shape = np.maximum(frequency, 20.0) ** rng.uniform(-1.2, 0.4)
    spectrum = shape * (rng.standard_normal(len(shape)) + 1j * rng.standard_normal(len(shape)))
    noise = np.fft.irfft(spectrum, samples)
    swell = np.interp(
        np.arange(samples),
        np.linspace(0, samples, points := int(rng.integers(4, 80))),
        rng.uniform(-12, 12, points),
    )
    noise *= 10 ** (swell / 20)
    result: Array = (noise / np.abs(noise).max()).astype(np.float32)
    return result


def _room(number: int, sample_rate: int) -> Array:
    """A room as decaying noise after a direct sound, 0.1 s to 0.8 s to -60 dB."""
    rng = np.random.default_rng([number, Stream.SYNTHETIC_ROOM])
    decay = rng.uniform(0.1, 0.8)
    time = np.arange(round(decay * sample_rate)) / sample_rate
    room = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay) * rng.uniform(0.02, 0.2)
    room[0] = 1.0
    return room.astype(np.float32)
