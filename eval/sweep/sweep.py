"""A sweep: variants of one configuration, each trained, compiled and run under real FHE.

```
runs/corpus-sweep/
  splits/                 one folder for all variants of the same catalogue
  variants/linear/        a variant's run (weights, metrics)
  variants/linear.csv.gz  what its networks and its circuit predicted of every test clip
  variants/linear.json    its figures
  FRONTIER.md, frontier/  the report, its plot and its JSON
```

A finished variant is kept; an interrupted one resumes where its training stopped. Variants that
make the same features share them. Variants in a published report count as finished, too, if they
were measured with the same settings: a long sweep can be made in several sittings, and each variant
says on which machine its seconds were taken.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from pydantic import ValidationError

from ...configs.schema import Config
from ...support.errors import CompileError, ConfigError
from ...support.files import write_atomically
from ...support.parallel import release_workers
from ...training.data.pool import TrainingData, remove_examples
from ...training.linear.train import remove_track_files
from ..crossval.encrypted import EXECUTED
from .frontier import summary
from .measure import measure_variant, variant_run
from .schema import SweepResult, VariantResult
from .settings import Sweep


def run_sweep(
    sweep: Sweep,
    *,
    folder: Path | None = None,
    only: tuple[str, ...] = (),
    again: bool = False,
    published: SweepResult | None = None,
    command: str = "hushtune.eval.sweep.sweep",
    announce: Callable[[str], None] = print,
) -> SweepResult:
    """Measure every variant that is not measured yet.

    Args:
        sweep: from `load_sweep`.
        folder: everything is written here; ``<runs>/<name of the file>-sweep`` where None.
        only: names of the variants to measure; all where empty.
        again: measure these again even if they are finished; networks that are trained here are
            kept.
        published: variants measured earlier, from `frontier.read_sweep`; those with the same
            settings are taken as they are.
        command: what to state in the result.
        announce: called with one-line progress messages.

    Returns:
        All finished variants.

    Raises:
        ConfigError: a name in `only` that is no variant.
        CatalogueError, RunError: as training raises them.
    """
    folder = folder or sweep.folder
    names, cores = [variant.name for variant in sweep.file.variants], sweep.file.cores
    for name in only:
        if name not in names:
            raise ConfigError(f"only={name}: no such variant. There are: {', '.join(names)}.")
    previous: TrainingData | None = None
    results, failed = [], {}
    earlier = {variant.digest: variant for variant in published.variants} if published else {}
    for place, (variant, config) in enumerate(sweep.variants, 1):
        path = folder / "variants" / f"{variant.name}.json"
        clips = variant.encrypted_clips or sweep.file.encrypted_clips
        digest = variant_digest(config, clips, cores)
        wanted = not only or variant.name in only
        result = None if again and wanted else _finished(path, digest) or earlier.get(digest)
        if result is None and wanted:
            announce(f"Variant {variant.name} ({place} of {len(names)})")
            run = variant_run(folder, variant, config, announce)
            if again:
                run.path(EXECUTED).unlink(missing_ok=True)
            try:
                measured, data = measure_variant(run, variant, digest, clips, cores, announce)
            except CompileError as error:
                announce(f"{variant.name}: {error}")
                failed[variant.name] = str(error)
                continue
            write_atomically(path, measured.model_dump_json(indent=1).encode())
            announce(summary(measured))
            if data is None:
                remove_track_files(run)
            elif previous is not None and previous.folder != data.folder:
                remove_examples(previous)
            previous, result = data or previous, measured
            release_workers()
        if result is not None:
            results.append(result.model_copy(update={"name": variant.name, "note": variant.note}))
    if previous is not None:
        remove_examples(previous)
    return SweepResult(
        title=sweep.file.title,
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        variants=results,
        failed=failed,
    )


def variant_digest(config: Config, encrypted_clips: int, cores: tuple[int, ...]) -> str:
    """Of a variant's configuration and of what is measured: 16 hexadecimal digits."""
    settings = config.model_dump(exclude={"name", "runs"})
    # of a path the name alone, so that it is the same in another checkout
    text = json.dumps([4, settings, encrypted_clips, cores], default=lambda path: path.name)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _finished(path: Path, digest: str) -> VariantResult | None:
    try:
        result = VariantResult.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return result if result.digest == digest else None
