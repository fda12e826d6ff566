"""Intervals of 95 %: bootstrapped over tracks, since clips of one track fail together."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from scipy.stats import binomtest, bootstrap

from ..configs.schema import Settings
from .arrays import Bools, Floats, Ints

LEVEL = 0.95
RESAMPLES = 2000
CURVE_RESAMPLES = 200
"""For areas under curves, which take longer."""


class Interval(Settings):
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """In percent, for people: ``96.5 % (95.8-97.1)``."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f}-{100 * self.high:.1f})"


def share_over_tracks(hits: Bools, tracks: Ints) -> Interval | None:
    """The share of hits among clips, with an interval bootstrapped over tracks.

    Args:
        hits: bool [clips].
        tracks: the track of each clip, int [clips].

    Returns:
        None without clips.
    """
    if not len(hits):
        return None
    _, place = np.unique(tracks, return_inverse=True)
    right = np.bincount(place, weights=hits).astype(float)
    count = np.bincount(place).astype(float)
    value = float(right.sum() / count.sum())
    if len(count) < 2 or value in (0.0, 1.0):
        # a resample can show nothing but the same value: take the tracks as independent trials
        return wilson(round(value * len(count)), len(count))
    result = bootstrap(
        (right, count),
        cast(Any, _share),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        batch=200,
        random_state=np.random.default_rng(0),
    )
    low, high = result.confidence_interval
    return Interval(value=value, low=float(low), high=float(high))


def _share(right: Floats, count: Floats, axis: int) -> Any:
    return right.sum(axis) / count.sum(axis)


def wilson(successes: int, trials: int) -> Interval:
    """A share of independent trials with Wilson's interval (1927)."""
    low, high = binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return Interval(value=successes / trials, low=float(low), high=float(high))


def curve_over_tracks(measure: Callable[[Ints], float], known: Ints, unknown: Ints) -> Interval:
    """A measure of known against unknown clips, with an interval bootstrapped over both tracks.

    Args:
        measure: of the clips whose places it is given, with repetitions.
        known: for each clip its track, -1 for clips of unknown songs, int [clips].
        unknown: likewise for unknown songs.
    """
    sides = []
    for side in (known, unknown):
        order = np.argsort(side, kind="stable")
        order = order[side[order] >= 0]
        starts = np.unique(side[order], return_index=True)[1]
        sides.append(np.split(order, starts[1:]))
    value = float(measure(np.flatnonzero((known >= 0) | (unknown >= 0))))
    if value in (0.0, 1.0):
        # a resample can show nothing else: as uncertain as a share over the fewer tracks
        fewer = min(map(len, sides))
        return wilson(round(value * fewer), fewer)
    rng = np.random.default_rng(0)
    values = []
    for _ in range(CURVE_RESAMPLES):
        drawn = [clips[i] for clips in sides for i in rng.integers(len(clips), size=len(clips))]
        values.append(measure(np.concatenate(drawn)))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(value=value, low=float(low), high=float(high))
