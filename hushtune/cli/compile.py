"""``hushtune compile``: from a trained run to an artifact."""

from pathlib import Path
from typing import Annotated

import typer

from hushtune.cli.output import console, require_run, say


def compile_run(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    artifact: Annotated[
        Path | None,
        typer.Option("--artifact", "-o", help="Where to export to; RUN/artifact where not given."),
    ] = None,
    check_clips: Annotated[
        int | None,
        typer.Option(min=1, help="Held-out clips to prove it with under real FHE."),
    ] = None,
) -> None:
    """Compile a trained run to FHE, prove it on held-out clips, export the artifact.

    Example: [bold]hushtune compile runs/corpus[/bold]
    """
    require_run(run)
    from hushtune.fhe.export.artifact import export
    from hushtune.training.run import Run

    trained = Run.open(run)
    folder = export(
        trained, artifact or trained.path("artifact"), announce=say, check_clips=check_clips
    )
    console.print(f"{folder}", markup=False)
