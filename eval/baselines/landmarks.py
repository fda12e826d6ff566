"""A landmark-hash matcher in the clear: what identification costs and finds without privacy.

Peaks of the spectrogram are paired, each pair makes a hash, and the track wins that shares most
hashes with the clip at one time offset (Wang, "An industrial-strength audio search algorithm",
ISMIR 2003). Unlike there, the target zone is small instead of cut off after a few targets: whether
a pair is found again then depends on its own two peaks alone, not on peaks that noise adds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft
from scipy.ndimage import maximum_filter

from ...support.files import replacing
from ..arrays import Bools, Floats, Ints

FRAME_SECONDS = 0.032
"""Distance of frames; a frame's window is twice as long, centred at its time."""
BINS = 256
"""Frequency bins in use, from 0 Hz, each 1 / (2 FRAME_SECONDS) = 15.6 Hz wide."""
PEAK_BINS, PEAK_FRAMES = 8, 5
"""A peak is the largest value within this distance. Not under OFFSET_FRAMES in time: else
one hash of a query could agree with a track twice at one offset."""
PEAKS_PER_SECOND = 30
FLOOR_DB = 60.0
"""Peaks this far below the loudest are dropped."""
ZONE_BINS = 31
"""A target lies at most this many bins above or below its anchor."""
ZONE_FRAMES = (2, 40)
"""A target follows its anchor after this many frames, first and last."""
OFFSET_FRAMES = 4
"""Hashes agree on a time offset if they lie within this many frames: at a speed 1 % off, a clip of
10 s drifts by three."""


@dataclass(frozen=True)
class Landmarks:
    """Pairs of spectral peaks, sorted by time.

    Attributes:
        hashes: both frequencies and the distance in time, int64 [n].
        times: frame of the anchor, int32 [n].
        ends: frame of the target, int32 [n].
    """

    hashes: Ints
    times: Ints
    ends: Ints

    def __len__(self) -> int:
        """How many there are."""
        return len(self.hashes)


def landmarks(wave: Floats, sample_rate: int) -> Landmarks:
    """Find the landmarks of a clip or track.

    Args:
        wave: mono samples, float [n]; may be empty or silent, which has none.
        sample_rate: in Hz; at least ``BINS / FRAME_SECONDS`` (8 kHz) for all bins to exist.
    """
    frames, bins = _peaks(_spectrogram(wave, sample_rate))
    anchors, targets = [], []
    for step in range(1, len(frames)):
        ahead = frames[step:] - frames[:-step]
        near = (ahead <= ZONE_FRAMES[1]).nonzero()[0]
        if not len(near):
            break
        far_enough = ahead[near] >= ZONE_FRAMES[0]
        close = np.abs(bins[near + step] - bins[near]) <= ZONE_BINS
        anchors.append(near[far_enough & close])
        targets.append(anchors[-1] + step)
    anchor = np.concatenate([*anchors, np.zeros(0, int)])
    target = np.concatenate([*targets, np.zeros(0, int)])
    order = np.argsort(anchor, kind="stable")
    anchor, target = anchor[order], target[order]
    rise = bins[target] - bins[anchor] + ZONE_BINS
    distance = frames[target] - frames[anchor]
    hashes = (bins[anchor] * (2 * ZONE_BINS + 1) + rise) * (ZONE_FRAMES[1] + 1) + distance
    return Landmarks(
        hashes.astype(np.int64), frames[anchor].astype(np.int32), frames[target].astype(np.int32)
    )


def _spectrogram(wave: Floats, sample_rate: int) -> Floats:
    """Level in dB: [n] -> float32 [frames, bins]."""
    hop = round(FRAME_SECONDS * sample_rate)
    padded = np.pad(np.asarray(wave, np.float32), hop)
    if len(wave) == 0:
        return np.zeros((0, BINS), np.float32)
    windows = sliding_window_view(padded, 2 * hop)[::hop]
    spectrum = rfft(windows * np.hanning(2 * hop).astype(np.float32), axis=1)[:, :BINS]
    level: Floats = 10 * np.log10(
        np.square(spectrum.real) + np.square(spectrum.imag) + np.float32(1e-12)
    )
    return level


def _peaks(level: Floats) -> tuple[Ints, Ints]:
    """Frames and bins of the peaks, sorted by frame: [frames, bins] -> int [n], int [n]."""
    if not level.size:
        return np.zeros(0, int), np.zeros(0, int)
    highest = maximum_filter(level, (2 * PEAK_FRAMES + 1, 2 * PEAK_BINS + 1), mode="nearest")
    audible = level > max(level.max() - FLOOR_DB, -100.0)
    frames, bins = ((level == highest) & audible).nonzero()
    second = (frames * FRAME_SECONDS).astype(int)
    by_level = np.lexsort((-level[frames, bins], second))
    first = np.searchsorted(second, second)  # of each peak's second
    kept = np.sort(by_level[np.arange(len(second)) - first < PEAKS_PER_SECOND])
    return frames[kept], bins[kept]


class LandmarkIndex:
    """The landmarks of a catalogue, sorted by hash.

    Args:
        hashes: sorted, int64 [n].
        owners: each landmark's track, int32 [n].
        times: each landmark's anchor frame in its track, int32 [n].
        tracks: number of tracks.
    """

    def __init__(self, hashes: Ints, owners: Ints, times: Ints, tracks: int):
        self.hashes, self.owners, self.times, self.tracks = hashes, owners, times, tracks

    @classmethod
    def build(
        cls,
        tracks: Sequence[Landmarks],
        keep: Sequence[Sequence[tuple[float, float]]] | None = None,
    ) -> "LandmarkIndex":
        """Index tracks.

        Args:
            tracks: the landmarks of each.
            keep: for each track the intervals (from, to) in seconds to index: both peaks of a
                landmark must lie in the same one. None for whole tracks.
        """
        kept = [np.ones(len(track), bool) for track in tracks]
        if keep is not None:
            kept = [_inside(track, spans) for track, spans in zip(tracks, keep, strict=True)]
        parts = [
            (t.hashes[k], np.full(k.sum(), i), t.times[k])
            for i, (t, k) in enumerate(zip(tracks, kept, strict=True))
        ]
        empty = (np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32))
        hashes, owners, times = (
            np.concatenate(column) for column in zip(*parts, empty, strict=True)
        )
        order = np.argsort(hashes, kind="stable")
        return cls(
            hashes[order],
            owners[order].astype(np.int32),
            times[order].astype(np.int32),
            len(tracks),
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the index to an npz file, exactly at `path`."""
        with replacing(Path(path)) as partial, partial.open("wb") as file:
            np.savez(
                file,
                hashes=self.hashes,
                owners=self.owners,
                times=self.times,
                tracks=self.tracks,
            )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "LandmarkIndex":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["hashes"], file["owners"], file["times"], int(file["tracks"]))

    def match(self, query: Landmarks) -> Ints:
        """For each track the most hashes it shares with a clip at one time offset: int [tracks]."""
        first = np.searchsorted(self.hashes, query.hashes, "left")
        found = np.searchsorted(self.hashes, query.hashes, "right") - first
        starts = np.cumsum(found) - found
        hits = np.repeat(first - starts, found) + np.arange(found.sum())
        best = np.zeros(self.tracks, int)
        if not len(hits):
            return best
        offset = self.times[hits].astype(np.int64) - np.repeat(query.times, found)
        offset -= offset.min()
        # overlapping bins, so that a cluster is never cut in two
        half = offset // (OFFSET_FRAMES // 2)
        span = half.max() + 2
        cells, counts = np.unique(self.owners[hits] * span + half, return_counts=True)
        beside = np.append(np.diff(cells) == 1, False)
        together = counts + np.where(beside, np.roll(counts, -1), 0)
        np.maximum.at(best, cells // span, together)
        return best

    def judge(self, queries: Sequence[Landmarks]) -> tuple[Ints, Floats]:
        """Name clips.

        Returns:
            The three tracks that share most hashes, int [clips, 3] (fewer columns where the index
            has fewer tracks); and the first one's count less the second one's, float [clips]. The
            difference told unknown songs apart better than the count alone in four of five
            conditions of noise (AUROC 0.994 against 0.986 at 0 dB of real noise).
        """
        counts = np.array([self.match(query) for query in queries]).reshape(-1, self.tracks)
        top = np.argsort(-counts, axis=1, kind="stable")[:, :3]
        ranked = np.pad(np.take_along_axis(counts, top, 1), ((0, 0), (0, 1)))
        return top, (ranked[:, 0] - ranked[:, 1]).astype(float)


def _inside(track: Landmarks, spans: Sequence[tuple[float, float]]) -> Bools:
    """Whether both peaks of a landmark lie in one of the intervals: bool [n]."""
    inside = np.zeros(len(track), bool)
    for start, stop in spans:
        inside |= (track.times * FRAME_SECONDS >= start) & (track.ends * FRAME_SECONDS <= stop)
    return inside


def near_duplicates(
    tracks: Sequence[Landmarks], index: LandmarkIndex, share: float
) -> list[tuple[int, int, float]]:
    """Pairs of tracks that share so much that a clip may be of either.

    Args:
        tracks: those the index was built of, whole and in order.
        index: of all of them.
        share: of the hashes of the track that has fewer, how many must agree at one offset.

    Returns:
        (track, later track, share between 0 and 1), the largest share first.
    """
    sizes = np.maximum([len(track) for track in tracks], 1)
    shares = np.array([index.match(track) for track in tracks]).reshape(len(tracks), -1)
    shares = shares / np.minimum(sizes[:, None], sizes[None, :])
    shares = np.minimum(np.maximum(shares, shares.T), 1.0)
    pairs = np.argwhere(np.triu(shares >= share, 1))
    found = [(int(i), int(j), float(shares[i, j])) for i, j in pairs]
    return sorted(found, key=lambda pair: -pair[2])
