"""Noise recordings and impulse responses: listed, split into training and test, logged, loaded.

Recordings are split whole (all clips cut from one recording go to one side), impulse responses
by file. Every file opened is noted in `SoundPool.opened`, so that a test can show that training
never touched a test sound.
"""

import csv
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ..configs.errors import AudioError, CatalogueError
from ..configs.schema import AugmentSettings
from ..model.audio import SUFFIXES, read_audio

SYNTHETIC_SOUNDS = 40
"""How many noises and rooms are synthesised where no recordings are given."""

Loader = Callable[[int], np.ndarray]


class SoundPool:
    """Sounds of one kind and one side of the split, loaded when first used."""

    def __init__(self, sounds: dict[str, Loader], sample_rate: int):
        self._sounds = sounds
        self._names = sorted(sounds)
        self._sample_rate = sample_rate
        self._loaded: dict[str, np.ndarray] = {}

    @property
    def names(self) -> list[str]:
        """Names of all sounds of this pool."""
        return self._names

    @property
    def opened(self) -> set[str]:
        """Names of the sounds that were loaded so far."""
        return set(self._loaded)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One sound at random: mono samples, float32 [n]."""
        name = self._names[rng.integers(len(self._names))]
        if name not in self._loaded:
            self._loaded[name] = self._sounds[name](self._sample_rate)
        return self._loaded[name]


class Sounds:
    """The noise and the impulse responses of one side (``"train"`` or ``"test"``)."""

    def __init__(self, settings: AugmentSettings, sample_rate: int, seed: int, side: str):
        noise = _split(_recordings(settings.noise, _noise), settings.test_share, seed, side)
        rooms = _split(
            _recordings(settings.impulse_responses, _room), settings.test_share, seed, side
        )
        self.noise = SoundPool(noise, sample_rate)
        self.rooms = SoundPool(rooms, sample_rate)


def _recordings(source: Path | None, synthesise: Callable[[int, int], np.ndarray]):
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
    if len(groups) < 2:
        raise CatalogueError(
            f"augment: {source}: {len(groups)} recording found; at least two are needed, one to "
            "train with and one to test with."
        )
    return groups


def _rows(manifest: Path) -> list[dict[str, str]]:
    """The rows of a CSV file that has a column ``path``."""
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogueError(f"{manifest}: not a UTF-8 CSV file ({error}).") from error
    if not all(row.get("path") for row in rows):
        raise CatalogueError(f"{manifest}: expected a CSV file with a column 'path'.")
    return rows


def _split(groups: dict[str, dict[str, Loader]], test_share: float, seed: int, side: str):
    names = sorted(groups)
    np.random.default_rng([seed, 2]).shuffle(names)
    tests = min(max(1, round(test_share * len(names))), len(names) - 1)
    chosen = names[:tests] if side == "test" else names[tests:]
    return {name: load for group in chosen for name, load in groups[group].items()}


def _read(path: Path, sample_rate: int) -> np.ndarray:
    samples = read_audio(path, sample_rate)
    if not samples.size or not np.any(samples):
        raise AudioError(f"{path}: a silent noise or impulse response. Remove it.")
    return samples


def _noise(number: int, sample_rate: int) -> np.ndarray:
    """Ten seconds of noise with a random slope (brown to blue) and a slow or fast swell."""
    rng = np.random.default_rng([number, 3])
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
    return (noise / np.abs(noise).max()).astype(np.float32)


def _room(number: int, sample_rate: int) -> np.ndarray:
    """A room as decaying noise after a direct sound, 0.1 s to 0.8 s to -60 dB."""
    rng = np.random.default_rng([number, 4])
    decay = rng.uniform(0.1, 0.8)
    time = np.arange(round(decay * sample_rate)) / sample_rate
    room = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay) * rng.uniform(0.02, 0.2)
    room[0] = 1.0
    return room.astype(np.float32)
