"""``hushtune listen``: what plays near the microphone."""

from pathlib import Path
from typing import Annotated

import typer

from hushtune.cli.answers import AsJson, Top, identify_all
from hushtune.cli.output import say
from hushtune.cli.remotely import (
    ArtifactId,
    InsecureHttp,
    KeyDays,
    KeyQueries,
    Signer,
    Token,
    check_service,
    connect,
    identify_remotely,
)


def listen(
    server: Annotated[str, typer.Option(help="Address of a service.")],
    seconds: Annotated[
        float, typer.Option(min=1, max=20, help="How long to listen to the microphone.")
    ] = 10.0,
    device: Annotated[
        str | None, typer.Option(help="Microphone: a part of its name, or its number.")
    ] = None,
    token: Token = None,
    insecure_http: InsecureHttp = False,
    artifact_id: ArtifactId = None,
    signer: Signer = None,
    as_json: AsJson = False,
    top: Top = 3,
    key_queries: KeyQueries = 200,
    key_days: KeyDays = 7.0,
) -> None:
    """Identify what plays near the microphone, through a service.

    Example: [bold]hushtune listen --server http://127.0.0.1:8714[/bold]
    """
    check_service(server, token, insecure_http=insecure_http, signer=signer)
    from hushtune.microphone import record

    with connect(
        server,
        token=token,
        insecure_http=insecure_http,
        artifact=artifact_id,
        signer=signer,
        key_queries=key_queries,
        key_days=key_days,
    ) as remote:
        remote.prepare()  # not while the music goes by
        say(f"Listening for {seconds:g} s.")
        clip = record(seconds, device)
        identify_all(
            [Path("microphone")],
            lambda _: identify_remotely(remote, clip, top),
            "server",
            as_json=as_json,
        )
