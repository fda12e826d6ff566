"""Running the page's server."""

import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from hushtune.app.server import create_app
from hushtune.client import AsyncRemoteClient
from hushtune.listening import listen


def run_page(
    server: str,
    *,
    port: int,
    token: str | None = None,
    insecure_http: bool = False,
    artifact: str | None = None,
    signer: str | None = None,
    browse: bool = True,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve the page on this machine until interrupted.

    Args:
        server: address of the service.
        port: of the page, on 127.0.0.1; 0 for any free one.
        token: bearer token of the service.
        insecure_http: whether the token may be sent unencrypted to another machine.
        artifact: how the id of its artifact must begin, if another shall be refused.
        signer: public key that must have signed the artifact, if any.
        browse: open the page in a browser.
        announce: told the page's address.

    Raises:
        ServiceError: the port is taken, or the service's address or the token is none.
    """
    remote = AsyncRemoteClient(
        server, token=token, insecure_http=insecure_http, artifact=artifact, signer=signer
    )
    listening = listen("127.0.0.1", port)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    announce(f"The page: {address} (Ctrl-C ends it)")
    if browse:  # some browsers return only when they are closed
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    config = uvicorn.Config(
        create_app(remote), log_level="warning", ws="none", timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run(sockets=[listening])
