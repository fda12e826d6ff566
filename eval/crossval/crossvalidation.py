"""Cross-validation: every fold of every protocol, resumable, and the costs beside.

```
runs/NAME/evaluation/
  plan.json              what is evaluated
  folds/conditions-03.json, .csv.gz  a finished fold
  work/conditions-03/    the fold's run (weights, what training opened)
  costs/                 one file a finished cost measurement
  report.md, report.json, *.png
```
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...configs.schema import Config, FoldSettings
from ...support.errors import CatalogueError, ConfigError, RunError
from ...support.files import write_atomically
from ...support.parallel import release_workers
from ...training.data.pool import TrainingData, remove_examples
from ...training.data.segments import clip_seconds
from ...training.data.sounds import split_sounds
from ...training.linear.train import remove_track_files
from ...training.run import Run
from ...training.trainer import prepare_split
from .fold import Systems, evaluate_fold
from .references import Reference, prepare_references
from .results import write_fold

Protocol = Literal["conditions", "segments", "halves", "trained"]
SEGMENT_SHORT_CLIP_SHARE = 0.5
"""Share of short clips in training where the test clips are shorter than the crop."""


@dataclass(frozen=True)
class Plan:
    """What an evaluation does.

    Attributes:
        config: of the product; folds change nothing but what they hold out.
        folder: everything is written here.
        protocols: ``conditions``, ``segments`` and ``halves`` train anew in each fold;
            ``trained`` takes the run's own networks.
        folds: of the first two; ``halves`` has two and ``trained`` one.
        systems: what is evaluated in each fold.
    """

    config: Config
    folder: Path
    protocols: tuple[Protocol, ...]
    folds: int
    systems: Systems

    def fold_names(self) -> list[tuple[str, Config]]:
        """Name and configuration of every fold, in order."""
        names = []
        for protocol in self.protocols:
            if protocol == "trained":
                names.append(("trained-00", self.config))
                continue
            of = 2 if protocol == "halves" else self.folds
            for number in range(of):
                fold = FoldSettings(protocol=protocol, number=number, of=of)
                changes: dict[str, Any] = {"fold": fold}
                if fold.holds_out_segments:
                    changes["training"] = self.config.training.model_copy(
                        update={"short_clip_share": SEGMENT_SHORT_CLIP_SHARE}
                    )
                names.append((f"{protocol}-{number:02d}", self.config.model_copy(update=changes)))
        return names

    def fold_file(self, name: str) -> Path:
        """The JSON of a finished fold."""
        return self.folder / "folds" / f"{name}.json"

    def to_json(self) -> dict[str, Any]:
        """What must be the same for an evaluation to be gone on with; protocols may be added."""
        exclude = {"name", "runs", "fhe"}
        return {
            "folds": self.folds,
            "encrypted_clips": self.systems.encrypted_clips,
            "mfcc": self.systems.mfcc,
            "landmarks": self.systems.landmarks,
            "config": self.config.model_dump(mode="json", exclude=exclude),
        }


def cross_validate(plan: Plan, *, announce: Callable[[str], None] = print) -> None:
    """Evaluate every fold that is not finished yet; each gives a file of its own.

    Raises:
        ConfigError: the folder holds another evaluation, or the catalogue has fewer tracks than
            folds.
        CatalogueError: a track is too short for some fold.
    """
    _write_plan(plan)
    base = Run.create(plan.config)
    split = prepare_split(base, announce)
    names = plan.fold_names()
    todo = [(name, config) for name, config in names if not plan.fold_file(name).exists()]
    if not todo:
        announce(f"{plan.folder}: all {len(names)} folds are finished.")
        return
    most = max(config.fold.of if config.fold else 1 for _, config in todo)
    if len(split.known) < most:
        raise ConfigError(
            f"folds={most}: the catalogue has only {len(split.known)} known tracks. "
            "Take fewer folds or more tracks."
        )
    references: dict[int | None, list[Reference]] = {}
    for _, config in todo:
        split_sounds(config)  # refuses too few recordings before hours are spent
        of = config.fold.of if config.fold else None
        if of not in references:
            references[of] = prepare_references(split.known, config, base.cache)
        for track, reference in zip(split.known, references[of], strict=True):
            try:
                clip_seconds(config, reference.seconds)
            except CatalogueError as error:
                raise CatalogueError(f"{track.path}: {error}") from error
    shared: TrainingData | None = None  # whose images all folds that hold out sounds alone use
    started = time.monotonic()
    for done, (name, config) in enumerate(todo):
        left = ""
        if done:
            seconds = (time.monotonic() - started) / done * (len(todo) - done)
            left = f", about {seconds / 60:.0f} min left"
        announce(f"Fold {name} ({len(names) - len(todo) + done + 1} of {len(names)}{left})")
        run = _fold_run(plan, base, name, config)
        of = config.fold.of if config.fold else None
        beginning = time.monotonic()
        result = evaluate_fold(run, references[of], plan.systems, announce=announce)
        seconds = round(time.monotonic() - beginning, 1)
        facts = result.facts.model_copy(update={"seconds": seconds})
        write_fold(plan.fold_file(name), result.rows, facts)
        release_workers()
        if config.fold is None:
            continue
        if result.data is None:
            remove_track_files(run)
        elif config.fold.holds_out_segments:
            remove_examples(result.data)
        else:
            shared = result.data
    if shared is not None:
        remove_examples(shared)


def _fold_run(plan: Plan, base: Run, name: str, config: Config) -> Run:
    """A fold's run, which shares the split of the product's and the cache."""
    if config.fold is None:
        if not base.trained:
            raise RunError(
                f"{base.folder}: not trained, but the protocol 'trained' takes its networks. "
                f"Train it first with 'hushtune train'."
            )
        return base
    folder = plan.folder / "work" / name
    run = Run.create(config, folder)
    if not run.path("split.json").exists():
        shutil.copy(base.path("split.json"), run.path("split.json"))
    return run


def _write_plan(plan: Plan) -> None:
    path = plan.folder / "plan.json"
    wanted = plan.to_json()
    if path.exists():
        earlier = json.loads(path.read_text("utf-8"))
        changed = sorted(k for k in wanted if earlier.get(k) != json.loads(json.dumps(wanted[k])))
        if changed:
            raise ConfigError(
                f"{plan.folder}: holds an evaluation with other settings ({', '.join(changed)} "
                "differ). Name another folder with --out, or delete that one."
            )
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(wanted, indent=1) + "\n").encode())
