"""Rows of the head: each stands for a stretch of a song, and a song's score is its rows' maximum.

A whole song sounds different from one part to the next, so one row of weights for all of it would
be a poor match for each. The row that fits best also says where in the song a clip lies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..support.arrays import Array


@dataclass(frozen=True)
class Rows:
    """Which rows of the head belong to which song: those of a song follow one another.

    Attributes:
        counts: rows of every song, each at least 1.
        seconds: of music that a row stands for: clips whose middle lies there. None where a row
            stands for all of its song.
    """

    counts: tuple[int, ...]
    seconds: float | None = None

    @staticmethod
    def one_each(songs: int) -> "Rows":
        """One row for every song."""
        return Rows((1,) * songs)

    @staticmethod
    def of_lengths(lengths: Sequence[float], seconds: float | None) -> "Rows":
        """Rows for songs of these lengths, in s; what is left at a song's end is its last row's."""
        if seconds is None:
            return Rows.one_each(len(lengths))
        return Rows(tuple(rows_in(length, seconds) for length in lengths), seconds)

    @property
    def total(self) -> int:
        """How many rows there are."""
        return sum(self.counts)

    @cached_property
    def firsts(self) -> Array:
        """The first row of every song: int [songs]."""
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64)

    def slice_of(self, song: int) -> slice:
        """The rows of a song."""
        first = int(self.firsts[song])
        return slice(first, first + self.counts[song])

    @cached_property
    def songs(self) -> Array:
        """The song of every row: int [rows]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def scores(self, logits: Array) -> Array:
        """Songs' scores, from rows' logits: [clips, rows + 1] -> [clips, songs + 1].

        "Unknown" stays last. NaN stands for rows that were left out; a song without any other has
        NaN.
        """
        if self.total == len(self.counts):
            return logits
        best = np.fmax.reduceat(logits[:, :-1], self.firsts, axis=1)
        result: Array = np.concatenate([best, logits[:, -1:]], axis=1)
        return result

    def offset(self, logits: Array, song: int) -> float | None:
        """Where in a song the middle of a clip lies, in s from its beginning.

        Args:
            logits: of one clip, float [rows + 1].
            song: its place.

        Returns:
            The middle of the row that fits best, which may be off by ``seconds / 2``; None where a
            row stands for all of the song.
        """
        if self.seconds is None:
            return None
        best = int(np.argmax(logits[self.slice_of(song)]))
        return (best + 0.5) * self.seconds


def rows_in(length: float, seconds: float) -> int:
    """Rows for a song of `length` s: a rest of less than half a row joins the row before it."""
    return max(1, int(length / seconds + 0.5))


def row_at(middle: float, length: float, seconds: float | None) -> int:
    """The row of the song that a clip belongs to whose middle lies at `middle` s."""
    if seconds is None:
        return 0
    return min(max(0, int(middle / seconds)), rows_in(length, seconds) - 1)
