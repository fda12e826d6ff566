"""A sweep: variants of one configuration, each trained, compiled and run under real FHE.

```
runs/corpus-sweep/
  splits/                 one folder for all variants of the same catalogue
  points/linear/          a variant's run (weights, metrics)
  points/linear.npz       what its networks and its circuit said of every test clip
  points/linear.json      its figures
  frontier.md, frontier.json, frontier.png
```

A finished point is kept; an interrupted one goes on where its training stopped. Variants that make
the same images share them.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..configs.errors import CompileError, ConfigError
from ..configs.loading import parse_config
from ..configs.schema import Config, Count, Settings
from ..training.files import write_atomically
from ..training.parallel import release_workers
from ..training.pool import TrainingData, remove_images
from ..training.run import Run, run_config
from ..training.trainer import prepare_split
from .fold import FLOAT, QUANTIZED, FoldResult, evaluate_fold
from .fold import FoldSettings as Judges
from .folds import Clips, Fold, system_clips
from .markdown import megabytes
from .report import machine
from .schema import Machine

TRAINING_SECONDS = "training_seconds.json"
SHIPPED_RATE = 0.05
STRICT_RATE = 0.01


class Point(Settings):
    """One variant."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=48)]
    """Name of its folder and in the table."""
    note: str = ""
    """What it changes, for the table."""
    changes: dict[str, Any] = {}
    """Settings that differ from the base configuration's, nested like it."""


class SweepFile(Settings):
    """A sweep: one YAML file."""

    base: Path
    """The configuration that all points start from, relative to the sweep's own folder."""
    encrypted_clips: Count = 8
    """Test clips of each point that run under real FHE."""
    points: Annotated[tuple[Point, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> "SweepFile":
        names = [point.name for point in self.points]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"points: the name '{twice[0]}' is given twice")
        return self


class Sweep(BaseModel):
    """A sweep file, checked, with every point's configuration."""

    model_config = ConfigDict(frozen=True)

    file: SweepFile
    configs: tuple[Config, ...]
    folder: Path


class Figures(BaseModel):
    """Shares between 0 and 1 on the main test's clips."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    top1: float
    """Right song first, of clips of known songs."""
    top1_by_snr_db: dict[str, float]
    """The same by signal-to-noise ratio."""
    top1_by_seconds: dict[str, float]
    """The same for clips of other lengths."""
    rejected: float
    """Unknown clips rejected at the shipped threshold."""
    lost: float
    """Known clips then lost."""
    dir: float
    """Known clips found and accepted at the threshold fixed for 1 % false alarms."""
    dir_false_alarms: float
    """The share of unknown clips which that threshold in fact let through."""


class PointResult(BaseModel):
    """What one point of a sweep achieves and costs."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str
    note: str
    digest: str
    """Of the configuration and of what was measured."""
    created: str
    songs: int
    known_clips: int
    unknown_clips: int
    image_values: int
    """Values encrypted of each clip."""
    float_figures: Figures
    quantized_figures: Figures
    encrypted_clips: int
    encrypted_agrees: float
    """Share of those clips with the quantized network's answer."""
    pbs: int
    widest_bits: int
    train_seconds: float | None
    """Without what the cache held; None where the training was done before."""
    compute_seconds: float
    """Server, median over the encrypted clips."""
    query_bytes: int
    response_bytes: int
    evaluation_key_bytes: int


class Frontier(BaseModel):
    """All finished points of a sweep."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str
    command: str
    created: str
    machine: Machine
    points: list[PointResult]
    failed: dict[str, str] = {}
    """Points that do not compile, and why."""


def load_sweep(path: Path) -> Sweep:
    """Read and check a sweep file and every configuration it stands for.

    Raises:
        ConfigError: no such file, not YAML, or a setting that is not allowed.
    """
    data = _yaml(path)
    try:
        file = SweepFile.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}."
            for problem in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error
    base_path = (path.parent / file.base).resolve()
    base = _yaml(base_path)
    if not isinstance(base, dict):
        raise ConfigError(f"{base_path}: expected 'key: value' settings.")
    configs = [
        parse_config(
            _merged(base, point.changes),
            name=f"{path}, point '{point.name}'",
            folder=base_path.parent,
        )
        for point in file.points
    ]
    folder = configs[0].runs / f"{configs[0].name}-sweep"
    return Sweep(file=file, configs=tuple(configs), folder=folder)


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}).") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def _merged(base: dict, changes: dict) -> dict:
    """Nested settings with others laid over them; a changed ``kind`` replaces its section."""
    result = dict(base)
    for key, value in changes.items():
        under = result.get(key)
        both = isinstance(value, dict) and isinstance(under, dict)
        if both and value.get("kind", under.get("kind")) == under.get("kind"):
            value = _merged(under, value)
        result[key] = value
    return result


def run_sweep(
    sweep: Sweep,
    *,
    folder: Path | None = None,
    only: tuple[str, ...] = (),
    command: str = "hushtune.eval.sweep",
    announce: Callable[[str], None] = print,
) -> Frontier:
    """Measure every point that is not measured yet.

    Args:
        sweep: from `load_sweep`.
        folder: everything is written here; ``<runs>/<name>-sweep`` where None.
        only: names of the points to measure; all where empty.
        command: what to state in the result.
        announce: told in one line each what happens.

    Returns:
        All finished points.

    Raises:
        ConfigError: a name in `only` that is no point.
        CatalogueError, RunError: as training raises them.
    """
    folder = folder or sweep.folder
    names = [point.name for point in sweep.file.points]
    for name in only:
        if name not in names:
            raise ConfigError(f"only={name}: no such point. There are: {', '.join(names)}.")
    previous: TrainingData | None = None
    results, failed = [], {}
    for place, (point, config) in enumerate(zip(sweep.file.points, sweep.configs, strict=True), 1):
        path = folder / "points" / f"{point.name}.json"
        digest = _digest(config, sweep.file.encrypted_clips)
        result = _finished(path, digest)
        if result is None and (not only or point.name in only):
            announce(f"Point {point.name} ({place} of {len(names)})")
            run = _point_run(folder, point, config, announce)
            try:
                measured, data = _measure(run, point, digest, sweep.file.encrypted_clips, announce)
            except CompileError as error:
                announce(f"{point.name}: {error}")
                failed[point.name] = str(error)
                continue
            write_atomically(path, measured.model_dump_json(indent=1).encode())
            announce(summary(measured))
            if previous is not None and previous.folder != data.folder:
                remove_images(previous)
            previous, result = data, measured
            release_workers()
        if result is not None:
            results.append(result.model_copy(update={"note": point.note}))
    if previous is not None:
        remove_images(previous)
    return Frontier(
        name=sweep.configs[0].name,
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=machine(),
        points=results,
        failed=failed,
    )


def _digest(config: Config, encrypted_clips: int) -> str:
    settings = config.model_dump(mode="json", exclude={"name", "runs"})
    text = json.dumps([1, settings, encrypted_clips])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _finished(path: Path, digest: str) -> PointResult | None:
    try:
        result = PointResult.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return result if result.digest == digest else None


def _point_run(folder: Path, point: Point, config: Config, announce: Callable[[str], None]) -> Run:
    """The point's run, with the split that others of its catalogue have."""
    shaping = config.model_dump(mode="json", include={"catalogue", "split", "seed"})
    text = json.dumps([shaping, config.signal.crop_seconds])
    shared = folder / "splits" / hashlib.sha256(text.encode()).hexdigest()[:12]
    run = Run.create(config.model_copy(update={"name": point.name}), folder / "points" / point.name)
    for name in ("split.json", "catalogue.json"):
        if (shared / name).exists() and not run.path(name).exists():
            shutil.copy(shared / name, run.path(name))
    twin = _trained_alike(folder, run)
    if twin is not None and not run.path("decision.json").exists():
        announce(f"Trained as {twin.name} was: taken from there.")
        for path in twin.glob("*"):
            if path.name != "config.yaml" and path.is_file():
                shutil.copy(path, run.path(path.name))
    prepare_split(run, announce)
    shared.mkdir(parents=True, exist_ok=True)
    for name in ("split.json", "catalogue.json"):
        shutil.copy(run.path(name), shared / name)
    return run


def _trained_alike(folder: Path, run: Run) -> Path | None:
    """The folder of another point whose training was, or would be, the very same."""
    mine = run.config.model_dump(exclude={"name", "runs", "fhe"})
    for path in sorted((folder / "points").glob("*/decision.json")):
        other = run_config(path.parent).model_dump(exclude={"name", "runs", "fhe"})
        if path.parent != run.folder and other == mine:
            return path.parent
    return None


def _measure(
    run: Run, point: Point, digest: str, clips: int, announce: Callable[[str], None]
) -> tuple[PointResult, TrainingData]:
    judges = Judges(clips, mfcc=False, landmarks=False, catalogue_sizes=(), distortions=False)
    trained = run.path("decision.json").exists()
    fold, data = evaluate_fold(run, (), judges, announce=announce)
    if not trained:
        run.write_json(TRAINING_SECONDS, {"seconds": fold.facts["train_seconds"]})
    file = run.folder.with_suffix(".npz")
    fold.save(file)
    return _result(run, point, digest, fold, Fold.load(file, 0)), data


def _result(run: Run, point: Point, digest: str, fold: FoldResult, stored: Fold) -> PointResult:
    split = run.split()
    songs = len(split.known)
    ids = [track.id for track in [*split.known, *split.unknown_test]]
    networks = {name: system_clips([stored], name, ids, songs) for name in (FLOAT, QUANTIZED)}
    quantized = networks[QUANTIZED]
    executed = system_clips([stored], "fhe", ids, songs)
    answers = {}
    for name, some in (("fhe", executed), ("clear", quantized)):
        answer = np.where(some.accepted(SHIPPED_RATE), some.top[:, 0], songs)
        answers[name] = dict(zip(some.place.tolist(), answer.tolist(), strict=True))
    same = [answers["clear"][place] == answer for place, answer in answers["fhe"].items()]
    main = quantized.where(quantized.main)
    costs = fold.facts["fhe_costs"]
    return PointResult(
        name=point.name,
        note=point.note,
        digest=digest,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        songs=songs,
        known_clips=int(main.known.sum()),
        unknown_clips=int((~main.known).sum()),
        image_values=int(np.prod(run.front_end().image_shape)),
        float_figures=figures(networks[FLOAT]),
        quantized_figures=figures(quantized),
        encrypted_clips=len(same),
        encrypted_agrees=float(np.mean(same)),
        pbs=costs["pbs"],
        widest_bits=costs["widest_bits"],
        train_seconds=run.read_json(TRAINING_SECONDS)["seconds"]
        if run.path(TRAINING_SECONDS).exists()
        else None,
        compute_seconds=costs["compute_seconds"],
        query_bytes=costs["query_bytes"],
        response_bytes=costs["response_bytes"],
        evaluation_key_bytes=costs["evaluation_key_bytes"],
    )


def figures(clips: Clips) -> Figures:
    """The figures of one system on all clips it judged."""
    main = clips.where(clips.main)
    first, known = main.first, main.known
    lengths = {}
    for seconds in np.unique(clips.seconds[~np.isnan(clips.seconds)]):
        some = clips.where((clips.seconds == seconds) & clips.known)
        lengths[f"{seconds:g}"] = float(some.first.mean())
    shipped, strict = main.accepted(SHIPPED_RATE), main.accepted(STRICT_RATE)
    return Figures(
        top1=float(first[known].mean()),
        top1_by_snr_db={
            f"{snr:g}": float(first[known & (main.snr_db == snr)].mean())
            for snr in np.unique(main.snr_db)
        },
        top1_by_seconds=lengths,
        rejected=float((~shipped)[~known].mean()),
        lost=float((~shipped)[known].mean()),
        dir=float((first & strict)[known].mean()),
        dir_false_alarms=float(strict[~known].mean()),
    )


def summary(point: PointResult) -> str:
    """One line on a point."""
    q = point.quantized_figures
    return (
        f"{point.name}: top-1 {q.top1:.1%}, DIR {q.dir:.1%}, {point.pbs} PBS, "
        f"{point.compute_seconds:.2f} s, response {megabytes(point.response_bytes)}, "
        f"keys {megabytes(point.evaluation_key_bytes)}."
    )


def best(points: list[PointResult]) -> set[str]:
    """Names of the points that no other beats in DIR without taking longer: the frontier."""
    return {
        point.name
        for point in points
        if not any(
            other.quantized_figures.dir >= point.quantized_figures.dir
            and other.compute_seconds <= point.compute_seconds
            and other is not point
            for other in points
        )
    }


def render(frontier: Frontier, picture: str) -> str:
    """The sweep as a page of Markdown.

    Args:
        frontier: all finished points.
        picture: path of the plot, relative to the page.
    """
    if not frontier.points:
        return f"# Frontier: {frontier.name}\n\nNo point is measured yet.\n"
    m, first = frontier.machine, frontier.points[0]
    lines = [
        f"# Frontier: {frontier.name}",
        "",
        f"Made by `{frontier.command}` on {frontier.created[:10]} ({m.processor}, {m.cores} cores, "
        f"{m.memory_bytes / 2**30:.0f} GiB). One training of each variant; "
        f"{first.known_clips:,} clips of known songs and {first.unknown_clips:,} of unknown ones "
        f"under noise and rooms unseen in training, {first.encrypted_clips} of them in real FHE. "
        "Thresholds come from other unknown songs. These are the clips that choices were made by: "
        "the cross-validation in [RESULTS.md](RESULTS.md) is the cleaner figure. Variants on the "
        "frontier, that none beats in DIR without taking longer, are set in bold.",
        "",
        f"![DIR and top-1 against seconds, table look-ups and bytes]({picture})",
        "",
        "| variant | songs | values | PBS | top-1 | twin | 0 dB | 3 s | DIR 1 % | rejected | lost "
        "| FHE agrees | server | query | response | keys | training |",
        "| --- | ---: " + "| ---: " * 15 + "|",
    ]
    frontier_names = best(frontier.points)
    for p in frontier.points:
        q, twin = p.quantized_figures, p.float_figures
        name = f"**{p.name}**" if p.name in frontier_names else p.name
        lines.append(
            f"| {name} | {p.songs:,} | {p.image_values:,} | {p.pbs:,} | {q.top1:.1%} | "
            f"{twin.top1:.1%} | {q.top1_by_snr_db.get('0', float('nan')):.1%} | "
            f"{q.top1_by_seconds.get('3', float('nan')):.1%} | {q.dir:.1%} | {q.rejected:.1%} | "
            f"{q.lost:.1%} | {p.encrypted_agrees:.0%} | {p.compute_seconds:.2f} s | "
            f"{megabytes(p.query_bytes)} | {megabytes(p.response_bytes)} | "
            f"{megabytes(p.evaluation_key_bytes)} | "
            + ("- |" if p.train_seconds is None else f"{p.train_seconds / 60:.1f} min |")
        )
    lines += [
        "",
        "*values*: encrypted numbers a clip; *twin*: top-1 in floating point; *0 dB*, *3 s*: top-1 "
        "of clips in that noise, of that length; *DIR 1 %*: found and accepted at the threshold "
        "for 1 % false alarms; *rejected*, *lost*: unknown and known clips called unknown at the "
        "shipped threshold; *FHE agrees*: with the quantized network, same clips; *server*: median "
        "seconds a query on all cores; *keys*: evaluation keys, uploaded once; *training*: without "
        "renderings or images that were cached.",
        "",
        "## What each variant is",
        "",
    ]
    lines += [f"- **{p.name}**: {p.note or 'the base configuration'}." for p in frontier.points]
    lines += [f"- {name}: does not compile. {why}" for name, why in frontier.failed.items()]
    return "\n".join(lines) + "\n"


def write_frontier(frontier: Frontier, page: Path) -> None:
    """Write a sweep's page; its plot and JSON go to a folder of its name beside it."""
    from .figures import draw_frontier

    folder = page.with_suffix("").with_name(page.stem.lower())
    folder.mkdir(parents=True, exist_ok=True)
    if frontier.points:
        draw_frontier(frontier.points, folder / "frontier.png")
    text = frontier.model_dump_json(indent=1) + "\n"
    write_atomically(folder / "frontier.json", text.encode())
    write_atomically(page, render(frontier, f"{folder.name}/frontier.png").encode())
