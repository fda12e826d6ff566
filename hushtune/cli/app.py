"""``hushtune app``: the page on this machine."""

from typing import Annotated

import typer

from hushtune.cli.output import say
from hushtune.cli.remotely import ArtifactId, InsecureHttp, Signer, Token, check_service


def page(
    server: Annotated[str, typer.Option(help="Address of a service.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 for any.")] = 8715,
    token: Token = None,
    insecure_http: InsecureHttp = False,
    artifact_id: ArtifactId = None,
    signer: Signer = None,
    browse: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Show a page on this machine that listens, encrypts, and shows what the server sees.

    Example: [bold]hushtune app --server http://127.0.0.1:8714[/bold]
    """
    check_service(server, token, insecure_http=insecure_http, signer=signer)
    from hushtune.app.run import run_page

    run_page(
        server,
        port=port,
        token=token,
        insecure_http=insecure_http,
        artifact=artifact_id,
        signer=signer,
        browse=browse,
        announce=say,
    )
