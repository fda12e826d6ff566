"""The tracks that the quantized network misses most, and what may be the reason."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ...training.data.split import Split
from ..baselines.landmarks import LandmarkIndex
from ..crossval.references import Reference
from .schema import WorstTrack

WORST = 15
DUPLICATE_SHARE = 0.1
SILENT_SHARE = 0.2
SPARSE = 0.5
"""A track with fewer landmarks than this share of the median has little to hold on to."""


def worst_tracks(
    clips: pd.DataFrame, split: Split, references: Sequence[Reference], index: LandmarkIndex
) -> list[WorstTrack]:
    """The tracks with the lowest top-1, without those that are never missed.

    Args:
        clips: the quantized network's predictions, `track` as places in the split.
        split: of the catalogue.
        references: of the known tracks.
        index: of their landmarks.
    """
    mine = clips[clips["main"] & clips["known"]]
    shares = mine.groupby("track")["correct"].mean().sort_values(kind="stable")
    typical = float(np.median([len(r.landmarks) / r.seconds for r in references]))
    result = []
    worst = shares[shares < 1].head(WORST)
    for track, share in zip(worst.index.tolist(), worst.tolist(), strict=True):
        wrong = mine[(mine["track"] == track) & ~mine["correct"]]
        counts = wrong["first"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
        other, times = int(counts.index[0]), int(counts.iloc[0])
        here, there, reference = split.known[track], split.known[other], references[track]
        reasons = []
        marks = reference.landmarks
        common = index.match(marks)[other] / max(1, len(marks))
        if common >= DUPLICATE_SHARE:
            reasons.append(f"shares {common:.0%} of its landmarks with it")
        if here.artist and here.artist == there.artist and times > len(wrong) / 3:
            reasons.append("taken for another piece of the same artist")
        if reference.silent_share > SILENT_SHARE:
            reasons.append(f"{reference.silent_share:.0%} of it nearly silent")
        if len(marks) / reference.seconds < SPARSE * typical:
            reasons.append("sparse: few spectral peaks")
        quiet = wrong["snr_db"].min()
        if (wrong["snr_db"] == quiet).mean() > 0.6:
            reasons.append(f"mostly missed at {quiet:g} dB")
        result.append(
            WorstTrack(
                id=here.id,
                name=here.name,
                top1=share,
                taken_for=f"{there.name} ({times} of {len(wrong)} misses)",
                reasons=reasons,
            )
        )
    return result
