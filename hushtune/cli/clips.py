"""``hushtune clips``: test clips as files."""

from pathlib import Path
from typing import Annotated

import typer

from hushtune.cli.output import console, require_run


def clips(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    folder: Annotated[Path, typer.Argument(help="Where to write the WAV files.")],
    known: Annotated[int, typer.Option(min=0, help="Clips of known songs.")] = 8,
    unknown: Annotated[int, typer.Option(min=0, help="Clips of songs never enrolled.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Which clips to draw.")] = 0,
) -> None:
    """Write noisy test clips of a run's songs as WAV files, with what they are in clips.csv.

    Example: [bold]hushtune clips runs/demo demo-clips --known 8 --unknown 2[/bold]
    """
    require_run(run)
    from hushtune.training.data.clips import write_clips
    from hushtune.training.run import Run

    for clip, path in write_clips(Run.open(run), folder, known=known, unknown=unknown, seed=seed):
        console.print(f"{path}  {clip.snr_db:g} dB  {clip.track.name}", markup=False)
