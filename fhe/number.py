"""The song's number: what a circuit ends in where ``fhe.answer`` is ``number``.

From the encrypted logits of K songs, under FHE (the look-ups, programmable bootstrappings, in
brackets):

1. each song's *level* [K]: 0 to 15, by limits that lie closest where the verdict is in doubt;
2. the *spread* [at most 256]: the sum of the logits' magnitudes, which grows with how much
   the clip resembles anything at all, and so is what a good match must be measured against;
3. the highest level, by a tournament of pairs [K - 1]: max(a, b) = b + max(a - b, 0);
4. the *verdict* [at most 3]: known, if the highest level's weight exceeds the spread and what the
   logit of "unknown" counts;
5. the way back to the winner, if there is one [K - 1]: of each pair that it came from, the left
   one if its level is the winner's, else the right one, so that a tie goes to the song enrolled
   first;
6. the winner's number in digits to the base 8, a weighted sum; 0 is "unknown".

The client learns these digits and nothing else of the logits. The same code runs on integers in the
clear and is traced by Concrete.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import product
from unittest.mock import patch

import numpy as np
from concrete import fhe
from concrete.ml.quantization import QuantizedModule
from sklearn.linear_model import LogisticRegression

KEPT_BITS = 6
"""Bits of each logit that the first look-ups see."""
VERDICT_BITS = 5
"""Bits of the verdict's sum that its look-up sees."""
TOP = 15
"""The highest level: four bits."""
LARGEST_MAGNITUDE = 7
SPREAD_SONGS = 256
"""At most so many songs' magnitudes are summed, evenly spaced ones of more."""
BASE = 8
LOWEST_SHARES = (0.005, 0.02, 0.05)
HIGHEST_SHARES = (0.5, 0.7, 0.9)
"""Where the lowest and the highest level may begin: shares of calibration clips of known songs
whose best logit is lower."""
CURVATURES = (0.01, 1.0, 2.0)
"""How much farther apart, as a power of e, the highest levels may lie than the lowest."""
HEADROOM = 1.25
"""How much wider than on calibration clips the verdict's sum may get."""


@dataclass(frozen=True)
class Number:
    """How a circuit finds the song's number in integer logits; travels in the artifact.

    Attributes:
        songs: enrolled ones.
        step: a logit is an integer times this.
        centre: taken off the integer logits, whose range is not even about 0.
        cut: low bits that are rounded away then.
        limits: logits from which the levels 1 to 15 begin.
        weights: of the levels 0 to 15 in the verdict's sum, which accepts from 0.
        verdict_cut: low bits of that sum that are rounded away.
        spread: whether the spread is taken off that sum; a few songs' says nothing.
        unknown: what a unit of the logit of "unknown" takes off that sum; 0 where it says nothing.
    """

    songs: int
    step: float
    centre: int
    cut: int
    limits: tuple[float, ...]
    weights: tuple[int, ...]
    verdict_cut: int
    spread: bool
    unknown: float = 0.0

    @property
    def digits(self) -> int:
        """How many digits a number has."""
        return max(1, math.ceil(math.log(self.songs + 1, BASE) - 1e-9))

    def __call__(self, logits):
        """The digits of each clip's number, lowest first.

        Args:
            logits: integers [clips, songs + 1], an array or what Concrete traces (one clip).

        Returns:
            Integers [clips, digits].
        """
        centred = logits[:, : self.songs] - self.centre
        rounds = [self._levels(centred)]
        while rounds[-1].shape[1] > 1:
            rounds.append(_winners(rounds[-1]))
        alive = self._accepted(rounds[-1], centred, logits[:, self.songs :])
        for entrants, winners in zip(rounds[-2::-1], rounds[:0:-1], strict=True):
            alive = _way_back(entrants, winners, alive)
        numbers = np.arange(1, self.songs + 1)
        codes = numbers[:, None] // BASE ** np.arange(self.digits) % BASE
        return alive @ codes

    def _levels(self, centred):
        """Levels, 0 to `TOP`: [clips, songs] -> [clips, songs]."""

        def level(rounded):
            logits = (rounded + self.centre) * self.step
            return np.searchsorted(self.limits, logits, side="right").astype(np.int64)

        return fhe.univariate(level)(_rounded(centred, self.cut))

    def _spread(self, centred):
        """The sum of magnitudes: [clips, songs] -> [clips, 1]."""

        def magnitude(rounded):
            units = np.rint(np.abs(rounded + self.centre) / 2.0**self.cut)
            return np.minimum(units, LARGEST_MAGNITUDE).astype(np.int64)

        some = _rounded(centred[:, :: math.ceil(self.songs / SPREAD_SONGS)], self.cut)
        return np.sum(fhe.univariate(magnitude)(some), axis=1, keepdims=True)

    def _against(self, unknown):
        """What the logit of "unknown" counts: [clips, 1] -> [clips, 1]."""

        def count(rounded):
            return np.rint((rounded + self.centre) * self.step * self.unknown).astype(np.int64)

        return fhe.univariate(count)(_rounded(unknown - self.centre, self.cut))

    def _accepted(self, best, centred, unknown):
        """1 where the verdict is "known": [clips, 1]."""
        total = fhe.univariate(lambda levels: np.array(self.weights)[levels])(best)
        if self.spread:
            total = total - self._spread(centred)
        if self.unknown:
            total = total - self._against(unknown)
        step = 2**self.verdict_cut
        # rounded up to at least a step if, and only if, it is not negative
        total = _rounded(total + step // 2, self.verdict_cut)
        least = step if self.verdict_cut else 0
        return fhe.univariate(lambda sums: (sums >= least).astype(np.int64))(total)

    def numbers(self, logits: np.ndarray) -> np.ndarray:
        """The numbers that the circuit is to give.

        Args:
            logits: of the quantized network, float [clips, songs + 1].

        Returns:
            int [clips]: 1 for the first song, 0 for "unknown".
        """
        return numbers_of(self(np.rint(logits / self.step).astype(np.int64)))

    def classes(self, logits: np.ndarray) -> np.ndarray:
        """The same as classes, int [clips]; the last one is "unknown"."""
        return classes_of(self.numbers(logits), self.songs)

    def to_json(self) -> dict:
        """The parameters as JSON-ready values."""
        return asdict(self)

    @staticmethod
    def of_manifest(manifest: dict) -> "Number | None":
        """That of an artifact; None where its circuit ends in the logits."""
        stored = manifest["number"]
        return None if stored is None else Number.from_json(stored)

    @staticmethod
    def from_json(data: dict) -> "Number":
        """The inverse of `to_json`."""
        fixed = {name: tuple(data[name]) for name in ("limits", "weights")}
        return Number(**{**data, **fixed})


def _rounded(values, cut: int):
    if not cut:
        return values
    return fhe.round_bit_pattern(values, cut, exactness=fhe.Exactness.APPROXIMATE)


def _winners(levels):
    """The higher level of each pair; an odd one out goes on by itself."""
    count = levels.shape[1]
    pairs = count // 2
    left, right = levels[:, 0 : 2 * pairs : 2], levels[:, 1 : 2 * pairs : 2]
    higher = right + np.maximum(left - right, 0)
    return np.concatenate((higher, levels[:, count - 1 :]), axis=1) if count % 2 else higher


def _way_back(levels, winners, alive):
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


def numbers_of(digits: np.ndarray) -> np.ndarray:
    """Numbers from their digits, lowest first: int [clips, digits] -> [clips]."""
    return digits @ BASE ** np.arange(digits.shape[1])


def classes_of(numbers: np.ndarray, songs: int) -> np.ndarray:
    """Classes of numbers from 1; 0, and what no song has, is the class `songs`: "unknown"."""
    inside = (numbers >= 1) & (numbers <= songs)
    return np.where(inside, numbers - 1, songs)


def fit_number(
    logits: np.ndarray,
    labels: np.ndarray,
    step: float,
    limits: tuple[float, float],
    false_alarms: float,
) -> Number:
    """Choose levels and verdict that find most on calibration clips.

    Args:
        logits: of the quantized network on calibration clips, float [clips, songs + 1].
        labels: int [clips]; the last class is "unknown".
        step: a logit is an integer times this.
        limits: between which all logits in the circuit lie.
        false_alarms: share of unknown clips that may be taken for a known song.
    """
    songs = logits.shape[1] - 1
    known = labels < songs
    integers = np.rint(logits / step).astype(np.int64)
    lowest, highest = (limit / step for limit in limits)
    centre = round((lowest + highest) / 2)
    cut = max(0, _signed_bits((highest - lowest) / 2) - KEPT_BITS)
    number = Number(songs, step, centre, cut, (), (), 0, True)
    best = logits[known, :songs].max(1)
    found, chosen = -1.0, number
    for low, high, curvature in product(LOWEST_SHARES, HIGHEST_SHARES, CURVATURES):
        first, last = np.quantile(best, (low, high))
        places = np.expm1(curvature * np.arange(TOP) / (TOP - 1)) / np.expm1(curvature)
        limits = first + max(last - first, TOP * step) * places
        candidate = replace(number, limits=tuple(limits.tolist()))
        candidate = _with_verdict(candidate, integers, known, false_alarms, lowest)
        right = candidate.classes(logits[known]) == labels[known]
        if right.mean() > found:
            found, chosen = right.mean(), candidate
    return chosen


def _with_verdict(
    number: Number, integers: np.ndarray, known: np.ndarray, false_alarms: float, lowest: float
) -> Number:
    """The same levels with the verdict fitted; no integer logit lies below `lowest`."""
    centred = integers[:, : number.songs] - number.centre
    levels = number._levels(centred).max(1)
    spread = number._spread(centred)[:, 0]
    limits = np.array(number.limits)
    values = np.append(limits[0], limits + np.diff(limits, append=2 * limits[-1] - limits[-2]) / 2)
    said = {"best": values[levels], "spread": spread, "unknown": integers[:, -1] * number.step}
    slopes = _slopes(said, known)
    counts = slopes["spread"] < 0
    unit = -slopes["spread"] if counts else slopes["best"] * (limits[1] - limits[0]) / 4
    weights = np.rint(slopes["best"] / unit * values).astype(np.int64)
    number = replace(number, spread=counts, unknown=-slopes["unknown"] / unit)
    against = np.zeros_like(spread)
    if counts:
        against = against + spread
    if number.unknown:
        against = against + number._against(integers[:, number.songs :])[:, 0]
    total = weights[levels] - against
    weights -= int(np.floor(np.quantile(total[~known], 1 - false_alarms))) + 1
    # no song has a level: never accepted, whatever "unknown" says
    least = min(0, int(number._against(np.full((1, 1), math.floor(lowest)))[0, 0]))
    weights[0] = min(-int(np.abs(weights).max()), least) - 1
    widest = max(weights.max() - against.min(), against.max() - weights.min())
    return replace(
        number,
        weights=tuple(weights.tolist()),
        verdict_cut=max(0, _signed_bits(HEADROOM * widest) - VERDICT_BITS),
    )


def _slopes(said: dict[str, np.ndarray], known: np.ndarray) -> dict[str, float]:
    """How much each of some numbers, float [clips], speaks for a known song.

    What should speak against one and does not is left out, with a slope of 0.
    """
    for names in (("best", "spread", "unknown"), ("best", "spread"), ("best", "unknown")):
        fitted = LogisticRegression(C=100.0, class_weight="balanced", max_iter=1000)
        columns = np.stack([said[name] for name in names], axis=1)
        slopes = dict(zip(names, fitted.fit(columns, known).coef_[0].tolist(), strict=True))
        if slopes["best"] > 0 > max(slopes[name] for name in names[1:]):
            return {name: slopes.get(name, 0.0) for name in said}
    return {"best": 1.0, "spread": 0.0, "unknown": 0.0}


def _signed_bits(largest: float) -> int:
    return math.ceil(math.log2(max(largest, 1.0) + 1)) + 1


@contextmanager
def ending_in(number: Number | None) -> Iterator[None]:
    """Within, Concrete ML compiles quantized networks to circuits that end in the song's number."""
    if number is None:
        yield
        return
    plain = QuantizedModule._clear_forward

    def forward(module: QuantizedModule, *inputs):
        return number(plain(module, *inputs))

    with patch.object(QuantizedModule, "_clear_forward", forward):
        yield
