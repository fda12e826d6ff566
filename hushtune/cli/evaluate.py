"""``hushtune evaluate``: cross-validation."""

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from hushtune.cli.output import config_of, console, resumable, say
from hushtune.support.errors import ConfigError


class ProtocolName(str, Enum):
    """What the folds of `evaluate` hold out."""

    conditions = "conditions"
    segments = "segments"
    halves = "halves"
    trained = "trained"


class Baseline(str, Enum):
    """What `evaluate` compares with."""

    mfcc = "mfcc"
    landmarks = "landmarks"
    none = "none"


def evaluate(
    config: Annotated[
        Path, typer.Argument(help="A YAML file, a shipped config's name, or a run's folder.")
    ],
    folds: Annotated[int, typer.Option(min=2, max=50, help="Folds of conditions, segments.")] = 10,
    fhe_clips: Annotated[
        str, typer.Option(help="Clips of each fold in real FHE: a number, or 'all'.")
    ] = "8",
    protocol: Annotated[
        list[ProtocolName],
        typer.Option(
            help="What a fold holds out, besides noise and rooms. conditions: nothing more; "
            "segments: a part of every track; halves: half of every track; trained: no folds, the "
            "run's own networks. Repeat for several."
        ),
    ] = [ProtocolName.conditions, ProtocolName.segments],  # noqa: B006
    baseline: Annotated[
        list[Baseline], typer.Option(help="What to compare with. Repeat for several.")
    ] = [Baseline.mfcc, Baseline.landmarks],  # noqa: B006
    cost: Annotated[
        bool, typer.Option(help="Measure costs against catalogue size and cores, too.")
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder; RUNS/NAME/evaluation where not given."),
    ] = None,
) -> None:
    """Cross-validate a configuration and write a report; resume an interrupted evaluation.

    Example: [bold]hushtune evaluate configs/corpus.yaml --folds 10 --fhe-clips 8[/bold]
    """
    from hushtune.eval.report.markdown import headline
    from hushtune.evaluate import COST_SONGS
    from hushtune.evaluate import evaluate as run_evaluation

    if fhe_clips != "all" and not fhe_clips.isdigit():
        raise ConfigError(f"--fhe-clips={fhe_clips}: expected a number from 0, or 'all'.")
    settings = config_of(config)
    folder = out or settings.runs / settings.name / "evaluation"
    with resumable():
        report = run_evaluation(
            settings,
            folder=folder,
            protocols=[name.value for name in protocol],
            folds=folds,
            fhe_clips=None if fhe_clips == "all" else int(fhe_clips),
            baselines=[name.value for name in baseline],
            cost_songs=COST_SONGS if cost else None,
            command=" ".join(["hushtune", *sys.argv[1:]]),
            announce=say,
        )
    console.print(headline(report), markup=False)
    say(f"Report: {folder / 'report.md'}")
