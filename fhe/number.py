"""The song's number: the answer of a circuit where ``fhe.answer`` is ``number``.

`Number` says what such a circuit computes from the logits of K songs, and computes it in the clear:

1. each song's *level*, 0 to 15, by limits that lie closest where the decision is in doubt;
2. the L1 norm of the logits, which grows with how much the clip resembles anything at all, and so
   is what a good match is measured against;
3. the open-set decision: accept, if the highest level's weight exceeds the L1 norm and what the
   logit of "unknown" counts;
4. the number of the song with the highest level, the one enrolled first in a tie; 0 is "unknown".

The server responds with the number's digits to the base 8 and nothing else of the logits. How it
finds them under encryption is in ``fhe/export/number.py``.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

TOP = 15
"""The highest level: four bits."""
LARGEST_MAGNITUDE = 7
NORM_SONGS = 256
"""At most so many songs' magnitudes are summed, evenly spaced ones of more."""
BASE = 8


@dataclass(frozen=True)
class Number:
    """How the song's number follows from integer logits; travels in the artifact.

    Attributes:
        songs: enrolled ones.
        step: a logit is an integer times this.
        centre: taken off the integer logits, whose range is not even about 0.
        cut: low bits that are rounded away then.
        limits: logits from which the levels 1 to 15 begin.
        weights: of the levels 0 to 15 in the decision's sum, which accepts from 0.
        decision_cut: low bits of that sum that the circuit rounds away.
        l1_norm: whether the L1 norm is taken off that sum; a few songs' says nothing.
        unknown: what a unit of the logit of "unknown" takes off that sum; 0 where it says nothing.
    """

    songs: int
    step: float
    centre: int
    cut: int
    limits: tuple[float, ...]
    weights: tuple[int, ...]
    decision_cut: int
    l1_norm: bool
    unknown: float = 0.0

    @property
    def digits(self) -> int:
        """How many digits a number has."""
        return max(1, math.ceil(math.log(self.songs + 1, BASE) - 1e-9))

    def level_of(self, rounded: Integers) -> Integers:
        """Levels, 0 to `TOP`, of rounded logits; a table of the circuit, as the next two are."""
        logits = (rounded + self.centre) * self.step
        return np.asarray(np.searchsorted(self.limits, logits, side="right"), np.int64)

    def magnitude_of(self, rounded: Integers) -> Integers:
        """What rounded logits add to the L1 norm."""
        units = np.rint(np.abs(rounded + self.centre) / 2.0**self.cut)
        return np.asarray(np.minimum(units, LARGEST_MAGNITUDE), np.int64)

    def against_of(self, rounded: Integers) -> Integers:
        """What a rounded logit of "unknown" takes off the decision's sum."""
        counted = np.rint((rounded + self.centre) * self.step * self.unknown)
        return np.asarray(counted, np.int64)

    def rounded(self, integers: Integers) -> Integers:
        """Integer logits as the tables take them: centred, the low bits rounded away."""
        half = 2**self.cut // 2
        return np.asarray((integers - self.centre + half) >> self.cut << self.cut)

    @property
    def in_norm(self) -> slice:
        """The songs whose magnitudes are summed."""
        return slice(0, self.songs, math.ceil(self.songs / NORM_SONGS))

    def numbers(self, logits: npt.NDArray[np.floating[Any]]) -> Integers:
        """The numbers that the circuit gives, if no PBS errs.

        Args:
            logits: of the quantized network, float [clips, songs + 1].

        Returns:
            int [clips]: 1 for the first song, 0 for "unknown".
        """
        rounded = self.rounded(np.rint(logits / self.step).astype(np.int64))
        songs, unknown = rounded[:, : self.songs], rounded[:, self.songs]
        levels = self.level_of(songs)
        total = np.array(self.weights)[levels.max(1)]
        if self.l1_norm:
            total = total - self.magnitude_of(songs[:, self.in_norm]).sum(1)
        if self.unknown:
            total = total - self.against_of(unknown)
        return np.where(total >= 0, levels.argmax(1) + 1, 0)

    def classes(self, logits: npt.NDArray[np.floating[Any]]) -> Integers:
        """The same as classes, int [clips]; the last one is "unknown"."""
        return classes_of(self.numbers(logits), self.songs)


def numbers_of(digits: Integers) -> Integers:
    """Numbers from their digits, lowest first: int [clips, digits] -> [clips]."""
    return np.asarray(digits @ BASE ** np.arange(digits.shape[1]))


def classes_of(numbers: Integers, songs: int) -> Integers:
    """Classes of numbers from 1; 0, and what no song has, is the class `songs`: "unknown"."""
    inside = (numbers >= 1) & (numbers <= songs)
    return np.where(inside, numbers - 1, songs)
