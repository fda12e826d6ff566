"""``hushtune token``: a token for a client of a service."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def token(
    file: Annotated[Path, typer.Argument(help="The tokens file; made where it does not exist.")],
    name: Annotated[str, typer.Argument(help="The client's name.")],
) -> None:
    """Make a token for a client of `serve --tokens`, and print it once; the file holds its hash.

    Example: [bold]hushtune token tokens.txt alice[/bold]
    """
    from hushtune.service.tokens import add_token

    sys.stdout.write(add_token(file, name) + "\n")
