"""Commands that evaluate, and that handle reports."""

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from hushtune.support.errors import ConfigError

from hushtune.cli.output import config_of, console, say

app = typer.Typer()
report_app = typer.Typer(help="Compare, publish and describe reports.", no_args_is_help=True)
app.add_typer(report_app, name="report")


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


@app.command()
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
    """Cross-validate a configuration and write a report; go on where it was interrupted.

    Example: [bold]hushtune evaluate configs/corpus.yaml --folds 10 --fhe-clips 8[/bold]
    """
    from hushtune.evaluate import COST_SONGS, headline
    from hushtune.evaluate import evaluate as run_evaluation

    if fhe_clips != "all" and not fhe_clips.isdigit():
        raise ConfigError(f"--fhe-clips={fhe_clips}: expected a number from 0, or 'all'.")
    settings = config_of(config)
    folder = out or settings.runs / settings.name / "evaluation"
    try:
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
    except KeyboardInterrupt:
        say("Interrupted. Give the same command again to go on.")
        raise typer.Exit(130) from None
    console.print(headline(report), markup=False)
    say(f"Report: {folder / 'report.md'}")


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="A sweep file: a base configuration and points.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Measure this point alone. Repeat for several.")
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Measure anew what is finished; trained networks are kept."),
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option(
            help="Write the page here, too, with its plot in a folder beside it; points that "
            "it holds already are kept."
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Write a small table between the sweep markers of this file."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder; RUNS/NAME-sweep, by the name of FILE, where not given."
        ),
    ] = None,
) -> None:
    """Train, compile and run variants of a configuration: what accuracy costs, as table and plot.

    Points that are finished are kept, an interrupted one goes on where it stopped.

    Example: [bold]hushtune sweep configs/sweeps/corpus.yaml --page FRONTIER.md[/bold]
    """
    from hushtune.eval.sweep.frontier import (
        read_frontier,
        summary,
        write_frontier,
        write_table,
    )
    from hushtune.eval.sweep.sweep import load_sweep, run_sweep

    variants = load_sweep(file)
    folder = out or variants.folder
    # what makes the whole page, in one sitting or several, whichever points this one measures
    options = [
        word
        for name, value in (("--page", page), ("--table", table), ("--out", out))
        if value is not None
        for word in (name, str(value))
    ]
    try:
        frontier = run_sweep(
            variants,
            folder=folder,
            only=tuple(only or ()),
            again=again,
            published=read_frontier(page) if page is not None else None,
            command=" ".join(["hushtune", "sweep", str(file), *options]),
            announce=say,
        )
    except KeyboardInterrupt:
        say("Interrupted. Give the same command again to go on.")
        raise typer.Exit(130) from None
    for target in (folder / "FRONTIER.md", page):
        if target is not None:
            write_frontier(frontier, target)
    if table is not None:
        write_table(frontier, table)
    for point in frontier.points:
        console.print(summary(point), markup=False)
    say(f"Page: {page or folder / 'FRONTIER.md'}")


@report_app.command("compare")
def report_compare(
    first: Annotated[Path, typer.Argument(help="A report.json or the folder it lies in.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Show two reports side by side, and which differences exceed the noise.

    Example: [bold]hushtune report compare runs/a/evaluation runs/b/evaluation[/bold]
    """
    from hushtune.eval.report.build import read_report
    from hushtune.eval.report.compare import compare, costs

    reports = read_report(first), read_report(second)
    differences = compare(*reports)
    if not differences:
        raise ConfigError(f"{first} and {second} share no protocol and system to compare.")
    console.print(_comparison(differences, costs(*reports)), markup=False)


@report_app.command("write")
def report_write(
    report: Annotated[Path, typer.Argument(help="A report.json or the folder it lies in.")],
    page: Annotated[Path, typer.Argument(help="Markdown file to write.")],
    readme: Annotated[
        Path | None, typer.Option(help="A README whose results table to renew.")
    ] = None,
) -> None:
    """Write a report as a page with pictures, and its headline into a README.

    Example: [bold]hushtune report write runs/corpus/evaluation docs/reference/RESULTS.md[/bold]
    """
    from hushtune.eval.report.build import read_report

    from hushtune.evaluate import publish

    publish(read_report(report), page, readme)
    console.print(f"{page}", markup=False)


@report_app.command("schema")
def report_schema() -> None:
    """Print the JSON schema of report.json.

    Example: [bold]hushtune report schema[/bold]
    """
    from hushtune.evaluate import report_schema as schema

    sys.stdout.write(schema())


def _comparison(differences: list, costs: list) -> str:
    """Both reports' figures in columns."""
    lines = [
        f"{'protocol':<11}{'system':<11}{'measure':<18}{'first':>8}{'second':>8}"
        f"{'difference':>12}  95 % interval (points)"
    ]
    for d in differences:
        verdict = "beyond the noise" if d.exceeds_noise else "within the noise"
        lines.append(
            f"{d.protocol:<11}{d.system:<11}{d.measure:<18}{d.first:>8.1%}{d.second:>8.1%}"
            f"{100 * d.value:>+12.2f}  {100 * d.low:+.2f} to {100 * d.high:+.2f}, {verdict}"
            + (" (paired by track)" if d.paired else "")
        )
    if costs:
        lines.append("\nCosts of a query (timings of two runs differ with the machine's load):")
    for protocol, name, first, second in costs:
        ratio = f"x {second / first:.2f}" if first else ""
        lines.append(f"{protocol:<11}{name:<24}{first:>14,.4g}{second:>14,.4g}  {ratio}")
    return "\n".join(lines)
