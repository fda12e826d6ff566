"""``hushtune load-test``: a server under load."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hushtune.cli.output import console, require_artifact, say
from hushtune.support.units import readable_bytes


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
    require_artifact(artifact)
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
