"""The report's schema: typed, documented, validated on reading; ``report.json`` follows it.

Shares lie between 0 and 1; seconds and bytes are named so. `Report.model_json_schema()` gives the
JSON schema, which `hushtune report schema` prints.
"""

from typing import Any, Literal

from ...configs.schema import Settings
from ...support.machine import Machine
from ..bench.size import CostRow
from ..crossval.results import FheCosts
from ..intervals import Interval
from ..predictions import (
    ENCRYPTED,
    FLOAT,
    LANDMARKS,
    MFCC,
    MFCC_ENCRYPTED,
    QUANTIZED,
    SIMULATED,
)

TITLES = {
    FLOAT: "floating-point twin",
    QUANTIZED: "quantized network",
    SIMULATED: "quantized network, FHE simulated",
    ENCRYPTED: "quantized network, real FHE",
    MFCC: "MFCC + logistic regression (clear)",
    MFCC_ENCRYPTED: "MFCC + logistic regression, real FHE",
    LANDMARKS: "landmark hashes (clear)",
}
"""Every system that a report can hold, in order."""


class Spread(Settings):
    """A share in each fold."""

    folds: list[float]
    """One value a fold."""
    mean: float
    deviation: float
    """Standard deviation between folds; 0 of a single one."""


class CurvePoint(Settings):
    """A point of the detection-and-identification curve."""

    false_alarms: float
    identified: float


class Rejection(Settings):
    """How a system tells unknown songs, with every threshold fixed on training folds."""

    correctly_identified: Interval
    """Known clips whose song ranks first and is accepted, at the shipped threshold, which is fixed
    for the config's ``training.false_alarm_rate``: the detection and identification rate there."""
    falsely_rejected: Interval
    """Known clips that are rejected at the shipped threshold."""
    unknown_rejected: Interval
    """Unknown clips that are rejected at it."""
    unknown_accepted: Interval
    """Unknown clips that are accepted at it as one of a song: the false alarms."""
    auroc: Interval
    oscr: Interval
    """Area under the open-set classification rate curve."""
    dir_1: Interval
    """Detection and identification rate at the threshold fixed for 1 % of false alarms."""
    dir_1_false_alarms: Interval
    """False alarms that this threshold gave on the test clips."""
    dir_1_on_test: float
    """DIR where the threshold gives 1 % on the test clips themselves (optimistic)."""
    dir_5_on_test: float


class System(Settings):
    """One system on the clips of one protocol."""

    name: str
    title: str
    clips_known: int
    clips_unknown: int
    top1: Interval
    """Right song first, among known songs."""
    top3: Interval
    top1_folds: Spread
    top3_folds: Spread
    rejection: Rejection | None
    """None where there are no clips of unknown songs."""
    by_snr_db: dict[str, Interval]
    by_seconds: dict[str, Interval]
    by_distortion: dict[str, Interval]
    """Each distortion alone."""
    by_genre: dict[str, Interval]
    """Genre, or source where the catalogue gives that."""
    curve: list[CurvePoint]
    track_top1: dict[str, float]
    """Top-1 of every known track, by id."""


class SubCatalogue(Settings):
    """Rejection with fewer enrolled songs: the other songs' logits are dropped, not retrained."""

    system: str
    songs: int
    top1: Interval
    rejection: Rejection


class Agreement(Settings):
    """Real FHE (or its simulation) against the quantized network on the same clips."""

    system: str
    clips: int
    same_answer: Interval
    """Same song or both unknown."""
    top1: Interval | None
    top1_quantized: Interval | None
    """Of the quantized network on the very clips."""


class WorstTrack(Settings):
    """A track that is often missed."""

    id: str
    name: str
    top1: float
    taken_for: str
    """The song named most often instead."""
    reasons: list[str]


class ProtocolResult(Settings):
    """One protocol."""

    name: Literal["conditions", "segments", "halves", "trained"]
    folds: int
    known_tracks: int
    unknown_tracks: int
    systems: list[System]
    sub_catalogues: list[SubCatalogue]
    agreements: list[Agreement]
    fhe_costs: FheCosts | None
    mfcc_costs: FheCosts | None
    """Of the MFCC baseline, a clip with all its windows, likewise in real FHE."""
    landmark_seconds: float | None
    """Of the landmark matcher, a clip, in the clear."""
    worst_tracks: list[WorstTrack]
    train_seconds: list[float]
    """Of each fold that was not interrupted; the first ones also render what all share."""
    fold_seconds: list[float]
    """Everything of such a fold."""


class Duplicate(Settings):
    """Two known tracks that share much of their sound."""

    first: str
    second: str
    share: float
    """Of the landmarks of the track with fewer."""


class Report(Settings):
    """An evaluation."""

    format: Literal["hushtune-report/2"]
    name: str
    created: str
    """Date and time of the report, ISO 8601."""
    command: str
    machine: Machine
    versions: dict[str, str]
    seed: int
    config: dict[str, Any]
    """All settings; of paths only the last part."""
    training: str
    """The training budget of each fold, in words."""
    protocols: list[ProtocolResult]
    costs: list[CostRow]
    """Against catalogue size and cores, with random weights."""
    duplicates: list[Duplicate]
    skipped_tracks: int
    """Tracks of the catalogue that could not be used (each named in the run's folder)."""
