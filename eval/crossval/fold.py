"""One fold: train, render its test clips, and let every system judge the same clips."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from ...support.errors import RunError
from ...training.data.pool import TrainingData
from ...training.data.segments import training_spans
from ...training.data.sounds import split_sounds
from ...training.run import Run
from ...training.trainer import prepare_data, train
from ..baselines.landmarks import LandmarkIndex
from ..predictions import LANDMARKS, PredictionTable, Thresholds
from .comparisons import predict_mfcc
from .encrypted import predict_encrypted
from .networks import predict_networks
from .references import Reference
from .rendering import render_features
from .results import FoldFacts
from .sample import calibration_clips, encrypted_sample, fold_clips


@dataclass(frozen=True)
class Systems:
    """What a fold evaluates, and on which clips.

    Attributes:
        encrypted_clips: how many clips run under real FHE; None for all.
        mfcc: whether the bounty winner's approach runs.
        landmarks: whether the landmark matcher runs.
        catalogue_sizes: of sub-catalogues to reject unknown songs with.
        distortions: whether to test each distortion alone, too.
        cores: numbers of cores to time a query on.
    """

    encrypted_clips: int | None
    mfcc: bool
    landmarks: bool
    catalogue_sizes: tuple[int, ...] = (50, 100)
    distortions: bool = True
    cores: tuple[int, ...] = ()


@dataclass(frozen=True)
class FoldResult:
    """A finished fold.

    Attributes:
        rows: predictions, see `hushtune.eval.predictions`.
        facts: everything else that it measured.
        data: what it trained on, with hidden layers, whose features are still in the cache.
    """

    rows: pd.DataFrame
    facts: FoldFacts
    data: TrainingData | None


def evaluate_fold(
    run: Run,
    references: Sequence[Reference],
    systems: Systems,
    *,
    announce: Callable[[str], None] = print,
) -> FoldResult:
    """Train a fold's run where it is not trained yet, and test it.

    Args:
        run: with its split on file.
        references: of the known tracks.
        systems: what to evaluate.
        announce: called with one-line progress messages.

    Raises:
        RunError: training opened something that is held out for testing.
    """
    config, split = run.config, run.split()
    resumed = run.path("metrics.jsonl").exists()
    started = time.monotonic()
    data = prepare_data(run) if config.network.layers else None
    train(config, run=run, data=data, announce=announce)
    check_for_leaks(run)
    facts = FoldFacts(
        songs=len(split.known),
        resumed=resumed,
        train_seconds=round(time.monotonic() - started, 1),
    )
    clips = fold_clips(config, split, distortions=systems.distortions)
    table = PredictionTable(clips, facts.songs)
    index = run.path("landmarks.npz") if systems.landmarks else None
    if index is not None:
        spans = [training_spans(config, reference.seconds) for reference in references]
        LandmarkIndex.build([each.landmarks for each in references], spans).save(index)
    seen = render_features(run, clips, mfcc=systems.mfcc, index=index, title="Rendering test clips")
    thresholds = predict_networks(run, table, seen.features, systems.catalogue_sizes)
    sample = encrypted_sample(config, clips, split.unknown_class, systems.encrypted_clips)
    if systems.mfcc or index is not None:
        unknown = render_features(
            run,
            calibration_clips(config, split),
            mfcc=systems.mfcc,
            index=index,
            title="Rendering calibration clips",
            validating=True,
        )
    if index is not None:
        mine = Thresholds.of(unknown.landmark_score, config)
        table.add(LANDMARKS, seen.landmark_top, seen.landmark_score, mine)
        facts = facts.model_copy(update={"landmark_seconds": seen.landmark_seconds})
        index.unlink()
    if systems.mfcc:
        costs = predict_mfcc(config, table, references, seen.mfcc, unknown.mfcc, sample)
        facts = facts.model_copy(update={"mfcc_costs": costs})
    if len(sample):
        measured = predict_encrypted(
            run,
            table,
            seen.features,
            sample,
            thresholds,
            data=data,
            cores=systems.cores,
            announce=announce,
        )
        facts = facts.model_copy(update=measured)
    return FoldResult(table.rows, facts, data)


def check_for_leaks(run: Run) -> None:
    """Compare what training opened with what is held out.

    Raises:
        RunError: naming what was opened.
    """
    opened = run.read_json("opened.json")
    test = split_sounds(run.config).test
    held = {
        "tracks": {str(track.path) for track in run.split().unknown_test},
        "noise": set(test.noise.names),
        "impulse_responses": set(test.rooms.names),
    }
    leaks = [name for kind, names in held.items() for name in sorted(names & set(opened[kind]))]
    if leaks:
        raise RunError(
            f"{run.folder}: training opened {len(leaks)} file(s) that are held out for testing, "
            f"the first: {leaks[0]}. Its figures would be worthless; delete the cache and the run."
        )
