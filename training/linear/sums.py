"""What all crops of a catalogue sum up to, song by song.

The sums of a catalogue that changed are those of the former one, less the songs that went, plus
those that came: exactly what a training anew would sum up (`hushtune.training.linear.moments`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ...model.rows import Rows, rows_in
from ...support.arrays import Array
from ...support.errors import RunError
from ...support.files import replacing
from ...support.progress import progress_bar
from ..data.split import Split
from .crops import TrackCrops
from .moments import products, row_sums
from .solve import discriminant_weights


@dataclass(frozen=True)
class Sums:
    """What all crops of a catalogue sum up to.

    Attributes:
        rows: of every song.
        products: of every two inputs, over the crops of rows, by part, float64 [parts, inputs,
            inputs].
        sums: of the crops of each row, float32 [rows, inputs].
        counts: of them, int [rows].
        unknown_sums: of the crops of no row, by part, float64 [parts, inputs].
        unknown_counts: of them, int [parts].
        part_of_song: the part that each song belongs to, int [songs].
        ids: of the songs.
    """

    rows: Rows
    products: Array
    sums: Array
    counts: Array
    unknown_sums: Array
    unknown_counts: Array
    part_of_song: Array
    ids: tuple[str, ...]

    def weights(self, shrinkage: float, *, without: int | None = None) -> Array:
        """The head's weights on quantized inputs: float32 [rows + 1, inputs], "unknown" last.

        Args:
            shrinkage: of the covariance.
            without: the part whose songs are left out; their rows then mean nothing.
        """
        kept = np.arange(len(self.products)) != (-1 if without is None else without)
        mine = kept[self.part_of_song[self.rows.songs]]
        unknown = self.unknown_sums[kept].sum(0) / max(1, self.unknown_counts[kept].sum())
        return discriminant_weights(
            self.products[kept].sum(0),
            self.sums * mine[:, None],
            self.counts * mine,
            shrinkage,
            unknown[None],
        )

    def changed(
        self,
        ids: Sequence[str],
        parts: Mapping[str, int],
        added: Mapping[str, TrackCrops],
        removed: Iterable[tuple[str, TrackCrops]],
    ) -> "Sums":
        """The sums of a catalogue in which some songs went, and others came.

        Args:
            ids: of all songs of the new one, in order.
            parts: that each of them belongs to; those of the songs that stay must be the same.
            added: crops of the new songs, by id.
            removed: songs that went, by id, and their crops.
        """
        squares = self.products.copy()
        sums, counts = self.unknown_sums.copy(), self.unknown_counts.copy()
        place_of = {song: place for place, song in enumerate(self.ids)}
        for sign, some in ((-1, removed), (1, added.items())):
            for song, crops in some:
                part = int(self.part_of_song[place_of[song]]) if sign < 0 else parts[song]
                squares[part] += sign * products(crops.crops)
                sums[part] += sign * crops.negatives.sum(0, dtype=np.int64)
                counts[part] += sign * len(crops.negatives)
        blocks, numbers, rows = [], [], []
        for song in ids:
            if song in added:
                some, number = song_sums(added[song], self.rows.seconds)
            else:
                mine = self.rows.slice_of(place_of[song])
                some, number = self.sums[mine], self.counts[mine]
            blocks.append(some)
            numbers.append(number)
            rows.append(len(number))
        return replace(
            self,
            rows=Rows(tuple(rows), self.rows.seconds),
            products=squares,
            sums=np.concatenate(blocks),
            counts=np.concatenate(numbers),
            unknown_sums=sums,
            unknown_counts=counts,
            part_of_song=np.array([parts[song] for song in ids]),
            ids=tuple(ids),
        )

    def save(self, path: Path) -> None:
        """Write them, for `load`."""
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                rows=np.array(self.rows.counts),
                row_seconds=np.array(np.nan if self.rows.seconds is None else self.rows.seconds),
                products=self.products,
                sums=self.sums,
                counts=self.counts,
                unknown_sums=self.unknown_sums,
                unknown_counts=self.unknown_counts,
                part_of_song=self.part_of_song,
                ids=np.array(self.ids),
            )

    @staticmethod
    def load(path: Path) -> "Sums":
        """Read what `save` wrote.

        Raises:
            RunError: missing or damaged.
        """
        names = ("products", "sums", "counts", "unknown_sums", "unknown_counts", "part_of_song")
        try:
            with np.load(path) as file:
                seconds = float(file["row_seconds"])
                rows = Rows(tuple(file["rows"].tolist()), None if np.isnan(seconds) else seconds)
                arrays = {name: file[name] for name in names}
                return Sums(rows=rows, ids=tuple(file["ids"].tolist()), **arrays)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise RunError(f"{path}: cannot be read ({error}).") from error


def song_sums(crops: TrackCrops, row_seconds: float | None) -> tuple[Array, Array]:
    """Sums and numbers of the crops of a song's rows: float32 [rows, inputs], int [rows]."""
    count = 1 if row_seconds is None else rows_in(crops.seconds, row_seconds)
    return row_sums(crops.crops, crops.rows, count)


def gather(
    split: Split, files: Sequence[Path], parts: Mapping[str, int], row_seconds: float | None
) -> Sums:
    """Sum up the crops of all tracks."""
    known = len(split.known)
    tracks = [*split.known, *split.known_unknowns]
    count = max(parts.values()) + 1
    sums, counts, rows = [], [], []
    squares: Array | None = None
    with progress_bar() as bar:
        task = bar.add_task("Summing up", total=len(files), note="")
        for place, (track, path) in enumerate(zip(tracks, files, strict=True)):
            crops = TrackCrops.load(path)
            inputs = crops.crops.shape[1]
            if squares is None:
                squares = np.zeros((count, inputs, inputs))
                unknown_sums, unknown_counts = np.zeros((count, inputs)), np.zeros(count, np.int64)
            part = parts[track.id]
            strangers = crops.negatives
            if place < known:
                squares[part] += products(crops.crops)
                some, number = song_sums(crops, row_seconds)
                sums.append(some)
                counts.append(number)
                rows.append(len(number))
            else:
                strangers = np.concatenate([strangers, crops.crops])
            unknown_sums[part] += strangers.sum(0, dtype=np.int64)
            unknown_counts[part] += len(strangers)
            bar.advance(task)
    assert squares is not None, "a catalogue has at least two tracks"
    return Sums(
        Rows(tuple(rows), row_seconds),
        squares,
        np.concatenate(sums),
        np.concatenate(counts),
        unknown_sums,
        unknown_counts,
        np.array([parts[track.id] for track in split.known]),
        tuple(track.id for track in split.known),
    )
