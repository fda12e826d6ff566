"""Commands that run the service."""

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Annotated, get_args

import typer
from hushtune.support.units import readable_bytes

from hushtune.cli.output import console, say
from hushtune.service.settings import ServiceSettings

app = typer.Typer()


def _with_settings(command: Callable) -> Callable:
    """Give a command an option for each of the service's settings, named and told as there."""
    own = inspect.signature(command).parameters["artifact"]
    parameters = [own]
    for name, field in ServiceSettings.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        kind = next(kind for kind in kinds if kind is not NoneType)
        help_text = " ".join(field.description.replace("`", "").split())
        if field.default is not None and field.default_factory is None:
            help_text += f" Default: {field.default}."
        option = typer.Option(f"--{name.replace('_', '-')}", help=help_text, show_default=False)
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind | None, option],
            )
        )
    command.__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


@app.command()
@_with_settings
def serve(
    artifact: Annotated[Path, typer.Argument(help="Folder of an artifact: client, server parts.")],
    **options: object,
) -> None:
    """Serve an artifact over HTTP: clients send keys and queries, and nothing in the clear.

    Example: [bold]hushtune serve runs/demo/artifact --port 8714[/bold]
    """
    from hushtune.service.serving import serve as serve_artifact
    from hushtune.service.serving import service_settings

    given = {name: value for name, value in options.items() if value is not None}
    serve_artifact(
        artifact,
        service_settings(given),
        announce=lambda url: console.print(f"Serving at {url}", markup=False),
    )


@app.command("load-test")
def load_test(
    artifact: Annotated[Path, typer.Argument(help="Folder of an artifact: client, server parts.")],
    clients: Annotated[
        list[int], typer.Option(min=1, max=64, help="Clients at once. Repeat for several rows.")
    ] = [1, 2, 8],  # noqa: B006
    queries: Annotated[int, typer.Option(min=1, max=1000, help="Queries of each client.")] = 5,
    workers: Annotated[int | None, typer.Option(min=1, help="Of the server.")] = None,
    keys_in_memory: Annotated[int | None, typer.Option(min=1, help="Of each worker.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Measure a server's throughput, latency and memory, with clients on this machine.

    Example: [bold]hushtune load-test runs/demo/artifact --clients 1 --clients 4[/bold]
    """
    from hushtune.service.load import measure_load

    options = [f"--workers={workers}"] if workers else []
    options += [f"--keys-in-memory={keys_in_memory}"] if keys_in_memory else []
    rows = measure_load(artifact, clients=clients, queries=queries, options=options, announce=say)
    if as_json:
        sys.stdout.write(json.dumps([vars(row) for row in rows], indent=1) + "\n")
        return
    lines = [
        f"{'clients':>7}{'queries':>9}{'a minute':>10}{'p50 s':>8}{'p95 s':>8}{'FHE s':>8}"
        f"{'server':>10}{'workers':>10}{'growth':>11}"
    ]
    lines += [
        f"{row.clients:>7}{row.queries:>9}{row.queries_a_minute:>10.1f}{row.p50_seconds:>8.2f}"
        f"{row.p95_seconds:>8.2f}{row.compute_seconds:>8.2f}{readable_bytes(row.server_bytes):>10}"
        f"{readable_bytes(row.worker_bytes):>10}{readable_bytes(row.growth_bytes):>11}"
        for row in rows
    ]
    console.print("\n".join(lines), markup=False)


@app.command()
def token(
    file: Annotated[Path, typer.Argument(help="The tokens file; made where it does not exist.")],
    name: Annotated[str, typer.Argument(help="The client's name.")],
) -> None:
    """Make a token for a client of `serve --tokens`, and print it once; the file holds its hash.

    Example: [bold]hushtune token tokens.txt alice[/bold]
    """
    from hushtune.service.tokens import add_token

    sys.stdout.write(add_token(file, name) + "\n")
