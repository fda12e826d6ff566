"""The command line: ``hushtune COMMAND --help`` explains each command with an example.

One file a command. A command imports what takes long when it runs, so that help and refusals of
wrong paths and addresses are quick.
"""

import sys
import warnings
from functools import partial
from typing import Annotated

import typer

from hushtune.cli import config, encoder, report
from hushtune.cli.app import page
from hushtune.cli.change import enroll, remove, sync
from hushtune.cli.clips import clips
from hushtune.cli.compile import compile_run
from hushtune.cli.demo import demo
from hushtune.cli.evaluate import evaluate
from hushtune.cli.identify import identify
from hushtune.cli.info import info
from hushtune.cli.listen import listen
from hushtune.cli.load_test import load_test
from hushtune.cli.output import console, say
from hushtune.cli.serve import CONTEXT, Commands, serve
from hushtune.cli.sign import sign
from hushtune.cli.sweep import sweep
from hushtune.cli.token import token
from hushtune.cli.train import train
from hushtune.support.errors import HushtuneError

commands = typer.Typer(
    name="hushtune",
    cls=Commands,
    help="Name that tune without telling anyone what you hear: music recognition under FHE.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)
ask, make, run, measure = (
    partial(commands.command, rich_help_panel=panel)
    for panel in ("Ask", "Make", "Serve", "Measure")
)
ask()(identify)
ask()(listen)
ask("app")(page)
ask()(info)
make()(demo)
make()(train)
make()(enroll)
make()(remove)
make()(sync)
make("compile")(compile_run)
make()(sign)
make()(clips)
commands.add_typer(config.group, name="config", rich_help_panel="Make")
commands.add_typer(encoder.group, name="encoder", rich_help_panel="Make")
run()(serve)
run()(token)
measure("load-test")(load_test)
measure()(evaluate)
measure()(sweep)
commands.add_typer(report.group, name="report", rich_help_panel="Measure")


@commands.callback(invoke_without_command=True)
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
        commands()
    except HushtuneError as error:
        say(f"Error: {error}")
        sys.exit(1)
    except OSError as error:
        say(f"Error: {error.filename or ''}: {error.strerror}.")
        sys.exit(1)
