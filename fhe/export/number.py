"""Circuits that end in the song's number, and the choice of their parameters.

From the encrypted logits of K songs the circuit computes, with so many PBS (programmable
bootstrappings) as stand in brackets:

1. each song's level [K];
2. the L1 norm of the logits [at most 256];
3. the highest level, by a tournament of pairs [K - 1]: max(a, b) = b + max(a - b, 0);
4. the open-set decision [at most 3];
5. by backtracking, who won the tournament, if the clip is accepted [K - 1]: of each pair that the
   winner came from, the left one if its level is the winner's, else the right one, so that a tie
   goes to the song enrolled first;
6. the winner's number in digits, a weighted sum.

The same code runs on integers in the clear and is traced by Concrete.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from concrete import fhe
from sklearn.linear_model import LogisticRegression

from ...model.decision import threshold_of
from ..number import BASE, TOP, Integers, Number

KEPT_BITS = 6
"""Bits of each logit that the first tables see."""
DECISION_BITS = 5
"""Bits of the decision's sum that its table sees."""
LOWEST_SHARES = (0.005, 0.02, 0.05)
HIGHEST_SHARES = (0.5, 0.7, 0.9)
"""Where the lowest and the highest level may begin: shares of calibration clips of known songs
whose best logit is lower."""
CURVATURES = (0.01, 1.0, 2.0)
"""How much farther apart, as a power of e, the highest levels may lie than the lowest."""
HEADROOM = 1.25
"""How much wider than on calibration clips the decision's sum may get."""

Values = Any
"""An array of integers, or what Concrete traces."""
Logits = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class NumberCircuit:
    """Computes the digits of a song's number from integer logits.

    Attributes:
        number: what is to be computed.
    """

    number: Number

    def __call__(self, logits: Values) -> Values:
        """The digits of each clip's number, lowest first.

        Args:
            logits: integers [clips, songs + 1], an array or what Concrete traces (one clip).

        Returns:
            Integers [clips, digits].
        """
        number = self.number
        centred = logits[:, : number.songs] - number.centre
        rounds = [self._table(number.level_of, centred)]
        while rounds[-1].shape[1] > 1:
            rounds.append(_winners(rounds[-1]))
        alive = self._accepted(rounds[-1], centred, logits[:, number.songs :] - number.centre)
        for entrants, winners in zip(rounds[-2::-1], rounds[:0:-1], strict=True):
            alive = _backtrack(entrants, winners, alive)
        numbers = np.arange(1, number.songs + 1)
        codes = numbers[:, None] // BASE ** np.arange(number.digits) % BASE
        return alive @ codes

    def _table(self, table: Callable[[Integers], Integers], centred: Values) -> Values:
        """A table lookup of each value's higher bits."""
        return fhe.univariate(table)(_rounded(centred, self.number.cut))

    def _accepted(self, best: Values, centred: Values, unknown: Values) -> Values:
        """The open-set decision: 1 for accept, [clips, 1]."""
        number = self.number
        total = fhe.univariate(lambda levels: np.array(number.weights)[levels])(best)
        if number.l1_norm:
            some = centred[:, number.in_norm]
            total = total - np.sum(self._table(number.magnitude_of, some), axis=1, keepdims=True)
        if number.unknown:
            total = total - self._table(number.against_of, unknown)
        step = 2**number.decision_cut
        # rounded up to at least a step if, and only if, it is not negative
        total = _rounded(total + step // 2, number.decision_cut)
        least = step if number.decision_cut else 0
        return fhe.univariate(lambda sums: (sums >= least).astype(np.int64))(total)


def _rounded(values: Values, cut: int) -> Values:
    if not cut:
        return values
    return fhe.round_bit_pattern(values, cut, exactness=fhe.Exactness.APPROXIMATE)


def _winners(levels: Values) -> Values:
    """The higher level of each pair; an odd one out goes on by itself."""
    count = levels.shape[1]
    pairs = count // 2
    left, right = levels[:, 0 : 2 * pairs : 2], levels[:, 1 : 2 * pairs : 2]
    higher = right + np.maximum(left - right, 0)
    return np.concatenate((higher, levels[:, count - 1 :]), axis=1) if count % 2 else higher


def _backtrack(levels: Values, winners: Values, alive: Values) -> Values:
    """Who of each pair the winner is, if it is among them: 1 or 0 for each of the entrants."""
    clips, count = levels.shape
    pairs = count // 2
    shape = (clips, pairs, 1)
    paired = alive[:, :pairs]
    # 0 only if the left one has the winner's level and the pair is alive
    tested = winners[:, :pairs] - levels[:, 0 : 2 * pairs : 2] + (TOP + 1) * (1 - paired)
    left = fhe.univariate(lambda values: (values == 0).astype(np.int64))(tested)
    right = paired - left
    both = np.concatenate((left.reshape(shape), right.reshape(shape)), axis=2)
    both = both.reshape((clips, 2 * pairs))
    return np.concatenate((both, alive[:, pairs:]), axis=1) if count % 2 else both


def fit_number(
    logits: Logits,
    labels: Integers,
    step: float,
    limits: tuple[float, float],
    false_alarms: float,
) -> Number:
    """Choose the levels and the decision that identify most calibration clips correctly.

    Args:
        logits: of the quantized network on calibration clips, float [clips, songs + 1]; NaN for
            songs that were left out.
        labels: int [clips]; the last class is "unknown".
        step: a logit is an integer times this.
        limits: between which all logits in the circuit lie.
        false_alarms: share of unknown clips that may be taken for a known song.
    """
    songs = logits.shape[1] - 1
    known = labels < songs
    logits = np.where(np.isnan(logits), np.nanmin(logits, axis=1, keepdims=True), logits)
    integers = np.rint(logits / step).astype(np.int64)
    lowest, highest = (limit / step for limit in limits)
    centre = round((lowest + highest) / 2)
    cut = max(0, _signed_bits((highest - lowest) / 2) - KEPT_BITS)
    number = Number(songs, step, centre, cut, (), (), 0, True)
    best = logits[known, :songs].max(1)
    most, chosen = -1.0, number
    for low, high, curvature in product(LOWEST_SHARES, HIGHEST_SHARES, CURVATURES):
        first, last = np.quantile(best, (low, high))
        places = np.expm1(curvature * np.arange(TOP) / (TOP - 1)) / np.expm1(curvature)
        starts = first + max(last - first, TOP * step) * places
        candidate = replace(number, limits=tuple(starts.tolist()))
        candidate = _with_decision(candidate, integers, known, false_alarms, lowest)
        right = float((candidate.classes(logits[known]) == labels[known]).mean())
        if right > most:
            most, chosen = right, candidate
    return chosen


def _with_decision(
    number: Number,
    integers: Integers,
    known: npt.NDArray[np.bool_],
    false_alarms: float,
    lowest: float,
) -> Number:
    """The same levels with the decision fitted; no integer logit lies below `lowest`."""
    rounded = number.rounded(integers)
    songs, unknown = rounded[:, : number.songs], rounded[:, number.songs]
    levels = number.level_of(songs).max(1)
    norm = number.magnitude_of(songs[:, number.in_norm]).sum(1)
    limits = np.array(number.limits)
    values = np.append(limits[0], limits + np.diff(limits, append=2 * limits[-1] - limits[-2]) / 2)
    said = {"best": values[levels], "norm": norm, "unknown": integers[:, -1] * number.step}
    slopes = _slopes(said, known)
    counts = slopes["norm"] < 0
    unit = -slopes["norm"] if counts else slopes["best"] * (limits[1] - limits[0]) / 4
    weights = np.rint(slopes["best"] / unit * values).astype(np.int64)
    number = replace(number, l1_norm=counts, unknown=-slopes["unknown"] / unit)
    against = counts * norm + number.against_of(unknown)
    total = weights[levels] - against
    weights -= math.floor(threshold_of(total[~known], false_alarms)) + 1
    # no song has a level: never accepted, whatever "unknown" says
    least = min(0, int(number.against_of(number.rounded(np.array(math.floor(lowest))))))
    weights[0] = min(-int(np.abs(weights).max()), least) - 1
    widest = max(weights.max() - against.min(), against.max() - weights.min())
    return replace(
        number,
        weights=tuple(weights.tolist()),
        decision_cut=max(0, _signed_bits(HEADROOM * widest) - DECISION_BITS),
    )


def _slopes(said: dict[str, npt.NDArray[Any]], known: npt.NDArray[np.bool_]) -> dict[str, float]:
    """How much each of some numbers, float [clips], speaks for a known song.

    What should speak against one and does not is left out, with a slope of 0.
    """
    for names in (("best", "norm", "unknown"), ("best", "norm"), ("best", "unknown")):
        fitted = LogisticRegression(C=100.0, class_weight="balanced", max_iter=1000)
        columns = np.stack([said[name] for name in names], axis=1)
        slopes = dict(zip(names, fitted.fit(columns, known).coef_[0].tolist(), strict=True))
        if slopes["best"] > 0 > max(slopes[name] for name in names[1:]):
            return {name: slopes.get(name, 0.0) for name in said}
    return {"best": 1.0, "norm": 0.0, "unknown": 0.0}


def _signed_bits(largest: float) -> int:
    return math.ceil(math.log2(max(largest, 1.0) + 1)) + 1
