"""Training a network without hidden layers: from a split to a calibrated run."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...model.quantizers import input_scale
from ...support.parallel import parallel_map, release_workers
from ...support.seeds import Stream
from ..data.pool import prepare_noise
from ..data.sounds import split_sounds
from ..data.views import Opened
from ..run import Run, RunFile
from .crops import CropMaker, TrackCrops
from .enrolment import Enrolment
from .fit import fit_linear
from .sample import choose_features
from .sums import gather


def train_linear(run: Run) -> None:
    """Everything but the decision's file, which says that a run is trained."""
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
    fit_linear(run, files, parts, totals)
    if config.fold is None:  # a fold's catalogue never changes
        totals.save(run.path(RunFile.SUMS))


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
