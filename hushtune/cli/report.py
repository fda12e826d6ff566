"""``hushtune report``: compare, publish and describe reports."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hushtune.cli.output import console
from hushtune.support.errors import ConfigError

if TYPE_CHECKING:
    from hushtune.eval.report.compare import Difference

group = typer.Typer(help="Compare, publish and describe reports.", no_args_is_help=True)


@group.command("compare")
def compare_reports(
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


@group.command()
def write(
    report: Annotated[Path, typer.Argument(help="A report.json or the folder it lies in.")],
    page: Annotated[Path, typer.Argument(help="Markdown file to write.")],
    readme: Annotated[
        Path | None, typer.Option(help="A README whose results table to renew.")
    ] = None,
) -> None:
    """Write a report as Markdown with pictures, and its headline into a README.

    Example: [bold]hushtune report write runs/corpus/evaluation docs/reference/RESULTS.md[/bold]
    """
    from hushtune.eval.report.build import read_report
    from hushtune.evaluate import publish

    publish(read_report(report), page, readme)
    console.print(f"{page}", markup=False)


@group.command("schema")
def print_schema() -> None:
    """Print the JSON schema of report.json.

    Example: [bold]hushtune report schema[/bold]
    """
    from hushtune.evaluate import report_schema as schema

    sys.stdout.write(schema())


def _comparison(
    differences: "Sequence[Difference]", costs: Sequence[tuple[str, str, float, float]]
) -> str:
    """Both reports' figures in columns."""
    lines = [
        f"{'protocol':<11}{'system':<11}{'measure':<18}{'first':>8}{'second':>8}"
        f"{'difference':>12}  95 % interval (points)"
    ]
    for d in differences:
        found = "beyond the noise" if d.exceeds_noise else "within the noise"
        lines.append(
            f"{d.protocol:<11}{d.system:<11}{d.measure:<18}{d.first:>8.1%}{d.second:>8.1%}"
            f"{100 * d.value:>+12.2f}  {100 * d.low:+.2f} to {100 * d.high:+.2f}, {found}"
            + (" (paired by track)" if d.paired else "")
        )
    if costs:
        lines.append("\nCosts of a query (timings of two runs differ with the machine's load):")
    for protocol, name, first, second in costs:
        ratio = f"x {second / first:.2f}" if first else ""
        lines.append(f"{protocol:<11}{name:<24}{first:>14,.4g}{second:>14,.4g}  {ratio}")
    return "\n".join(lines)
