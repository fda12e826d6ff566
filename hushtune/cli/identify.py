"""``hushtune identify``: clips, here or through a service."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hushtune.cli.answers import AsJson, Top, identify_all, require_a_clip
from hushtune.cli.output import require_artifact, say
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
from hushtune.support.errors import ArtifactError, ConfigError
from hushtune.support.units import readable_seconds

if TYPE_CHECKING:
    from hushtune.fhe.answer import Answer
    from hushtune.recognizer import Recognizer


class FheMode(str, Enum):
    """How `identify` runs the network."""

    execute = "execute"
    simulate = "simulate"
    clear = "clear"


def identify(
    artifact: Annotated[
        Path, typer.Argument(help="Folder of an artifact; with --server, the first clip.")
    ],
    clips: Annotated[
        list[Path] | None, typer.Argument(help="Audio files, or videos with sound.")
    ] = None,
    fhe: Annotated[
        FheMode,
        typer.Option(help="execute: real FHE; simulate: Concrete's simulation; clear: no FHE."),
    ] = FheMode.execute,
    server: Annotated[
        str | None, typer.Option(help="Address of a service, instead of an artifact.")
    ] = None,
    token: Token = None,
    insecure_http: InsecureHttp = False,
    artifact_id: ArtifactId = None,
    signer: Signer = None,
    as_json: AsJson = False,
    top: Top = 3,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="Key file, where the circuit needs evaluation keys; made on first use. Default: "
            "in your data folder."
        ),
    ] = None,
    key_queries: KeyQueries = 200,
    key_days: KeyDays = 7.0,
) -> None:
    """Identify clips: title and artist, or "unknown".

    Example: [bold]hushtune identify runs/demo/artifact clip.mp3[/bold]
    """
    files = list(clips or [])
    if server is not None:
        if fhe is not FheMode.execute:
            raise ConfigError(f"--fhe={fhe.value}: a service computes under real FHE only.")
        if (artifact / "manifest.json").is_file():
            raise ConfigError(f"{artifact}: an artifact. With --server, give clips alone.")
        check_service(server, token, insecure_http=insecure_http, signer=signer)
        files = [artifact, *files]
        require_a_clip(files)
        with connect(
            server,
            token=token,
            insecure_http=insecure_http,
            artifact=artifact_id,
            signer=signer,
            keys=keys,
            key_queries=key_queries,
            key_days=key_days,
        ) as remote:
            identify_all(
                files, lambda clip: identify_remotely(remote, clip, top), "server", as_json=as_json
            )
        return
    if not files:
        raise ConfigError("No clip given. Give an artifact and clips, or --server URL and clips.")
    require_artifact(artifact)
    require_a_clip(files)
    _check_demands(artifact, artifact_id, signer)
    from hushtune.recognizer import Recognizer

    recognizer = Recognizer(artifact, fhe.value, keys)
    if recognizer.key_seconds is not None:
        say(f"Made new keys in {readable_seconds(recognizer.key_seconds)}.")
    identify_all(
        files, lambda clip: _with_progress(recognizer, clip, top), fhe.value, as_json=as_json
    )


def _check_demands(artifact: Path, artifact_id: str | None, signer: str | None) -> None:
    """What is demanded of a service's artifact is demanded of one in a folder, too."""
    if artifact_id is not None:
        from hushtune.client.address import check_pin
        from hushtune.fhe.artifact import read_manifest

        found = read_manifest(artifact).id
        if not found.startswith(check_pin(artifact_id)):
            raise ArtifactError(f"{artifact}: its id is {found}, not {artifact_id}...")
    if signer is not None:
        from hushtune.client.address import public_key
        from hushtune.fhe.signing import verify

        verify(artifact, public_key(signer))


def _with_progress(recognizer: "Recognizer", clip: Path, top: int) -> "Answer":
    """Identify with a bar that fills over the seconds the artifact is known to take."""
    from hushtune.support.progress import progress_bar

    if recognizer.mode != "execute":
        return recognizer.identify(clip, top=top)
    expected = recognizer.expected_seconds
    with progress_bar() as bar:
        task = bar.add_task(f"FHE {clip.name[-20:]}", total=round(expected), note="")

        def show(seconds: float) -> None:
            bar.update(task, completed=min(seconds, 0.99 * expected), note=f"{seconds:.0f} s")

        answer = recognizer.identify(clip, top=top, on_progress=show)
        bar.update(task, completed=round(expected), note="")
    return answer
