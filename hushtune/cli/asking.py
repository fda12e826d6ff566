"""Commands that identify clips, here or through a service."""

import json
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from hushtune.support.errors import ConfigError, HushtuneError
from hushtune.support.units import readable_bytes, readable_seconds

from hushtune.cli.output import console, say

app = typer.Typer()

Token = Annotated[
    str | None,
    typer.Option(envvar="HUSHTUNE_TOKEN", help="Bearer token, where the service wants one."),
]
ArtifactId = Annotated[
    str | None,
    typer.Option(help="Refuse a service whose artifact's id does not begin so ('info')."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Top = Annotated[int, typer.Option(min=1, max=100, help="How many matches to give.")]


class FheMode(str, Enum):
    """How `identify` runs the network."""

    execute = "execute"
    simulate = "simulate"
    clear = "clear"


@app.command()
def identify(
    artifact: Annotated[
        Path, typer.Argument(help="Folder of an artifact; with --server, the first clip.")
    ],
    clips: Annotated[
        list[Path] | None, typer.Argument(help="Audio files: WAV, FLAC, OGG or MP3.")
    ] = None,
    fhe: Annotated[
        FheMode,
        typer.Option(help="execute: real FHE; simulate: Concrete's simulation; clear: no FHE."),
    ] = FheMode.execute,
    server: Annotated[
        str | None, typer.Option(help="Address of a service, instead of an artifact.")
    ] = None,
    token: Token = None,
    artifact_id: ArtifactId = None,
    as_json: AsJson = False,
    top: Top = 3,
    keys: Annotated[
        Path | None,
        typer.Option(help="Key file; made on first use. Default: in your data folder."),
    ] = None,
) -> None:
    """Identify clips: title and artist, or "unknown".

    Example: [bold]hushtune identify runs/demo/artifact clip.mp3[/bold]
    """
    files = list(clips or [])
    if server is not None:
        if fhe is not FheMode.execute:
            raise ConfigError(f"--fhe={fhe.value}: a service computes under real FHE only.")
        with _service(server, token=token, keys=keys, artifact=artifact_id) as remote:
            _identify_all(
                [artifact, *files], lambda clip: _remotely(remote, clip, top), "server", as_json
            )
        return
    if not files:
        raise ConfigError("No clip given. Give an artifact and clips, or --server URL and clips.")
    from hushtune.recognizer import Recognizer

    recognizer = Recognizer(artifact, fhe.value, keys)
    if recognizer.key_seconds is not None:
        say(f"Made new keys in {readable_seconds(recognizer.key_seconds)}.")
    _identify_all(files, lambda clip: _with_progress(recognizer, clip, top), fhe.value, as_json)


@app.command()
def listen(
    server: Annotated[str, typer.Option(help="Address of a service.")],
    seconds: Annotated[
        float, typer.Option(min=1, max=20, help="How long to listen to the microphone.")
    ] = 10.0,
    device: Annotated[
        str | None, typer.Option(help="Microphone: a part of its name, or its number.")
    ] = None,
    token: Token = None,
    artifact_id: ArtifactId = None,
    as_json: AsJson = False,
    top: Top = 3,
) -> None:
    """Identify what plays near the microphone, through a service.

    Example: [bold]hushtune listen --server http://127.0.0.1:8714[/bold]
    """
    from hushtune.microphone import record

    with _service(server, token=token, artifact=artifact_id) as remote:
        remote.prepare()  # not while the music goes by
        say(f"Listening for {seconds:g} s.")
        clip = record(seconds, device)
        _identify_all(
            [Path("microphone")], lambda _: _remotely(remote, clip, top), "server", as_json
        )


@app.command(name="app")
def page(
    server: Annotated[str, typer.Option(help="Address of a service.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 for any.")] = 8715,
    token: Token = None,
    artifact_id: ArtifactId = None,
    browse: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Show a page on this machine that listens, encrypts, and shows what the server sees.

    Example: [bold]hushtune app --server http://127.0.0.1:8714[/bold]
    """
    from hushtune.app.run import run_page

    _caution(server)
    run_page(server, port=port, token=token, artifact=artifact_id, browse=browse, announce=say)


@app.command()
def info(
    artifact: Annotated[Path, typer.Argument(help="Folder of an artifact.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole manifest.")] = False,
) -> None:
    """Show what an artifact is, what it costs and how good it is.

    Example: [bold]hushtune info runs/demo/artifact[/bold]
    """
    from hushtune.fhe.artifact import PARTS, Artifact

    there = tuple(part for part in PARTS if (artifact / part).is_dir())
    loaded = Artifact(artifact, there)
    if as_json:
        sys.stdout.write(json.dumps(loaded.manifest, indent=1, ensure_ascii=False) + "\n")
        return
    from hushtune.fhe import signing
    from hushtune.fhe.diagram import draw_pipeline

    signed = (artifact / signing.NAME).is_file()
    signer = signing.verify(artifact) if signed else "nobody (unsigned)"
    facts = f"{_manifest_text(loaded.manifest, there)}\nsigned by   {signer}"
    text = f"{facts}\n\n{draw_pipeline(loaded.manifest)}"
    console.print(text, markup=False)


def _service(server: str, **options):
    """A client of the service at an address."""
    from hushtune.client import RemoteClient

    _caution(server)
    return RemoteClient(server, **options)


def _caution(server: str) -> None:
    """Say so where others on the way can read the token and change the client part."""
    parsed = urlsplit(server)
    if parsed.scheme == "http" and parsed.hostname not in ("127.0.0.1", "localhost", "::1"):
        say(f"Caution: {server} is not encrypted on the way. Use https, or --artifact-id.")


def _remotely(remote, clip, top: int):
    """Identify through a service, with a bar over the seconds it says it takes."""
    from hushtune.support.progress import progress_bar

    with progress_bar() as bar:
        task = bar.add_task("connecting", total=None, note="")

        def show(progress) -> None:
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


def _identify_all(clips: list[Path], identify_one, mode: str, as_json: bool) -> None:
    """Identify clips one after another; a clip that cannot be is told and passed over."""
    results, failed = [], False
    for clip in clips:
        try:
            answer = identify_one(clip)
        except HushtuneError as error:
            failed = True
            results.append({"clip": str(clip), "error": str(error)})
            say(f"Error: {error}")
            continue
        results.append({"clip": str(clip), "mode": mode, **answer.to_json()})
        if not as_json:
            console.print(_answer_text(clip, answer), markup=False)
    if as_json:
        sys.stdout.write(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if failed:
        raise typer.Exit(1)


def _with_progress(recognizer, clip: Path, top: int):
    """Identify with a bar that fills over the seconds the artifact is known to take."""
    from hushtune.support.progress import progress_bar

    if recognizer.mode != "execute":
        return recognizer.identify(clip, top=top)
    expected = recognizer.artifact.manifest["costs"]["compute_seconds"]
    with progress_bar() as bar:
        task = bar.add_task(f"FHE {clip.name[-20:]}", total=round(expected), note="")

        def show(seconds: float) -> None:
            bar.update(task, completed=min(seconds, 0.99 * expected), note=f"{seconds:.0f} s")

        answer = recognizer.identify(clip, top=top, on_progress=show)
        bar.update(task, completed=round(expected), note="")
    return answer


def _answer_text(clip: Path, answer) -> str:
    costs = answer.costs
    head = f"{clip}: {answer.text}"
    if answer.is_unknown:
        sure = answer.unknown_probability
        head += ("" if sure is None else f" ({sure:.0%})") + ", not in this catalogue"
    lines = [head]
    for place, match in enumerate(answer.matches, 1):
        probable = "" if match.probability is None else f"  {match.probability:.1%}"
        lines.append(f"  {place}. {match.song.name}{probable}")
    if costs.query_bytes:
        lines.append(
            f"  sent {readable_bytes(costs.query_bytes)}, "
            f"received {readable_bytes(costs.response_bytes)}, "
            f"server {readable_seconds(costs.compute_seconds)}"
        )
    lines += [f"  note: {note}" for note in answer.notes]
    return "\n".join(lines)


def _manifest_text(manifest: dict, parts: tuple[str, ...]) -> str:
    costs, circuit, accuracy = manifest["costs"], manifest["circuit"], manifest["accuracy"]
    versions = ", ".join(f"{name} {value}" for name, value in manifest["versions"].items())
    lines = [
        f"{manifest['name']}: {len(manifest['catalogue'])} songs, made {manifest['created']}",
        f"id          {manifest['id'][:16]}",
        f"versions    {versions}",
        f"parts here  {', '.join(parts)}",
        f"circuit     {circuit['pbs']} PBS, widest value {circuit['widest_bits']} bits, "
        f"p_error {circuit['p_error']:.2g}",
        f"a query     {readable_bytes(costs['query_bytes'])} up, "
        f"{readable_bytes(costs['response_bytes'])} down, "
        f"{readable_seconds(costs['compute_seconds'])} on the machine that exported it",
        f"keys        {readable_bytes(costs['evaluation_key_bytes'])} uploaded once, "
        f"{readable_seconds(costs['key_seconds'])} to make",
    ]
    if accuracy:
        measured = accuracy["quantized"]
        lines.append(
            f"accuracy    top-1 {measured['top1']:.1%}, top-3 {measured['top3']:.1%}, unknown "
            f"rejected {measured['unknown_rejected']:.1%} (quantized, test clips)"
        )
    return "\n".join(lines)
