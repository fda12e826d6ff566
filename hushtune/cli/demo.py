"""``hushtune demo``: everything once."""

from pathlib import Path
from typing import Annotated

import typer

from hushtune.cli.output import console, say
from hushtune.support.errors import HushtuneError


def demo(
    runs: Annotated[
        Path, typer.Option(help="Folder for the run, the songs and the artifact.")
    ] = Path("runs"),
) -> None:
    """Do everything once on songs composed for the purpose: train, compile, identify under FHE.

    Example: [bold]hushtune demo[/bold]
    """
    from hushtune.demo import run_demo

    right, total = run_demo(runs, console, say)
    if right < 0.9 * total:
        raise HushtuneError(f"Only {right} of {total} clips were answered right; expected 90 %.")
