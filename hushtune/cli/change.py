"""``hushtune enroll``, ``remove`` and ``sync``: a trained catalogue that changes."""

from pathlib import Path
from typing import Annotated

import typer

from hushtune.cli.output import console, require_run, resumable, say
from hushtune.support.errors import AudioError

RunFolder = Annotated[Path, typer.Argument(help="Folder of a trained run.")]


def enroll(
    run: RunFolder,
    files: Annotated[list[Path], typer.Argument(help="Audio files, each one song.")],
) -> None:
    """Add songs to a trained run, without training it anew.

    Example: [bold]hushtune enroll runs/corpus "Artist - Title.mp3"[/bold]
    """
    require_run(run)
    if missing := [file for file in files if not file.is_file()]:
        raise AudioError("\n".join(f"{file}: no such file." for file in missing))
    from hushtune.training.linear.changes import enrol
    from hushtune.training.run import Run

    opened = Run.open(run)
    with resumable():
        added = enrol(opened, files, announce=say)
    for track in added:
        console.print(f"{track.id}: {track.name}", markup=False)
    if added:
        say(f"Next: hushtune compile {run}")


def remove(
    run: RunFolder,
    ids: Annotated[list[str], typer.Argument(help="Ids of songs, as in the run's split.json.")],
) -> None:
    """Remove songs from a trained run, without training it anew; their files stay.

    Example: [bold]hushtune remove runs/corpus 0007 0012[/bold]
    """
    require_run(run)
    from hushtune.training.linear.changes import remove as remove_songs
    from hushtune.training.run import Run

    opened = Run.open(run)
    with resumable():
        for track in remove_songs(opened, ids, announce=say):
            console.print(f"{track.id}: {track.name}", markup=False)
    say(f"Next: hushtune compile {run}")


def sync(
    run: RunFolder,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is new, changed or gone.")
    ] = False,
) -> None:
    """Bring a trained run up to date with its catalogue's folder or CSV file.

    Example: [bold]hushtune sync runs/corpus[/bold]
    """
    require_run(run)
    from hushtune.training.linear.changes import compare, synchronise
    from hushtune.training.run import Run

    opened = Run.open(run)
    with resumable():
        changes = compare(opened) if dry_run else synchronise(opened, announce=say)
    for what in ("new", "changed", "retitled", "gone"):
        for track in getattr(changes, what):
            console.print(f"{what}: {track.id}: {track.name}", markup=False)
    if changes and not dry_run:
        say(f"Next: hushtune compile {run}")
