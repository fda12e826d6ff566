"""A catalogue that changes: songs are enrolled, removed, or brought up to date without training.

Features, their statistics and the quantization's bits stay as they were settled; everything else is
that of a training anew, because sums over crops are exact. The new state of a run is made beside
the former one and takes its place at once: an interrupted change leaves the former, or is finished
when the run is next changed.
"""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from ...support.errors import CatalogueError, RunError
from ...support.files import write_atomically
from ..calibration import write_decisions
from ..data.catalogue import file_digest, list_tracks, track_of_file
from ..data.checking import check_tracks
from ..data.split import Split
from ..data.track import Track
from ..run import Run, RunFile
from .crops import TrackCrops
from .enrolment import Enrolment
from .fit import fit_linear
from .sums import Sums, gather
from .train import Announce, crop_maker, merge_duplicates, track_files

NEXT = "next"
"""Folder, in a run's, of its new state."""
COMPLETE = "complete"
"""File in it that says that nothing is missing."""
STATE = (
    RunFile.SPLIT,
    RunFile.ROWS,
    RunFile.ENROLMENT,
    RunFile.SUMS,
    RunFile.METRICS,
    RunFile.FLOAT,
    RunFile.QUANTIZED,
    RunFile.CALIBRATION,
    RunFile.DECISION,
)
"""What a change makes anew; the decision's file is moved last."""
SETTLED = (RunFile.CONFIG, RunFile.STATISTICS, RunFile.SELECTED)
"""What stays, and is read to make it."""


@dataclass(frozen=True)
class Changes:
    """How a catalogue differs from what a run has enrolled.

    Attributes:
        new: tracks that the run does not know.
        changed: tracks whose file has another content now.
        retitled: tracks with another title, artist or place, and the same content.
        gone: enrolled songs that the catalogue lists no longer.
    """

    new: tuple[Track, ...]
    changed: tuple[Track, ...]
    retitled: tuple[Track, ...]
    gone: tuple[Track, ...]

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.retitled or self.gone)

    @property
    def text(self) -> str:
        """The same in a few words."""
        counts = {
            "new": self.new,
            "changed": self.changed,
            "with another title or place": self.retitled,
            "gone": self.gone,
        }
        told = [f"{len(some)} {what}" for what, some in counts.items() if some]
        return ", ".join(told) if told else "nothing changed"


def compare(run: Run) -> Changes:
    """Compare a run's catalogue, as it is now, with what the run has enrolled.

    Raises:
        CatalogueError: the catalogue is missing, malformed or empty.
    """
    split, digests = run.split(), Enrolment.load(run).digests
    listed = {track.id: track for track in list_tracks(run.config.catalogue, run.cache)}
    held = {t.id for t in (*split.known_unknowns, *split.unknown_test, *split.merged)}
    known = {track.id: track for track in split.known}
    refused = {one["id"] for one in run.read_json(RunFile.CATALOGUE)["skipped"]}
    new, changed, retitled = [], [], []
    for track in listed.values():
        before = known.get(track.id)
        if before is None:
            if track.id not in held and track.id not in refused:
                new.append(track)
        elif track.path.exists() and file_digest(track.path) != digests[track.id]:
            changed.append(track)
        elif track != replace(before, always_known=track.always_known):
            retitled.append(track)
    enrolled = (*split.known, *split.merged)
    gone = [track for track in enrolled if track.id not in listed and not track.by_hand]
    return Changes(tuple(new), tuple(changed), tuple(retitled), tuple(gone))


def synchronise(run: Run, *, announce: Announce = print) -> Changes:
    """Bring a run up to date with its catalogue; tracks held out of it stay held out.

    New tracks that cannot be used are told, and skipped.

    Raises:
        CatalogueError: the catalogue is missing, or fewer than two songs would be left.
        RunError: the run cannot be changed.
    """
    finish(run)
    _require_linear(run)
    changes = compare(run)
    usable = {track.id for track in _usable(run, (*changes.new, *changes.changed), announce)}
    replaced = {track.id: track for track in (*changes.changed, *changes.retitled)}
    gone = {track.id for track in changes.gone}
    gone |= {track.id for track in changes.changed if track.id not in usable}
    known = [replaced.get(t.id, t) for t in run.split().known if t.id not in gone]
    known += [track for track in changes.new if track.id in usable]
    announce(f"{changes.text}.")
    if changes:
        _change(run, known, announce, {track.id for track in changes.gone})
    return changes


def enrol(run: Run, files: Sequence[Path], *, announce: Announce = print) -> list[Track]:
    """Enrol audio files beside a run's catalogue; title and artist as a folder's.

    Returns:
        The songs that were enrolled; those already there, and files that cannot be used, are told.

    Raises:
        CatalogueError: no file can be used.
        RunError: the run cannot be changed.
    """
    finish(run)
    _require_linear(run)
    split, digests = run.split(), Enrolment.load(run).digests
    there = [*split.known, *split.merged]
    by_digest = {digests[track.id]: track for track in there}
    taken = {t.id for t in (*there, *split.known_unknowns, *split.unknown_test)}
    new: list[Track] = []
    for path in files:
        track = track_of_file(path.absolute())
        twin = by_digest.get(file_digest(path))
        if twin is not None:
            announce(f"{path}: already enrolled, as {twin.id}: {twin.name}.")
            continue
        name, number = track.id, 1
        while track.id in taken:
            number += 1
            track = replace(track, id=f"{name} ({number})")
        taken.add(track.id)
        by_digest[file_digest(path)] = track
        new.append(replace(track, by_hand=True))
    usable = _usable(run, new, announce)
    if not usable and new:
        raise CatalogueError("None of these files can be enrolled; the reasons stand above.")
    if usable:
        _change(run, [*split.known, *usable], announce)
    return usable


def remove(run: Run, ids: Sequence[str], *, announce: Announce = print) -> list[Track]:
    """Remove songs from a run by their ids; their files are left alone.

    Returns:
        The songs that were removed.

    Raises:
        CatalogueError: an id that is not enrolled, or fewer than two songs would be left.
        RunError: the run cannot be changed.
    """
    finish(run)
    _require_linear(run)
    known = run.split().known
    there = {track.id: track for track in (*known, *run.split().merged)}
    if unknown := [one for one in ids if one not in there]:
        near = get_close_matches(unknown[0], list(there), 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise CatalogueError(
            f"{run.folder}: not enrolled: {', '.join(unknown)}.{hint} The ids of all songs stand "
            f"in {run.path(RunFile.SPLIT)}."
        )
    _change(run, [track for track in known if track.id not in set(ids)], announce, set(ids))
    return [there[one] for one in dict.fromkeys(ids)]


def finish(run: Run) -> None:
    """Finish a change that was interrupted, or drop one that was not complete."""
    folder = run.path(NEXT)
    if (folder / COMPLETE).is_file():
        # what says how good the former catalogue was found
        run.path(RunFile.RESULT).unlink(missing_ok=True)
        for name in STATE:
            made = folder / name.value
            if made.exists():
                made.replace(run.path(name))
    shutil.rmtree(folder, ignore_errors=True)


def _change(
    run: Run, known: Sequence[Track], announce: Announce, gone: Collection[str] = ()
) -> None:
    """Give a run other known tracks.

    Args:
        run: to be changed.
        known: its songs from now on; songs merged into one that goes take its place.
        announce: told in a line how many there are.
        gone: ids of tracks that go, merged ones, too.
    """
    kept = {track.id for track in known}
    staying = [track for track in run.split().merged if track.id not in gone]
    freed = [replace(track, same_as="") for track in staying if track.same_as not in kept]
    known = [*known, *freed]
    joined = tuple(track for track in staying if track.same_as in kept)
    if len(known) < 2:
        raise CatalogueError(
            f"{run.folder}: {len(known)} song(s) would be left; at least two are needed."
        )
    former, split = run.split(), replace(run.split(), known=tuple(known), merged=joined)
    settled = Enrolment.load(run)
    tracks = [*split.known, *split.known_unknowns, *split.merged]
    folder = run.path(NEXT)
    folder.mkdir(exist_ok=True)
    new = Run(folder, run.config)
    for name in SETTLED:
        if run.has(name):
            shutil.copy(run.path(name), new.path(name))
    split.save(new.path(RunFile.SPLIT))
    enrolment = settled.with_tracks(tracks)
    enrolment.save(new)
    files = track_files(new)
    totals = _sums(run, former, new, split, settled, enrolment, files)
    split, totals, files = merge_duplicates(new, split, totals, files, announce)
    fit_linear(new, files, enrolment.parts, totals)
    totals.save(new.path(RunFile.SUMS))
    write_decisions(new)
    write_atomically(folder / COMPLETE, b"")
    finish(run)
    announce(f"{run.folder}: {len(split.known)} songs enrolled.")


def _sums(
    run: Run,
    former: Split,
    new: Run,
    split: Split,
    settled: Enrolment,
    enrolment: Enrolment,
    files: Sequence[Path],
) -> Sums:
    """The new sums: from the former ones where what went is still at hand, else from all files."""
    before, make = {track.id: track for track in former.known}, crop_maker(new)
    after = {track.id: path for track, path in zip(split.known, files, strict=False)}
    same = {
        song
        for song in before
        if song in after and settled.digests[song] == enrolment.digests[song]
    }
    went = {song: make.path(settled.digests[song]) for song in before if song not in same}
    row_seconds = run.config.enrolment.row_seconds
    if not run.has(RunFile.SUMS) or not all(path.exists() for path in went.values()):
        return gather(split, files, enrolment.parts, row_seconds)
    return Sums.load(run.path(RunFile.SUMS)).changed(
        [track.id for track in split.known],
        enrolment.parts,
        {song: TrackCrops.load(path) for song, path in after.items() if song not in same},
        ((song, TrackCrops.load(path)) for song, path in went.items()),
    )


def _usable(run: Run, tracks: Sequence[Track], announce: Announce) -> list[Track]:
    """The tracks that can be enrolled; the others are told."""
    if not tracks:
        return []
    lenient = run.config.catalogue.model_copy(update={"strict": False})
    config = run.config.model_copy(update={"catalogue": lenient})
    try:
        found = check_tracks(list(tracks), config, workers=config.training.workers)
    except CatalogueError as error:
        announce(f"Skipped: {error}")
        return []
    for problem in found.problems:
        announce(f"Skipped: {problem.reason}")
    for partly in found.partly:
        announce(partly.reason)
    return found.usable


def _require_linear(run: Run) -> None:
    if run.config.network.layers:
        raise RunError(
            f"{run.folder}: a network with hidden layers cannot be changed; train it anew."
        )
    if not run.trained:
        raise RunError(
            f"{run.folder}: training has not finished. Go on with 'hushtune train {run.folder}'."
        )
