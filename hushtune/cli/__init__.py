"""The command line: ``hushtune COMMAND --help`` explains each command with an example."""

import sys
import warnings
from typing import Annotated

import typer
from hushtune.support.errors import HushtuneError

from hushtune.cli import asking, making, measuring, serving, sign
from hushtune.cli.output import console, say

app = typer.Typer(
    name="hushtune",
    help="Name that tune without telling anyone what you hear: music recognition under FHE.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (making, sign, asking, serving, measuring):
    app.add_typer(part.app)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        from hushtune import __version__

        console.print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line: errors in a line or two, exit code 1."""
    warnings.filterwarnings("ignore", message="Named tensors")  # of torch, for Brevitas' authors
    try:
        app()
    except HushtuneError as error:
        say(f"Error: {error}")
        sys.exit(1)
    except OSError as error:
        say(f"Error: {error.filename or ''}: {error.strerror}.")
        sys.exit(1)
