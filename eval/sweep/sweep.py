"""A sweep: variants of one configuration, each trained, compiled and run under real FHE.

```
runs/corpus-sweep/
  splits/                 one folder for all variants of the same catalogue
  points/linear/          a variant's run (weights, metrics)
  points/linear.npz       what its networks and its circuit said of every test clip
  points/linear.json      its figures
  FRONTIER.md, frontier/  the page, its plot and its JSON
```

A finished point is kept; an interrupted one goes on where its training stopped. Variants that make
the same images share them. Points that a published page holds count as finished, too, if they were
measured with the same settings: a long sweep can be made in several sittings, and each point says
on which machine its seconds were taken.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...configs.loading import parse_config, read_yaml
from ...configs.schema import Config, Count, Settings
from ...support.errors import CompileError, ConfigError
from ...support.files import write_atomically
from ...support.parallel import release_workers
from ...training.data.pool import TrainingData, remove_examples
from ...training.run import Run, run_config
from ...training.trainer import prepare_split
from ..crossval.fold import ENCRYPTED, EXECUTED, FLOAT, NUMBER, QUANTIZED, FoldResult, evaluate_fold
from ..crossval.fold import FoldSettings as Judges
from ..crossval.results import Fold, system_clips
from ..report.build import machine
from .frontier import Frontier, PointResult, figures, summary

TRAINING_SECONDS = "training_seconds.json"


class Point(Settings):
    """One variant."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=48)]
    """Name of its folder and in the table."""
    note: str = ""
    """What it changes, for the table."""
    changes: dict[str, Any] = {}
    """Settings that differ from the base configuration's, nested like it."""
    encrypted_clips: Count | None = None
    """Its test clips under real FHE; as many as the others' where null."""


class SweepFile(Settings):
    """A sweep: one YAML file."""

    title: str = "Frontier"
    """Heading of the page."""
    base: Path
    """The configuration that all points start from, relative to the sweep's own folder."""
    encrypted_clips: Count = 8
    """Test clips of each point that run under real FHE."""
    cores: tuple[Count, ...] = ()
    """Numbers of cores to time a query of each point on, beside all of them."""
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


def load_sweep(path: Path) -> Sweep:
    """Read and check a sweep file and every configuration it stands for.

    Raises:
        ConfigError: no such file, not YAML, or a setting that is not allowed.
    """
    try:
        file = SweepFile.model_validate(read_yaml(path))
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}."
            for problem in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error
    base_path = (path.parent / file.base).resolve()
    base = read_yaml(base_path)
    configs = [
        parse_config(
            _merged(base, point.changes),
            name=f"{path}, point '{point.name}'",
            folder=base_path.parent,
        )
        for point in file.points
    ]
    folder = configs[0].runs / f"{path.stem}-sweep"
    return Sweep(file=file, configs=tuple(configs), folder=folder)


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
    again: bool = False,
    published: Frontier | None = None,
    command: str = "hushtune.eval.sweep.sweep",
    announce: Callable[[str], None] = print,
) -> Frontier:
    """Measure every point that is not measured yet.

    Args:
        sweep: from `load_sweep`.
        folder: everything is written here; ``<runs>/<name of the file>-sweep`` where None.
        only: names of the points to measure; all where empty.
        again: measure these even if they are finished; what is trained here is not trained anew.
        published: points measured earlier, from `frontier.read_frontier`; those of the same
            settings are taken as they are.
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
    earlier = {point.digest: point for point in published.points} if published else {}
    for place, (point, config) in enumerate(zip(sweep.file.points, sweep.configs, strict=True), 1):
        path = folder / "points" / f"{point.name}.json"
        clips = point.encrypted_clips or sweep.file.encrypted_clips
        digest = _digest(config, clips, sweep.file.cores)
        wanted = not only or point.name in only
        result = None if again and wanted else _finished(path, digest) or earlier.get(digest)
        if result is None and wanted:
            announce(f"Point {point.name} ({place} of {len(names)})")
            run = _point_run(folder, point, config, announce)
            if again:
                run.path(EXECUTED).unlink(missing_ok=True)
            try:
                measured, data = _measure(run, point, digest, clips, sweep.file.cores, announce)
            except CompileError as error:
                announce(f"{point.name}: {error}")
                failed[point.name] = str(error)
                continue
            write_atomically(path, measured.model_dump_json(indent=1).encode())
            announce(summary(measured))
            if previous is not None and previous.folder != data.folder:
                remove_examples(previous)
            previous, result = data, measured
            release_workers()
        if result is not None:
            results.append(result.model_copy(update={"name": point.name, "note": point.note}))
    if previous is not None:
        remove_examples(previous)
    return Frontier(
        title=sweep.file.title,
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        points=results,
        failed=failed,
    )


def _digest(config: Config, encrypted_clips: int, cores: tuple[int, ...]) -> str:
    settings = config.model_dump(exclude={"name", "runs"})
    # of a path the name alone, so that it is the same in another checkout
    text = json.dumps([4, settings, encrypted_clips, cores], default=lambda path: path.name)
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
    trained = run.trained
    twin = None if trained else _trained_alike(folder, run)
    if twin is not None:
        announce(f"Trained as {twin.name} was: taken from there.")
        files = [path for path in twin.glob("*") if path.is_file()]
        # the verdict says that training is finished, so it comes last
        for path in sorted(files, key=lambda path: path.name == "decision.json"):
            if path.name != "config.yaml":
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
    run: Run,
    point: Point,
    digest: str,
    encrypted_clips: int,
    cores: tuple[int, ...],
    announce: Callable[[str], None],
) -> tuple[PointResult, TrainingData]:
    judges = Judges(
        encrypted_clips,
        mfcc=False,
        landmarks=False,
        catalogue_sizes=(),
        distortions=False,
        cores=cores,
    )
    trained = run.trained
    fold, data = evaluate_fold(run, (), judges, announce=announce)
    if not trained:
        run.write_json(TRAINING_SECONDS, {"seconds": fold.facts["train_seconds"]})
    path = run.folder.with_name(f"{run.folder.name}.npz")
    fold.save(path)
    return _result(run, point, digest, fold, Fold.load(path, 0)), data


def _result(run: Run, point: Point, digest: str, fold: FoldResult, stored: Fold) -> PointResult:
    split = run.split()
    songs = len(split.known)
    ids = [track.id for track in [*split.known, *split.unknown_test]]
    networks = {name: system_clips([stored], name, ids, songs) for name in (FLOAT, QUANTIZED)}
    quantized = networks[QUANTIZED]
    executed = system_clips([stored], ENCRYPTED, ids, songs)
    number = system_clips([stored], NUMBER, ids, songs)
    clear = quantized if number is None else number
    same = executed.answers == clear.like(executed).answers
    shown = figures(quantized)
    if number is not None:
        shipped = figures(number)
        changes = {name: getattr(shipped, name) for name in ("rejected", "lost", "found")}
        shown = shown.model_copy(update=changes)
    main = quantized.where(quantized.main)
    costs = fold.facts["fhe_costs"]
    return PointResult(
        name=point.name,
        note=point.note,
        answer=run.config.fhe.answer,
        digest=digest,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=machine(),
        songs=songs,
        known_clips=int(main.known.sum()),
        unknown_clips=int((~main.known).sum()),
        image_values=int(np.prod(run.front_end().feature_shape)),
        float_figures=figures(networks[FLOAT]),
        quantized_figures=shown,
        encrypted_clips=len(same),
        encrypted_agrees=float(same.mean()),
        encrypted_right=float((executed.answers == executed.label).mean()),
        pbs=costs["pbs"],
        widest_bits=costs["widest_bits"],
        train_seconds=run.read_json(TRAINING_SECONDS)["seconds"]
        if run.path(TRAINING_SECONDS).exists()
        else None,
        compute_seconds=costs["compute_seconds"],
        seconds_by_cores=fold.facts["seconds_by_cores"],
        query_bytes=costs["query_bytes"],
        response_bytes=costs["response_bytes"],
        evaluation_key_bytes=costs["evaluation_key_bytes"],
    )
