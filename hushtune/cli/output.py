"""What all commands share: where they write, how they say things, and cheap checks.

Nothing here imports what takes long: a wrong path is told before the FHE libraries are loaded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from hushtune.support.errors import ArtifactError, RunError
from hushtune.support.text import printable

if TYPE_CHECKING:
    from hushtune.configs.schema import Config


class PlainConsole(Console):
    """A console that prints text as text: what came from a stranger cannot command the terminal."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; control characters become question marks."""
        shown = (
            printable(each, keep="\n\t", instead="?") if isinstance(each, str) else each
            for each in objects
        )
        super().print(*shown, **options)


console = PlainConsole(highlight=False, soft_wrap=True)
messages = PlainConsole(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A line for people, beside the results."""
    messages.print(text, markup=False)


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl+C ends the command with a line that says how to resume it, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        say("Interrupted. Give the same command again to resume.")
        raise typer.Exit(130) from None


def config_of(path: Path) -> "Config":
    """The configuration that a command was given: a file, a shipped one's name, or a run's."""
    from hushtune.configs.loading import load_config

    if not (path / "config.yaml").is_file():
        return load_config(path)
    from hushtune.training.run import run_config

    return run_config(path)


def require_artifact(folder: Path) -> None:
    """Refuse a folder that is no artifact.

    Raises:
        ArtifactError: it is none.
    """
    if not (folder / "manifest.json").is_file():
        raise ArtifactError(
            f"{folder}: no artifact lies here (manifest.json is missing). "
            "Make one with 'hushtune compile RUN'."
        )


def require_run(folder: Path) -> None:
    """Refuse a folder that is no run.

    Raises:
        RunError: it is none.
    """
    if not (folder / "config.yaml").is_file():
        there = sorted(path.parent.name for path in folder.parent.glob("*/config.yaml"))
        hint = f" Runs beside it: {', '.join(there)}." if there else ""
        raise RunError(
            f"{folder}: no run lies here (config.yaml is missing).{hint} "
            "Make one with 'hushtune train CONFIG'."
        )
