"""Songs that a catalogue holds twice: the same recording in another format, cut, or equalised.

Both would be right answers, and each alone would make the other look like an unknown song that is
taken for a known one. They are found by what the recognizer hears: most rows of a song fit a row of
the other nearly as well as their own. Other songs of one artist, covers and remixes do not come
near that.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...support.arrays import Array
from ..data.track import Track
from .crops import TrackCrops
from .sums import Sums, song_sums

ALIKE = 0.5
"""A row fits another song if its crops' mean has so much of the score there that it has at home.
The same recording has 0.6 to 0.9 of it, or 0.5 where its rows begin half-way between the other's;
the most similar of 218 different songs, of one artist, have 0.46."""
MOST = 0.5
"""Songs are the same recording if at least so many of one's rows fit the other."""
SHORTEST, MIX_SECONDS = 1 / 3, 720.0
"""A song that is shorter than this share of one of more than so many seconds is more likely a part
of a mix, and is kept."""
ROWS_COMPARED = 8
"""Of each song, evenly spaced: more would say no more."""
SONGS_AT_ONCE = 64


class Recordings:
    """Tells which songs are the same recording.

    Args:
        totals: of the catalogue.
        weights: of its rows, float32 [at least rows, inputs].
    """

    def __init__(self, totals: Sums, weights: Array):
        self._rows = totals.rows
        self._heads = weights[: totals.rows.total]
        self._means = totals.sums / np.maximum(totals.counts, 1)[:, None]
        self._own = np.maximum((self._means * self._heads).sum(1), 1e-6)

    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of songs of which the first is the same as the second, or a part of it."""
        rows, means, heads, own = self._rows, self._means, self._heads, self._own
        pairs = []
        for start in range(0, len(rows.counts), SONGS_AT_ONCE):
            songs = range(start, min(start + SONGS_AT_ONCE, len(rows.counts)))
            chosen = [_spaced(int(rows.firsts[s]), rows.counts[s]) for s in songs]
            some = np.concatenate(chosen)
            scores = np.maximum.reduceat(means[some] @ heads.T, rows.firsts, axis=1)
            fits = scores > ALIKE * own[some][:, None]
            ends = np.cumsum([len(one) for one in chosen])
            for song, part in zip(songs, np.split(fits, ends[:-1]), strict=True):
                share = part.mean(0)
                share[song] = 0
                for other in np.flatnonzero(share >= MOST).tolist():
                    # a few seconds of it in another song would fit all the rounds of a loop
                    mine, theirs = rows.slice_of(song), rows.slice_of(other)
                    back = means[theirs] @ heads[mine].T > ALIKE * own[theirs][:, None]
                    if back.any(1).sum() >= MOST * min(rows.counts[song], rows.counts[other]):
                        pairs.append((song, other))
        return pairs

    def variants_of(self, crops: TrackCrops) -> list[int]:
        """The enrolled songs that a track, which is not enrolled, is the same recording as."""
        sums, counts = song_sums(crops, self._rows.seconds)
        heard = counts > 0
        scores = (sums[heard] / counts[heard][:, None]) @ self._heads.T
        best = np.maximum.reduceat(scores / self._own, self._rows.firsts, axis=1)
        return [int(song) for song in np.flatnonzero((best > ALIKE).mean(0) >= MOST)]


def merged(tracks: Sequence[Track], pairs: Sequence[tuple[int, int]], totals: Sums) -> list[Track]:
    """The songs to be merged into others, with `same_as` set: of the same, the longest is kept,
    of those the one whose artist is known.

    Args:
        tracks: all songs, in order.
        pairs: of `Recordings.pairs`.
        totals: of the catalogue.
    """
    lengths = totals.rows.counts
    kept = {place: place for place in range(len(tracks))}

    def root(place: int) -> int:
        while kept[place] != place:
            place = kept[place]
        return place

    for one, other in pairs:
        first, second = root(one), root(other)
        shorter, longer = sorted(
            (first, second),
            key=lambda place: (lengths[place], bool(tracks[place].artist), -place),
        )
        mix = lengths[longer] * (totals.rows.seconds or 0.0) > MIX_SECONDS
        if first != second and not (mix and lengths[shorter] < SHORTEST * lengths[longer]):
            kept[shorter] = longer
    return [
        replace(track, same_as=tracks[root(place)].id)
        for place, track in enumerate(tracks)
        if root(place) != place
    ]


def _spaced(first: int, count: int) -> Array:
    """At most `ROWS_COMPARED` of `count` rows, evenly spaced, from `first` on."""
    if count <= ROWS_COMPARED:
        return np.arange(first, first + count)
    return first + np.linspace(0, count - 1, ROWS_COMPARED).round().astype(np.int64)
