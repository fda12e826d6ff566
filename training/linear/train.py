"""Training a network without hidden layers: from a split to a calibrated run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...model.quantizers import input_scale
from ...support.errors import CatalogueError
from ...support.parallel import parallel_map, release_workers
from ...support.seeds import Stream
from ..data.pool import prepare_noise
from ..data.sounds import split_sounds
from ..data.split import Split
from ..data.views import Opened
from ..run import Run, RunFile
from .crops import CropMaker, TrackCrops
from .duplicates import Recordings, merged
from .enrolment import Enrolment
from .fit import fit_linear
from .sample import choose_features
from .sums import Sums, gather

Announce = Callable[[str], None]
SHOWN = 5
"""Songs that are named at once."""


def train_linear(run: Run, announce: Announce = print) -> None:
    """Everything but the decision's file, which says that a run is trained.

    Raises:
        CatalogueError: the same recording twice, where ``enrolment.duplicates`` is ``error``.
    """
    config, split = run.config, run.split()
    opened = Opened()
    opened.add(prepare_noise(config, run.cache).to_json())
    choose_features(run)
    tracks = [*split.known, *split.known_unknowns]
    if not run.has(RunFile.ENROLMENT):
        Enrolment.of_tracks(tracks, len(split.known), config.training.decision_clips).save(run)
    files = track_files(run)
    for path in files:
        opened.add(TrackCrops.load(path).opened)
    sounds = split_sounds(config).calibrating
    opened.add({"noise": sounds.noise.names, "impulse_responses": sounds.rooms.names})
    opened.add({"tracks": [str(track.path) for track in tracks]})
    run.write_json(RunFile.OPENED, opened.to_json())
    release_workers()
    parts = Enrolment.load(run).parts
    totals = gather(split, files, parts, config.enrolment.row_seconds)
    split, totals, files = merge_duplicates(run, split, totals, files, announce)
    fit_linear(run, files, parts, totals)
    if config.fold is None:  # a fold's catalogue never changes
        totals.save(run.path(RunFile.SUMS))


def merge_duplicates(
    run: Run, split: Split, totals: Sums, files: list[Path], announce: Announce
) -> tuple[Split, Sums, list[Path]]:
    """Do with songs that are the same recording what the run's configuration says.

    Args:
        run: whose split is written anew where songs are merged.
        split: as it was made.
        totals: over its known tracks.
        files: of them, then of the known unknowns.
        announce: told in one line what was found.

    Returns:
        The same without the songs that were merged into others.

    Raises:
        CatalogueError: some are, and they are to be an error.
    """
    wish = run.config.enrolment.duplicates
    # the folds of a cross-validation share their songs
    if wish == "keep" or run.config.fold is not None:
        return split, totals, files
    weights = totals.weights(run.config.training.shrinkage)
    doubles = merged(split.known, Recordings(totals, weights).pairs(), totals)
    if not doubles:
        return split, totals, files
    names = {track.id: track.name for track in split.known}
    told = [f"{track.name} ({track.path}): {names[track.same_as]}" for track in doubles]
    if wish == "error":
        raise CatalogueError("The same recordings as others:\n" + "\n".join(told))
    if len(split.known) - len(doubles) < 2:
        raise CatalogueError(
            "Fewer than two songs are left when the same recordings are merged:\n" + "\n".join(told)
        )
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    announce(f"{len(told)} songs merged into the same recordings: {'; '.join(told[:SHOWN])}{more}.")
    gone = {track.id for track in doubles}
    going = [
        (track.id, TrackCrops.load(path))
        for track, path in zip(split.known, files, strict=False)
        if track.id in gone
    ]
    known = tuple(track for track in split.known if track.id not in gone)
    tracks = [*split.known, *split.known_unknowns]
    left = [path for track, path in zip(tracks, files, strict=True) if track.id not in gone]
    parts = {track.id: int(p) for track, p in zip(split.known, totals.part_of_song, strict=True)}
    totals = totals.changed([track.id for track in known], parts, {}, going)
    into = {track.id: track.same_as for track in doubles}
    earlier = [replace(t, same_as=into.get(t.same_as, t.same_as)) for t in split.merged]
    split = replace(split, known=known, merged=(*earlier, *doubles))
    split.save(run.path(RunFile.SPLIT))
    return split, totals, left


def crop_maker(run: Run) -> CropMaker:
    """What makes the files of a run's tracks."""
    front_end = run.front_end()
    assert front_end.statistics is not None, "a run's front end knows them"
    settled = Enrolment.load(run)
    return CropMaker(
        run.config,
        run.cache,
        front_end.statistics,
        front_end.selected,
        settled.clips,
        settled.share,
    )


def track_files(run: Run, *, title: str = "Enrolling songs") -> list[Path]:
    """The files of a run's known tracks, then of its known unknowns; made where missing."""
    split, make = run.split(), crop_maker(run)
    tracks = [*split.known, *split.known_unknowns]
    known = Enrolment.load(run).digests
    files = [make.path(known[track.id]) for track in tracks]
    missing = [track for track, path in zip(tracks, files, strict=True) if not path.exists()]
    if missing:
        parallel_map(make, missing, title=title, workers=run.config.training.workers)
    return files


def remove_track_files(run: Run) -> None:
    """Delete the files of a run's tracks from the cache."""
    for path in track_files(run):
        path.unlink(missing_ok=True)


def linear_examples(run: Run, count: int) -> Tensor:
    """Features as training saw them, drawn evenly from all crops: float [count, inputs, 1, 1]."""
    files = track_files(run)
    rng = np.random.default_rng([run.config.seed, Stream.COMPILER_INPUTS])
    of_each = rng.multinomial(count, np.full(len(files), 1 / len(files)))
    parts = []
    for path, wanted in zip(files, of_each.tolist(), strict=True):
        if wanted:
            crops = TrackCrops.load(path).crops
            parts.append(crops[rng.integers(len(crops), size=wanted)])
    values = np.concatenate(parts).astype(np.float32) * input_scale(run.config.network.input_bits)
    shape = run.front_end().feature_shape
    return torch.from_numpy(values).reshape(-1, *shape)
