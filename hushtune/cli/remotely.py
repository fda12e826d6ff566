"""Asking a service: options, and a bar over the seconds it says it takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hushtune.cli.output import say
from hushtune.client.address import Address, check_token, public_key
from hushtune.support.units import readable_bytes

if TYPE_CHECKING:
    from hushtune.client import Progress, RemoteClient
    from hushtune.fhe.answer import Answer
    from hushtune.fhe.client import Clip

Token = Annotated[
    str | None,
    typer.Option(envvar="HUSHTUNE_TOKEN", help="Bearer token, where the service wants one."),
]
InsecureHttp = Annotated[
    bool,
    typer.Option(
        "--insecure-http", help="Send a token unencrypted: everyone on the way can use it."
    ),
]
ArtifactId = Annotated[
    str | None,
    typer.Option(help="Refuse an artifact whose id does not begin so ('info')."),
]
Signer = Annotated[
    str | None,
    typer.Option(help="Refuse an artifact that this Ed25519 key has not signed: hex, or PEM file."),
]
KeyQueries = Annotated[
    int, typer.Option(min=1, help="Renew evaluation keys after so many queries.")
]
KeyDays = Annotated[float, typer.Option(min=0.01, help="Renew evaluation keys after so many days.")]


def check_service(
    server: str, token: str | None, *, insecure_http: bool, signer: str | None = None
) -> None:
    """Check address, token and signer, and say so where others on the way can change what is sent.

    Raises:
        ServiceError: not an address, not a token, or one that everyone on the way could read.
    """
    address = Address.parse(server)
    if token is not None:
        check_token(token, address, insecure_http=insecure_http)
    if signer is not None:
        public_key(signer)
    if not (address.encrypted or address.loopback or signer):
        say(
            f"Caution: {server} is not encrypted on the way. Use https, or --artifact-id or "
            "--signer."
        )


def connect(
    server: str,
    *,
    token: str | None,
    insecure_http: bool,
    artifact: str | None,
    signer: str | None,
    keys: Path | None = None,
    key_queries: int,
    key_days: float,
) -> "RemoteClient":
    """A client of the service at an address that was checked."""
    from hushtune.client import RemoteClient

    return RemoteClient(
        server,
        token=token,
        insecure_http=insecure_http,
        artifact=artifact,
        signer=signer,
        keys=keys,
        key_queries=key_queries,
        key_days=key_days,
    )


def identify_remotely(remote: "RemoteClient", clip: "Clip", top: int) -> "Answer":
    """Identify through a service, with a bar over the seconds it says it takes."""
    from hushtune.support.progress import progress_bar

    with progress_bar() as bar:
        task = bar.add_task("connecting", total=None, note="")

        def show(progress: "Progress") -> None:
            total = progress.expected_seconds or None
            done = min(progress.seconds, 0.99 * total) if total else 0
            note = f"{progress.seconds:.0f} s" if progress.seconds else ""
            if progress.step == "waiting":
                note = f"{progress.position - 1} before" if progress.position > 1 else "next"
            if progress.step == "preparing" and progress.sent_bytes:
                note = f"{readable_bytes(progress.sent_bytes)} of keys"
            if progress.received_bytes:
                note = readable_bytes(progress.received_bytes)
            bar.update(task, description=progress.step, total=total, completed=done, note=note)

        return remote.identify(clip, top=top, on_progress=show)
