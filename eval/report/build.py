"""From finished folds to a report: every figure with its interval."""

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...configs.schema import Config
from ...support.errors import RunError
from ...support.files import write_atomically
from ...support.machine import this_machine
from ...training.data.split import Split
from ...training.run import Run
from ..arrays import Floats, Ints
from ..baselines.landmarks import LandmarkIndex, near_duplicates
from ..bench.size import CostRow
from ..crossval.crossvalidation import Plan, Protocol
from ..crossval.references import Reference, prepare_references
from ..crossval.results import FheCosts, FoldFacts, predictions_file, read_facts
from ..intervals import Interval, curve_over_tracks, share_over_tracks, wilson
from ..metrics import auroc, dir_at, hits, oscr
from ..predictions import (
    ENCRYPTED,
    MFCC,
    MFCC_ENCRYPTED,
    QUANTIZED,
    SIMULATED,
    STRICT_RATE,
    read_predictions,
)
from .schema import (
    TITLES,
    Agreement,
    CurvePoint,
    Duplicate,
    ProtocolResult,
    Rejection,
    Report,
    Spread,
    SubCatalogue,
    System,
)
from .worst import DUPLICATE_SHARE, worst_tracks

VERSIONED = ("hushtune", "concrete-ml", "concrete-python", "torch", "brevitas", "scikit-learn")
CURVE_RATES = np.geomspace(0.001, 1.0, 61)
MIN_GENRE_CLIPS = 50


def make_report(plan: Plan, costs: Sequence[CostRow], command: str) -> Report:
    """Put all finished folds of a plan together.

    Args:
        plan: whose folds are all finished.
        costs: of `hushtune.eval.bench.size.measure_costs`, or none.
        command: that made the evaluation.

    Raises:
        RunError: a fold is missing or damaged.
    """
    run = Run(plan.config.runs / plan.config.name, plan.config)
    split = run.split()
    first = plan.fold_names()[0][1]
    references = prepare_references(split.known, first, run.cache)
    index = LandmarkIndex.build([reference.landmarks for reference in references])
    protocols = []
    for protocol in plan.protocols:
        names = [name for name, _ in plan.fold_names() if name.startswith(f"{protocol}-")]
        files = [plan.fold_file(name) for name in names]
        facts = [read_facts(path) for path in files]
        rows = read_predictions(map(predictions_file, files))
        protocols.append(_protocol(protocol, rows, facts, split, references, index))
    return Report(
        format="hushtune-report/2",
        name=plan.config.name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        machine=this_machine(),
        versions={name: version(name) for name in VERSIONED},
        seed=plan.config.seed,
        config=_without_paths(plan.config.model_dump(exclude={"runs"})),
        training=_budget(plan.config),
        protocols=protocols,
        costs=list(costs),
        duplicates=_duplicates(split, references, index),
        skipped_tracks=len(run.read_json("catalogue.json")["skipped"]),
    )


def write_json(report: Report, folder: Path) -> Path:
    """Write ``report.json``; its path."""
    path = folder / "report.json"
    write_atomically(path, (report.model_dump_json(indent=1) + "\n").encode())
    return path


def read_report(path: Path) -> Report:
    """Read a report, from its file or the folder it lies in.

    Raises:
        RunError: missing, not JSON, or of another schema.
    """
    if path.is_dir():
        path = path / "report.json"
    try:
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RunError(
            f"{path}: no report can be read here ({error.strerror}). "
            "Give the folder or report.json that 'hushtune evaluate' wrote."
        ) from error
    except ValueError as error:
        first = str(error).splitlines()
        raise RunError(
            f"{path}: not a report of this version of Hushtune ({'; '.join(first[1:3]) or first[0]}"
            "). Make it again with 'hushtune evaluate'."
        ) from error


def _without_paths(value: Any) -> Any:
    """Settings with the last part alone of every path."""
    if isinstance(value, dict):
        return {key: _without_paths(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_without_paths(part) for part in value]
    return value.name if isinstance(value, Path) else value


def _budget(config: Config) -> str:
    t = config.training
    twin = (
        f"{t.float_steps:,} steps of the floating-point twin"
        if config.network.layers
        else "the floating-point twin in closed form"
    )
    return (
        f"{twin} and {t.quantized_steps:,} steps of the quantized network, {t.batch_size} clips "
        f"each, from {t.examples:,} training images of {t.views} renderings a track"
    )


def _protocol(
    name: Protocol,
    rows: pd.DataFrame,
    facts: list[FoldFacts],
    split: Split,
    references: Sequence[Reference],
    index: LandmarkIndex,
) -> ProtocolResult:
    tracks = [*split.known, *split.unknown_test]
    numbers = {track.id: number for number, track in enumerate(tracks)}
    genres = dict(enumerate(track.genre for track in tracks))
    rows = rows.assign(track_id=rows["track"], track=rows["track"].map(numbers))
    rows["genre"] = rows["track"].map(genres)
    whole = rows["songs"] == len(split.known)
    judged = {str(name): clips for name, clips in rows[whole].groupby("system", sort=False)}
    sub = rows[~whole].groupby(["system", "songs"])
    compute = [seconds for fold in facts for seconds in fold.fhe_compute_seconds]
    fhe = FheCosts.of_folds([fold.fhe_costs for fold in facts if fold.fhe_costs])
    landmark_seconds = [f.landmark_seconds for f in facts if f.landmark_seconds is not None]
    straight = [fold for fold in facts if not fold.resumed]
    return ProtocolResult(
        name=name,
        folds=len(facts),
        known_tracks=len(split.known),
        unknown_tracks=len(split.unknown_test),
        systems=[_system(system, judged[system]) for system in TITLES if system in judged],
        sub_catalogues=[
            SubCatalogue(
                system=str(system),
                songs=int(str(size)),
                top1=_over_tracks(clips)["top1"],
                rejection=_open(clips),
            )
            for (system, size), clips in sub
        ],
        agreements=_agreements(judged),
        fhe_costs=fhe and fhe.model_copy(update={"compute_seconds": float(np.median(compute))}),
        mfcc_costs=FheCosts.of_folds([fold.mfcc_costs for fold in facts if fold.mfcc_costs]),
        landmark_seconds=float(np.median(landmark_seconds)) if landmark_seconds else None,
        worst_tracks=worst_tracks(judged[QUANTIZED], split, references, index),
        train_seconds=[fold.train_seconds for fold in straight],
        fold_seconds=[fold.seconds for fold in straight],
    )


def _system(name: str, clips: pd.DataFrame) -> System:
    main = clips[clips["main"]]
    known = main[main["known"]]
    beside = clips[clips["known"] & ~clips["main"]]
    unknown = len(main) - len(known)
    open_set = bool(len(known) and unknown)
    by_genre = known[known["genre"] != ""].groupby("genre", sort=False)
    genres = by_genre.size().sort_values(ascending=False, kind="stable")
    shares = _over_tracks(main)
    return System(
        name=name,
        title=TITLES[name],
        clips_known=len(known),
        clips_unknown=unknown,
        top1=shares["top1"],
        top3=shares["top3"],
        top1_folds=_spread(known, "correct"),
        top3_folds=_spread(known, "in_top3"),
        rejection=_open(main) if open_set else None,
        by_snr_db=_top1_by(known, "snr_db"),
        by_seconds=_top1_by(beside[beside["seconds"].notna()], "seconds"),
        by_distortion=_top1_by(beside[beside["seconds"].isna()], "distortion"),
        by_genre={
            str(genre): _share(by_genre.get_group(genre)["correct"], known)
            for genre, count in genres.items()
            if count >= MIN_GENRE_CLIPS
        },
        curve=_curve(main) if open_set else [],
        track_top1={
            str(track): float(share)
            for track, share in known.groupby("track_id")["correct"].mean().items()
        },
    )


def _share(clip_hits: "pd.Series[bool]", clips: pd.DataFrame) -> Any:
    """The share of hits with its interval over the tracks of these clips; None without hits."""
    tracks = clips.loc[clip_hits.index, "track"].to_numpy()
    return share_over_tracks(clip_hits.to_numpy(), tracks)


def _over_tracks(clips: pd.DataFrame) -> dict[str, Any]:
    """Every rate of `metrics.hits` with its interval."""
    return {name: _share(clip_hits, clips) for name, clip_hits in hits(clips).items()}


def _top1_by(clips: pd.DataFrame, column: str) -> dict[str, Any]:
    return {_name(value): _share(group["correct"], clips) for value, group in clips.groupby(column)}


def _name(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _spread(clips: pd.DataFrame, column: str) -> Spread:
    values = clips.groupby("fold")[column].mean()
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Spread(folds=values.tolist(), mean=float(values.mean()), deviation=deviation)


def _open(clips: pd.DataFrame) -> Rejection:
    known, tracks = clips["known"].to_numpy(), clips["track"].to_numpy()
    folds, score = clips["fold"].to_numpy(), clips["score"].to_numpy()
    correct = clips["correct"].to_numpy()

    def area(measure: Callable[[Any], float]) -> Interval:
        """Of each fold by itself: scores of different networks do not compare."""

        def mean(places: Ints) -> float:
            each = [places[folds[places] == fold] for fold in np.unique(folds[places])]
            mixed = [mine for mine in each if known[mine].any() and not known[mine].all()]
            return float(np.mean([measure(mine) for mine in mixed]))

        return curve_over_tracks(mean, np.where(known, tracks, -1), np.where(known, -1, tracks))

    dir_1, dir_5 = _dir_on_test(clips, np.array([STRICT_RATE, 0.05]))
    shares = _over_tracks(clips)
    return Rejection(
        **{name: share for name, share in shares.items() if name in Rejection.model_fields},
        auroc=area(lambda mine: auroc(score[mine], ~known[mine])),
        oscr=area(lambda mine: oscr(correct[mine], score[mine], ~known[mine])),
        dir_1_on_test=float(dir_1),
        dir_5_on_test=float(dir_5),
    )


def _dir_on_test(clips: pd.DataFrame, rates: Floats) -> Floats:
    """DIR at rates of false alarms on these very clips, a mean over folds: float [rates]."""
    values = []
    for _, mine in clips.groupby("fold"):
        correct, score, known = (mine[name].to_numpy() for name in ("correct", "score", "known"))
        if known.any() and not known.all():
            values.append(dir_at(correct, score, ~known, rates))
    return np.asarray(np.mean(values, axis=0))


def _curve(clips: pd.DataFrame) -> list[CurvePoint]:
    identified = _dir_on_test(clips, CURVE_RATES)
    return [
        CurvePoint(false_alarms=float(rate), identified=float(value))
        for rate, value in zip(CURVE_RATES, identified, strict=True)
    ]


def _agreements(judged: dict[str, pd.DataFrame]) -> list[Agreement]:
    """Real FHE and its simulation against the clear model they run, clip by clip."""
    result = []
    for name, clear in ((ENCRYPTED, QUANTIZED), (SIMULATED, QUANTIZED), (MFCC_ENCRYPTED, MFCC)):
        if name not in judged:
            continue
        pairs = judged[name].merge(judged[clear], on=["fold", "clip"], suffixes=("", "_clear"))
        same = int((pairs["answer"] == pairs["answer_clear"]).sum())
        known = pairs[pairs["known"]]
        result.append(
            Agreement(
                system=name,
                clips=len(pairs),
                same_answer=wilson(same, len(pairs)),
                top1=_share(known["correct"], pairs),
                top1_quantized=_share(known["correct_clear"], pairs),
            )
        )
    return result


def _duplicates(
    split: Split, references: Sequence[Reference], index: LandmarkIndex
) -> list[Duplicate]:
    marks = [reference.landmarks for reference in references]
    return [
        Duplicate(first=split.known[i].name, second=split.known[j].name, share=share)
        for i, j, share in near_duplicates(marks, index, DUPLICATE_SHARE)
    ]
