"""Composes songs, so that the demo and the tests need no music.

Each song has its own key, scale, tempo, chord progression, melody, instruments and drum pattern,
all drawn from its number. The synthesis is plain: additive and FM voices with envelopes, filtered
noise for drums. The songs are written as FLAC files and then go the way of any catalogue.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ...configs.schema import ComposedCatalogue
from ...support.arrays import Array
from ...support.files import replacing
from ...support.parallel import parallel_map
from .track import Track

SAMPLE_RATE = 16000
COMPOSER_VERSION = 1
"""Part of the file names: raise it when the songs change."""
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "pentatonic": (0, 2, 4, 7, 9),
}
PROGRESSIONS = (
    (0, 4, 5, 3),
    (0, 3, 4, 4),
    (0, 5, 3, 4),
    (5, 3, 0, 4),
    (0, 0, 3, 4),
    (1, 4, 0, 0),
    (0, 2, 3, 4),
    (0, 6, 5, 4),
    (0, 4, 1, 3),
    (3, 4, 2, 5),
)
INSTRUMENTS = ("organ", "pluck", "bell", "brass", "flute", "strings")
ADJECTIVES = (
    "Amber",
    "Broken",
    "Copper",
    "Distant",
    "Electric",
    "Fallen",
    "Golden",
    "Hollow",
    "Idle",
    "Jagged",
    "Kindly",
    "Lunar",
    "Misty",
    "Northern",
    "Open",
    "Paper",
    "Quiet",
    "Restless",
    "Silver",
    "Tidal",
    "Upper",
    "Velvet",
    "Winter",
    "Yellow",
)
NOUNS = (
    "Anchor",
    "Bridge",
    "Cathedral",
    "Dance",
    "Engine",
    "Fields",
    "Garden",
    "Harbour",
    "Island",
    "Journey",
    "Kites",
    "Lantern",
    "Mirror",
    "Night",
    "Orchard",
    "Parade",
    "Quarry",
    "River",
    "Station",
    "Tower",
)
BANDS = (
    "The Lattice",
    "Gaussian Sons",
    "Ring Theory",
    "Modulus",
    "Ana Bootstrap",
    "The Noise Floor",
    "Cipher Club",
    "Prime Suspects",
    "Key Switch",
    "Torus Trio",
    "Mask & Body",
    "Homomorphs",
)


@dataclass(frozen=True)
class _Compose:
    settings: ComposedCatalogue

    def __call__(self, item: tuple[int, Path]) -> None:
        number, path = item
        if path.exists():
            return
        wave = compose(self.settings.seed, number, self.settings.seconds)
        with replacing(path) as partial:
            soundfile.write(partial, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")


def compose_catalogue(settings: ComposedCatalogue, folder: Path) -> list[Track]:
    """Compose the songs that are not on file yet.

    Args:
        settings: how many songs, of what length.
        folder: where the songs are written.

    Returns:
        The tracks, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"v{COMPOSER_VERSION}-{settings.seed}-{settings.seconds:g}s"
    tracks = [
        Track(f"{n:04d}", *_names(settings.seed, n), folder / f"{stem}-{n:04d}.flac")
        for n in range(settings.tracks)
    ]
    parallel_map(
        _Compose(settings),
        [(n, track.path) for n, track in enumerate(tracks)],
        title="Composing songs",
    )
    return tracks


def compose(seed: int, number: int, seconds: float) -> Array:
    """One song.

    Args:
        seed: of the whole catalogue.
        number: of the song.
        seconds: its length.

    Returns:
        Mono samples at ``SAMPLE_RATE``, float32 [n], peak 0.9.
    """
    rng = np.random.default_rng([seed, number])
    samples = round(seconds * SAMPLE_RATE)
    beat = 60 / rng.uniform(68, 172)
    root = 45 + int(rng.integers(12))
    scale = SCALES[str(rng.choice(list(SCALES)))]
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    lead, chords, bass = (str(rng.choice(INSTRUMENTS)) for _ in range(3))
    mix = rng.uniform(0.5, 1.0, 4)
    song = np.zeros(samples + SAMPLE_RATE)
    phrases = [_phrase(rng, scale) for _ in range(2)]
    drums = _drum_pattern(rng)
    strum = rng.choice([0.5, 1.0, 2.0, 4.0])
    bars = int(np.ceil(seconds / (4 * beat)))
    for bar in range(bars):
        start = bar * 4 * beat
        degree = progression[bar % len(progression)]
        for step in np.arange(0, 4, strum):
            for third in (0, 2, 4):
                note = root + 12 + _pitch(scale, degree + third)
                _add(song, start + step * beat, _tone(chords, note, strum * beat), 0.16 * mix[0])
        for step in (0, 2) if rng.random() < 0.5 else (0, 1.5, 3):
            note = root - 12 + _pitch(scale, degree)
            _add(song, start + step * beat, _tone(bass, note, 1.5 * beat), 0.35 * mix[1])
        for onset, length, step in phrases[(bar // 2) % 2]:
            note = root + 24 + _pitch(scale, degree + step)
            _add(song, start + onset * beat, _tone(lead, note, length * beat), 0.3 * mix[2])
        for kind, onsets in drums.items():
            for onset in onsets:
                _add(song, start + onset * beat, _drum(kind, rng), 0.5 * mix[3])
    song = song[:samples]
    return np.asarray((0.9 * song / np.abs(song).max()).astype(np.float32))


def _names(seed: int, number: int) -> tuple[str, str]:
    """Title and artist; every song has an artist of its own name or shares one with few."""
    rng = np.random.default_rng([seed, number, 1])
    noun = NOUNS[(7 * number + number // len(ADJECTIVES)) % len(NOUNS)]
    title = f"{ADJECTIVES[number % len(ADJECTIVES)]} {noun}"
    again = number // (len(ADJECTIVES) * len(NOUNS))
    if again:
        title += f" {again + 1}"
    artist = f"{BANDS[rng.integers(len(BANDS))]} {1 + number // len(BANDS)}"
    return title, artist


def _phrase(rng: np.random.Generator, scale: tuple[int, ...]) -> list[tuple[float, float, int]]:
    """A bar of melody: (onset in beats, length in beats, scale step)."""
    notes, onset, step = [], 0.0, int(rng.integers(len(scale)))
    while onset < 4:
        length = float(rng.choice([0.25, 0.5, 0.5, 1.0, 1.5]))
        if rng.random() < 0.85:
            notes.append((onset, length, step))
        step = int(np.clip(step + rng.integers(-3, 4), -3, 9))
        onset += length
    return notes


def _drum_pattern(rng: np.random.Generator) -> dict[str, list[float]]:
    if rng.random() < 0.15:
        return {}
    grid = np.arange(0, 4, 0.5)
    return {
        "kick": [0.0, *grid[rng.random(len(grid)) < 0.3]],
        "snare": [1.0, 3.0] if rng.random() < 0.6 else list(grid[rng.random(len(grid)) < 0.25]),
        "hat": list(np.arange(0, 4, float(rng.choice([0.25, 0.5, 1.0])))),
    }


def _pitch(scale: tuple[int, ...], step: int) -> int:
    octave, place = divmod(step, len(scale))
    return 12 * octave + scale[place]


def _tone(instrument: str, note: int, seconds: float) -> Array:
    """One note: MIDI number and length to samples."""
    time = np.arange(round(max(seconds, 0.05) * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 440 * 2 ** ((note - 69) / 12)
    phase = 2 * np.pi * pitch * time
    fade = np.minimum(1, np.minimum(time, time[-1] - time) / 0.01)
    if instrument == "organ":
        return np.asarray(
            fade * sum(np.sin(k * phase) / k for k in (1, 2, 3, 4, 6, 8) if k * pitch < 7000)
        )
    if instrument == "pluck":
        decay = np.exp(-5 * time)
        return np.asarray(
            fade
            * decay
            * sum(
                np.exp(-k * time) * np.sin(k * phase) / k for k in range(1, 9) if k * pitch < 7000
            )
        )
    if instrument == "bell":
        strike = 2.5 * np.exp(-4 * time) * np.sin(3.5 * phase)
        return np.asarray(fade * np.exp(-3 * time) * np.sin(phase + strike))
    if instrument == "brass":
        return np.asarray(
            fade * np.minimum(1, time / 0.06) * np.tanh(3 * np.sin(phase + 0.8 * np.sin(phase)))
        )
    if instrument == "flute":
        vibrato = 0.3 * np.sin(2 * np.pi * 5.5 * time)
        return np.asarray(fade * np.sin(phase + vibrato) * np.minimum(1, time / 0.08))
    partials = [k for k in range(1, 7) if k * pitch < 7000]
    saw = sum(np.sin(k * phase * detune) / k for k in partials for detune in (0.997, 1.003))
    return np.asarray(fade * np.minimum(1, time / 0.15) * 0.6 * saw)


def _drum(kind: str, rng: np.random.Generator) -> Array:
    length, decay = {"kick": (0.25, 14), "snare": (0.2, 20), "hat": (0.06, 60)}[kind]
    time = np.arange(round(length * SAMPLE_RATE)) / SAMPLE_RATE
    if kind == "kick":
        cycles = 50 * time + 8 * (1 - np.exp(-30 * time))
        return np.asarray(np.exp(-decay * time) * np.sin(2 * np.pi * cycles))
    noise = rng.standard_normal(len(time)) * np.exp(-decay * time)
    return np.asarray(0.5 * noise if kind == "snare" else 0.25 * np.diff(noise, prepend=0))


def _add(song: Array, seconds: float, sound: Array, level: float) -> None:
    start = round(seconds * SAMPLE_RATE)
    part = sound[: max(0, len(song) - start)]
    song[start : start + len(part)] += level * part
