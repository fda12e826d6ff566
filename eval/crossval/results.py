"""Finished folds: what each one measured, as files.

```
folds/conditions-03.csv.gz   predictions, see `hushtune.eval.predictions`
folds/conditions-03.json     everything else; written last, so it says that the fold is finished
```
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from ...configs.schema import Settings
from ...support.errors import RunError
from ...support.files import write_atomically
from ..predictions import write_predictions


class FheCosts(Settings):
    """What a system costs in real FHE; medians over clips and folds."""

    clips: int
    pbs: int
    key_seconds: float
    encrypt_seconds: float
    compute_seconds: float
    decrypt_seconds: float
    query_bytes: int
    response_bytes: int
    evaluation_key_bytes: int

    @staticmethod
    def of_folds(folds: Sequence["FheCosts"]) -> "FheCosts | None":
        """The medians over folds, and the sum of their clips; None without folds."""
        if not folds:
            return None
        medians = pd.DataFrame([fold.model_dump() for fold in folds]).median()
        bytes_ = medians.filter(like="_bytes").round().astype(int).to_dict()
        counted = {"clips": sum(fold.clips for fold in folds), "pbs": folds[0].pbs}
        return FheCosts.model_validate({**medians.to_dict(), **bytes_, **counted})


class FoldFacts(Settings):
    """What a fold measured beside its predictions."""

    songs: int
    """Enrolled songs."""
    resumed: bool
    """Whether the training went on where it was interrupted, so that its seconds say nothing."""
    train_seconds: float
    seconds: float = 0.0
    """Of the whole fold."""
    fhe_costs: FheCosts | None = None
    fhe_compute_seconds: list[float] = []
    """Of the server, for each clip."""
    widest_bits: int = 0
    """Of the circuit."""
    seconds_by_cores: dict[int, float] = {}
    mfcc_costs: FheCosts | None = None
    landmark_seconds: float | None = None
    """Of the landmark matcher, for each clip."""


def write_fold(path: Path, rows: pd.DataFrame, facts: FoldFacts) -> None:
    """Write a finished fold: `path` (JSON) and the predictions beside it."""
    write_predictions(rows, predictions_file(path))
    write_atomically(path, facts.model_dump_json(indent=1).encode())


def predictions_file(path: Path) -> Path:
    """The predictions beside a fold's JSON."""
    return path.with_suffix(".csv.gz")


def read_facts(path: Path) -> FoldFacts:
    """Read a fold's JSON.

    Raises:
        RunError: missing or damaged.
    """
    try:
        return FoldFacts.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(
            f"{path}: not a fold that can be read ({error}). Delete it and evaluate again."
        ) from error
