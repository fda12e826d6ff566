"""What the baselines predict of a fold's clips."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from ...configs.schema import Config
from ...support.seeds import Stream
from ..baselines.mfcc import MfccVote
from ..predictions import MFCC, MFCC_ENCRYPTED, PredictionTable, Thresholds
from .references import Reference
from .results import FheCosts

COMPILE_ROWS = 500
"""Windows from which Concrete learns the ranges of values."""


def predict_mfcc(
    config: Config,
    table: PredictionTable,
    references: Sequence[Reference],
    clips: list[NDArray[np.float32]],
    unknown: list[NDArray[np.float32]],
    sample: NDArray[np.int64],
) -> FheCosts | None:
    """Add the bounty winner's approach, in the clear on all clips and in real FHE on a sample.

    Args:
        config: of the fold.
        table: the predictions go here.
        references: of the enrolled tracks.
        clips: MFCC windows of the table's clips, float32 [windows, 20] each.
        unknown: those of unknown clips to set the threshold by.
        sample: places of the clips to run in real FHE, int [n].

    Returns:
        Costs of a clip in real FHE; None where the sample is empty.
    """
    rows = [reference.rows(config) for reference in references]
    features = np.concatenate(rows)
    labels = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
    model = MfccVote().fit(features, labels)
    thresholds = Thresholds.of(model.judge(unknown)[1], config)
    table.add(MFCC, *model.judge(clips), thresholds)
    if not len(sample):
        return None
    rng = np.random.default_rng([config.seed, Stream.MFCC_COMPILER_INPUTS])
    shown = rng.choice(len(features), min(COMPILE_ROWS, len(features)), replace=False)
    model.compile(features[shown])
    encrypted = model.judge_encrypted([clips[place] for place in sample])
    table.add(MFCC_ENCRYPTED, encrypted.top, encrypted.score, thresholds, places=sample)
    return FheCosts(
        clips=len(sample),
        pbs=0,
        key_seconds=encrypted.key_seconds,
        evaluation_key_bytes=encrypted.evaluation_key_bytes,
        **asdict(encrypted.costs),
    )
