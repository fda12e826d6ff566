"""``hushtune info``: what an artifact is."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hushtune.cli.output import console, require_artifact
from hushtune.support.units import readable_bytes, readable_seconds

if TYPE_CHECKING:
    from hushtune.fhe.manifest import Manifest


def info(
    artifact: Annotated[Path, typer.Argument(help="Folder of an artifact.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole manifest.")] = False,
) -> None:
    """Show what an artifact is, what it costs and how good it is.

    Example: [bold]hushtune info runs/demo/artifact[/bold]
    """
    require_artifact(artifact)
    from hushtune.fhe.artifact import PARTS, Artifact

    there = tuple(part for part in PARTS if (artifact / part).is_dir())
    loaded = Artifact(artifact, there)
    if as_json:
        sys.stdout.write(loaded.manifest.to_json().decode())
        return
    from hushtune.fhe import signing
    from hushtune.fhe.diagram import draw_pipeline

    signed = (artifact / signing.NAME).is_file()
    signer = signing.verify(artifact) if signed else "nobody (unsigned)"
    facts = f"{_manifest_text(loaded.manifest, there)}\nsigned by   {signer}"
    text = f"{facts}\n\n{draw_pipeline(loaded.manifest)}"
    console.print(text, markup=False)


def _manifest_text(manifest: "Manifest", parts: tuple[str, ...]) -> str:
    costs, circuit, accuracy = manifest.costs, manifest.circuit, manifest.accuracy
    versions = ", ".join(f"{name} {value}" for name, value in manifest.versions.items())
    lines = [
        f"{manifest.name}: {len(manifest.catalogue)} songs, made {manifest.created}",
        f"id          {manifest.id}",
        f"versions    {versions}",
        f"parts here  {', '.join(parts)}",
        f"circuit     {circuit.pbs} PBS, widest value {circuit.widest_bits} bits, "
        f"p_error {circuit.p_error:.2g}",
    ]
    if costs:
        lines.append(
            f"a query     {readable_bytes(costs.query_bytes)} up, "
            f"{readable_bytes(costs.response_bytes)} down, "
            f"{readable_seconds(costs.compute_seconds)} on the machine that exported it"
        )
        lines.append(
            f"keys        {readable_bytes(costs.evaluation_key_bytes)} uploaded, "
            f"{readable_seconds(costs.key_seconds)} to make; renewed from time to time"
            if manifest.encryption.has_evaluation_keys
            else "keys        a fresh one for every query, none uploaded"
        )
    if accuracy:
        measured = cast("dict[str, float | None]", accuracy["quantized"])
        told = {"top1": "top-1", "top3": "top-3", "unknown_rejected": "unknown rejected"}
        shares = [
            f"{name} {share:.1%}"
            for key, name in told.items()
            if (share := measured[key]) is not None
        ]
        lines.append(f"accuracy    {', '.join(shares)} (quantized, test clips)")
    return "\n".join(lines)
