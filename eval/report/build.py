"""From finished folds to a report: every figure with its interval, ready to be read or compared."""

import platform
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ...configs.schema import Config
from ...support.errors import RunError
from ...support.files import write_atomically
from ...training.data.split import Split
from ...training.run import Run
from ..baselines.landmarks import LandmarkIndex, near_duplicates
from ..bench.cost import CostRow
from ..crossval.crossvalidation import Plan, cores
from ..crossval.fold import (
    ENCRYPTED,
    FLOAT,
    LANDMARKS,
    MFCC,
    MFCC_ENCRYPTED,
    QUANTIZED,
    SIMULATED,
)
from ..crossval.references import Reference, prepare_references
from ..crossval.results import (
    STRICT_RATE,
    Clips,
    Fold,
    dir_curve,
    dir_on_test,
    per_fold,
    system_clips,
)
from ..intervals import (
    Interval,
    auroc,
    curve_over_tracks,
    oscr,
    share_over_tracks,
    wilson,
)
from .schema import (
    Agreement,
    CurvePoint,
    Duplicate,
    FheCosts,
    Machine,
    ProtocolResult,
    Rejection,
    Report,
    Spread,
    SubCatalogue,
    System,
    WorstTrack,
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
VERSIONED = ("hushtune", "concrete-ml", "concrete-python", "torch", "brevitas", "scikit-learn")
CURVE_RATES = np.geomspace(0.001, 1.0, 61)
WORST = 15
DUPLICATE_SHARE = 0.1
SILENT_SHARE = 0.2
SPARSE = 0.5
"""A track with fewer landmarks than this share of the median has little to hold on to."""
MIN_GENRE_CLIPS = 50


def make_report(plan: Plan, costs: Sequence[CostRow], command: str) -> Report:
    """Put all finished folds of a plan together.

    Args:
        plan: whose folds are all finished.
        costs: of `hushtune.eval.bench.cost.measure_costs`, or none.
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
        folds = [Fold.load(plan.fold_file(name), n) for n, name in enumerate(names)]
        protocols.append(_protocol(protocol, folds, split, references, index))
    return Report(
        format="hushtune-report/1",
        name=plan.config.name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        machine=machine(),
        versions={name: version(name) for name in VERSIONED},
        seed=plan.config.seed,
        config=_without_paths(plan.config),
        training=_budget(plan.config),
        protocols=protocols,
        costs=list(costs),
        duplicates=_duplicates(split, references, index),
        skipped_tracks=len(run.read_json("catalogue.json")["skipped"]),
    )


def machine() -> Machine:
    """This machine."""
    processor = platform.processor() or platform.machine()
    memory = 0
    for path, key in (("/proc/cpuinfo", "model name"), ("/proc/meminfo", "MemTotal")):
        try:
            lines = Path(path).read_text("utf-8").splitlines()
        except OSError:
            continue
        value = next((line.split(":", 1)[1].strip() for line in lines if key in line), "")
        if key == "MemTotal":
            memory = 1024 * int(value.split()[0] or 0)
        else:
            processor = value or processor
    return Machine(
        processor=processor,
        cores=cores(),
        memory_bytes=memory,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
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
            "). Make it anew with 'hushtune evaluate'."
        ) from error


def _without_paths(config: Config) -> dict:
    """The settings, with no path of this machine in them."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items()}
        if isinstance(value, tuple | list):
            return [plain(part) for part in value]
        return value.name if isinstance(value, Path) else value

    return plain(config.model_dump(exclude={"runs"}))


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
    name: str,
    folds: list[Fold],
    split: Split,
    references: Sequence[Reference],
    index: LandmarkIndex,
) -> ProtocolResult:
    tracks = [*split.known, *split.unknown_test]
    ids, genres = [track.id for track in tracks], np.array([track.genre for track in tracks])
    judged = {
        system: clips
        for system in TITLES
        if (clips := system_clips(folds, system, ids, len(split.known))) is not None
    }
    systems = [_system(system, clips, ids, genres) for system, clips in judged.items()]
    sizes = sorted(
        {
            (system, int(size))
            for fold in folds
            for key in fold.arrays
            if "@" in key
            for system, size in [key.split(":")[0].split("@")]
        }
    )
    smaller = []
    for system, size in sizes:
        clips = system_clips(folds, f"{system}@{size}", ids, len(split.known))
        top1 = share_over_tracks(clips.first[clips.known], clips.track[clips.known])
        smaller.append(
            SubCatalogue(system=system, songs=size, top1=top1, rejection=_rejection(clips))
        )
    return ProtocolResult(
        name=name,
        folds=len(folds),
        known_tracks=len(split.known),
        unknown_tracks=len(split.unknown_test),
        systems=systems,
        sub_catalogues=smaller,
        agreements=_agreements(judged),
        fhe_costs=_costs(folds, "fhe_costs", "fhe_compute_seconds"),
        mfcc_costs=_costs(folds, "mfcc_costs", None),
        landmark_seconds=_median(folds, "landmark_seconds_a_clip"),
        worst_tracks=_worst(judged[QUANTIZED], split, references, index),
        train_seconds=[f.facts["train_seconds"] for f in folds if not f.facts["resumed"]],
        fold_seconds=[f.facts["seconds"] for f in folds if not f.facts["resumed"]],
    )


def _system(name: str, clips: Clips, ids: list[str], genres: np.ndarray) -> System:
    main = clips.where(clips.main)
    known = main.where(main.known)
    beside = clips.where(clips.known & ~clips.main)
    lengths = beside.where(~np.isnan(beside.seconds))
    alone = beside.where(np.isnan(beside.seconds))
    unknowns = int((~main.known).sum())
    by_track = {
        ids[track]: float(known.first[known.track == track].mean())
        for track in np.unique(known.track)
    }
    genre = genres[known.track]
    counted = Counter(genre.tolist())
    return System(
        name=name,
        title=TITLES[name],
        clips_known=len(known.label),
        clips_unknown=unknowns,
        top1=share_over_tracks(known.first, known.track),
        top3=share_over_tracks(known.third, known.track),
        top1_folds=_spread(per_fold(known, lambda c: float(c.first.mean()))),
        top3_folds=_spread(per_fold(known, lambda c: float(c.third.mean()))),
        rejection=_rejection(main) if unknowns and len(known.label) else None,
        by_snr_db={f"{v:g}": _top1(known, known.snr_db == v) for v in np.unique(known.snr_db)},
        by_seconds={
            f"{v:g}": _top1(lengths, lengths.seconds == v) for v in np.unique(lengths.seconds)
        },
        by_distortion={
            str(v): _top1(alone, alone.distortion == v) for v in np.unique(alone.distortion)
        },
        by_genre={
            str(v): _top1(known, genre == v)
            for v, count in counted.most_common()
            if v and count >= MIN_GENRE_CLIPS
        },
        curve=_curve(main) if unknowns and len(known.label) else [],
        track_top1=by_track,
    )


def _top1(clips: Clips, chosen: np.ndarray) -> Interval:
    return share_over_tracks(clips.first[chosen], clips.track[chosen])


def _spread(values: list[float]) -> Spread:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Spread(folds=values, mean=float(np.mean(values)), deviation=deviation)


def _rejection(clips: Clips) -> Rejection:
    known, tracks = clips.known, clips.track

    def over_known(hits: np.ndarray) -> Interval:
        return share_over_tracks(hits[known], tracks[known])

    def over_unknown(hits: np.ndarray) -> Interval:
        return share_over_tracks(hits[~known], tracks[~known])

    def area(measure) -> Interval:
        """Of each fold by itself: scores of different networks do not compare."""

        def mean(places: np.ndarray) -> float:
            folds = clips.fold[places]
            values = []
            for fold in np.unique(folds):
                mine = places[folds == fold]
                if known[mine].any() and not known[mine].all():
                    values.append(measure(clips.where(mine)))
            return float(np.mean(values))

        return curve_over_tracks(mean, np.where(known, tracks, -1), np.where(known, -1, tracks))

    shipped, strict = clips.accepted(clips.shipped_rate), clips.accepted(STRICT_RATE)
    return Rejection(
        found_and_accepted=over_known(clips.first & shipped),
        known_lost=over_known(~shipped),
        unknown_rejected=over_unknown(~shipped),
        unknown_accepted=over_unknown(shipped),
        auroc=area(lambda c: auroc(c.score, ~c.known)),
        oscr=area(lambda c: oscr(c.first, c.score, ~c.known)),
        dir_1=over_known(clips.first & strict),
        alarms_1=over_unknown(strict),
        dir_1_on_test=dir_on_test(clips, STRICT_RATE),
        dir_5_on_test=dir_on_test(clips, 0.05),
    )


def _curve(clips: Clips) -> list[CurvePoint]:
    found = dir_curve(clips, CURVE_RATES)
    return [
        CurvePoint(false_alarms=float(rate), found=float(value))
        for rate, value in zip(CURVE_RATES, found, strict=True)
    ]


def _agreements(judged: dict[str, Clips]) -> list[Agreement]:
    """Real FHE and its simulation against the clear model they run, clip by clip."""
    result = []
    for name, clear in ((ENCRYPTED, QUANTIZED), (SIMULATED, QUANTIZED), (MFCC_ENCRYPTED, MFCC)):
        if name not in judged:
            continue
        mine = judged[name]
        reference = judged[clear].like(mine)
        same = mine.answers == reference.answers
        known = mine.known
        result.append(
            Agreement(
                system=name,
                clips=len(same),
                same_answer=wilson(int(same.sum()), len(same)),
                top1=share_over_tracks(mine.first[known], mine.track[known]),
                top1_quantized=share_over_tracks(reference.first[known], mine.track[known]),
            )
        )
    return result


def _costs(folds: list[Fold], key: str, seconds: str | None) -> FheCosts | None:
    facts = [fold.facts for fold in folds if fold.facts.get(key)]
    if not facts:
        return None

    def median(name: str) -> float:
        return float(np.median([fact[key][name] for fact in facts]))

    compute = [value for fact in facts for value in fact[seconds]] if seconds else []
    clips = sum(len(f.arrays[f"{MFCC_ENCRYPTED}:clips"]) for f in folds) if not seconds else 0
    return FheCosts(
        clips=len(compute) or clips,
        pbs=int(facts[0][key].get("pbs", 0)),
        key_seconds=median("key_seconds"),
        encrypt_seconds=median("encrypt_seconds"),
        compute_seconds=float(np.median(compute)) if compute else median("compute_seconds"),
        decrypt_seconds=median("decrypt_seconds"),
        query_bytes=round(median("query_bytes")),
        response_bytes=round(median("response_bytes")),
        evaluation_key_bytes=round(median("evaluation_key_bytes")),
    )


def _median(folds: list[Fold], key: str) -> float | None:
    values = [fold.facts[key] for fold in folds if key in fold.facts]
    return float(np.median(values)) if values else None


def _duplicates(
    split: Split, references: Sequence[Reference], index: LandmarkIndex
) -> list[Duplicate]:
    marks = [reference.landmarks for reference in references]
    pairs = near_duplicates(marks, index, DUPLICATE_SHARE)
    return [
        Duplicate(first=split.known[i].name, second=split.known[j].name, share=share)
        for i, j, share in pairs
    ]


def _worst(
    clips: Clips, split: Split, references: Sequence[Reference], index: LandmarkIndex
) -> list[WorstTrack]:
    """The tracks the quantized network misses most, and what may be the reason."""
    mine = clips.where(clips.main & clips.known)
    shares = {track: mine.first[mine.track == track].mean() for track in np.unique(mine.track)}
    typical = np.median([len(r.landmarks) / r.seconds for r in references])
    result = []
    for track in sorted(shares, key=lambda t: (shares[t], t))[:WORST]:
        if shares[track] == 1.0:
            break
        wrong = mine.where((mine.track == track) & ~mine.first)
        other, times = Counter(wrong.top[:, 0].tolist()).most_common(1)[0]
        here, there, reference = split.known[track], split.known[other], references[track]
        reasons = []
        marks = reference.landmarks
        common = index.match(marks)[other] / max(1, len(marks))
        if common >= DUPLICATE_SHARE:
            reasons.append(f"shares {common:.0%} of its landmarks with it")
        if here.artist and here.artist == there.artist and times > len(wrong.label) / 3:
            reasons.append("taken for another piece of the same artist")
        if reference.silent_share > SILENT_SHARE:
            reasons.append(f"{reference.silent_share:.0%} of it nearly silent")
        if len(reference.landmarks) / reference.seconds < SPARSE * typical:
            reasons.append("sparse: few spectral peaks")
        quiet = wrong.snr_db.min() if len(wrong.label) else 0
        if (wrong.snr_db == quiet).mean() > 0.6:
            reasons.append(f"mostly lost at {quiet:g} dB")
        result.append(
            WorstTrack(
                id=here.id,
                name=here.name,
                top1=float(shares[track]),
                taken_for=f"{there.name} ({times} of {len(wrong.label)} misses)",
                reasons=reasons,
            )
        )
    return result
