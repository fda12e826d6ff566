"""``hushtune sweep``: variants of a configuration against each other."""

from pathlib import Path
from typing import Annotated

import typer

from hushtune.cli.output import console, resumable, say


def sweep(
    file: Annotated[Path, typer.Argument(help="A sweep file: a base configuration and variants.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Measure this variant alone. Repeat for several.")
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Measure again what is finished; trained networks are kept."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write the report here, too, with its plot in a folder beside it; variants that "
            "it holds already are kept."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder; RUNS/NAME-sweep, by the name of FILE, where not given."
        ),
    ] = None,
) -> None:
    """Train, compile and run variants of a configuration: what accuracy costs, as table and plot.

    Finished variants are kept, an interrupted one is resumed.

    Example: [bold]hushtune sweep configs/sweeps/corpus.yaml --report FRONTIER.md[/bold]
    """
    from hushtune.eval.sweep.frontier import read_sweep, summary, write_sweep
    from hushtune.eval.sweep.settings import load_sweep
    from hushtune.eval.sweep.sweep import run_sweep

    wanted = load_sweep(file)
    folder = out or wanted.folder
    # what makes the whole report, in one run or several, whichever variants this one measures
    options = [
        word
        for name, value in (("--report", report), ("--out", out))
        if value is not None
        for word in (name, str(value))
    ]
    with resumable():
        result = run_sweep(
            wanted,
            folder=folder,
            only=tuple(only or ()),
            again=again,
            published=read_sweep(report) if report is not None else None,
            command=" ".join(["hushtune", "sweep", str(file), *options]),
            announce=say,
        )
    for target in (folder / "FRONTIER.md", report):
        if target is not None:
            write_sweep(result, target)
    for variant in result.variants:
        console.print(summary(variant), markup=False)
    say(f"Report: {report or folder / 'FRONTIER.md'}")
