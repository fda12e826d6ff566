"""Finished folds, read back and put together for the report."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ...support.errors import RunError
from ..intervals import open_set_curve

STRICT_RATE = 0.01
"""A rate of false alarms whose threshold is fixed beside that of the config, which is shipped."""


@dataclass(frozen=True)
class Fold:
    """One finished fold, as its file holds it.

    Attributes:
        number: its place in the protocol.
        arrays: of its clips and judgements.
        facts: seconds, bytes and the like.
    """

    number: int
    arrays: dict[str, np.ndarray]
    facts: dict

    @staticmethod
    def load(path: Path, number: int) -> "Fold":
        """Read a fold's file.

        Raises:
            RunError: missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            facts = json.loads(str(arrays.pop("facts")))
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise RunError(
                f"{path}: not a fold that can be read ({error}). Delete it and evaluate again."
            ) from error
        return Fold(number, arrays, facts)


@dataclass(frozen=True)
class Clips:
    """What one system said of clips, over some or all folds.

    Attributes:
        fold: of each clip, int [clips].
        place: of each clip in its fold's list, int [clips].
        label: the right class, int [clips].
        track: number of the track, unknown ones after the known, int [clips].
        snr_db, seconds: float [clips]; seconds are nan at the protocol's own length.
        distortion: str [clips].
        main: whether it is of the main test, bool [clips].
        top: best classes first, int [clips, 3].
        score: from unknown to known, float [clips].
        thresholds: of each clip's fold, by rate of false alarms, float [clips] each.
        songs: known tracks.
        shipped_rate: of false alarms, whose threshold travels in an artifact.
    """

    fold: np.ndarray
    place: np.ndarray
    label: np.ndarray
    track: np.ndarray
    snr_db: np.ndarray
    seconds: np.ndarray
    distortion: np.ndarray
    main: np.ndarray
    top: np.ndarray
    score: np.ndarray
    thresholds: dict[float, np.ndarray]
    songs: int
    shipped_rate: float

    @cached_property
    def known(self) -> np.ndarray:
        """Whether the clip is of a known song."""
        return self.label < self.songs

    @cached_property
    def first(self) -> np.ndarray:
        """Whether the best song is the right one."""
        return self.top[:, 0] == self.label

    @cached_property
    def third(self) -> np.ndarray:
        """Whether the right song is among the best three."""
        return (self.top == self.label[:, None]).any(1)

    def accepted(self, rate: float) -> np.ndarray:
        """Whether the score passes the threshold fixed for a rate of false alarms."""
        return self.score > self.thresholds[rate]

    @cached_property
    def answers(self) -> np.ndarray:
        """The song, or the class of unknown songs, at the shipped threshold: int [clips]."""
        return np.where(self.accepted(self.shipped_rate), self.top[:, 0], self.songs)

    def like(self, others: "Clips") -> "Clips":
        """The same clips as `others`, in their order; this system must have judged them all."""
        places = {
            key: row
            for row, key in enumerate(zip(self.fold.tolist(), self.place.tolist(), strict=True))
        }
        keys = zip(others.fold.tolist(), others.place.tolist(), strict=True)
        return self.where(np.array([places[key] for key in keys]))

    def where(self, chosen: np.ndarray) -> "Clips":
        """Some of the clips: bool [clips] or places."""
        changes = {name: getattr(self, name)[chosen] for name in ARRAYS}
        thresholds = {rate: values[chosen] for rate, values in self.thresholds.items()}
        return Clips(
            **changes, thresholds=thresholds, songs=self.songs, shipped_rate=self.shipped_rate
        )


ARRAYS = (
    "fold",
    "place",
    "label",
    "track",
    "snr_db",
    "seconds",
    "distortion",
    "main",
    "top",
    "score",
)


def system_clips(folds: Sequence[Fold], system: str, track_ids: Sequence[str], songs: int):
    """All clips that a system judged: `Clips`, or None where it judged none.

    Args:
        folds: of one protocol.
        system: its name.
        track_ids: known tracks, then unknown ones.
        songs: known tracks.
    """
    numbers = {track: number for number, track in enumerate(track_ids)}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ARRAYS}
    thresholds: dict[float, list[np.ndarray]] = {}
    for fold in folds:
        a = fold.arrays
        if f"{system}:clips" not in a:
            continue
        place = a[f"{system}:clips"]
        parts["fold"].append(np.full(len(place), fold.number))
        parts["place"].append(place)
        parts["track"].append(np.array([numbers[str(t)] for t in a["track"][place]], int))
        for name in ("label", "snr_db", "seconds", "distortion", "main"):
            parts[name].append(a[name][place])
        parts["top"].append(a[f"{system}:top"])
        parts["score"].append(a[f"{system}:score"])
        for rate, threshold in a[f"{system}:thresholds"]:
            thresholds.setdefault(float(rate), []).append(np.full(len(place), threshold))
    if not parts["fold"]:
        return None
    joined = {name: np.concatenate(part) for name, part in parts.items()}
    return Clips(
        **joined,
        thresholds={rate: np.concatenate(part) for rate, part in thresholds.items()},
        songs=songs,
        shipped_rate=folds[0].facts["shipped_rate"],
    )


def per_fold(clips: Clips, measure: Callable[[Clips], float]) -> list[float]:
    """A measure of each fold's clips."""
    return [measure(clips.where(clips.fold == fold)) for fold in np.unique(clips.fold)]


def dir_curve(clips: Clips, rates: np.ndarray) -> np.ndarray:
    """DIR at rates of false alarms on these clips, a mean over folds: float [rates]."""
    values = []
    for fold in np.unique(clips.fold):
        mine = clips.where(clips.fold == fold)
        if mine.known.any() and not mine.known.all():
            alarms, found = open_set_curve(mine.first, mine.score, ~mine.known)
            places = np.searchsorted(alarms, rates + 1e-12, side="right") - 1
            values.append(found[places])
    return np.mean(values, axis=0)


def dir_on_test(clips: Clips, rate: float) -> float:
    """DIR where the threshold gives this rate of false alarms on these very clips (optimistic)."""
    return float(dir_curve(clips, np.array([rate]))[0])
