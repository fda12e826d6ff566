"""The artifact: what `compile` exports and client and server load.

```
artifact/
  manifest.json             versions, catalogue, costs, accuracy, SHA-256 of every file
  model-card.md             the same for people, with licences and limits
  client/client.zip         encryption parameters and quantizers (Concrete ML)
  client/statistics.npy     mean and deviation of the images
  client/selected.npy           places of the image values that are encrypted, where not all
  server/server.zip         the compiled circuit (Concrete ML)
  server/linear.npz         its integer weights, where it has no look-ups (see fhe/linear.py)
  owner/network.safetensors the quantized network's weights, for --fhe simulate and clear
  owner/calibration.npy     images the compiler was calibrated on
```

A service gives its clients ``manifest.json`` and ``client/``; the server needs ``manifest.json``
and ``server/``; ``owner/`` stays with the owner.
"""

import hashlib
import json
import sys
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from ..configs.schema import FheSettings, NetworkSettings, Settings, SignalSettings, Spectrum
from ..model.decision import Decision
from ..model.frontend import FrontEnd
from ..support.errors import ArtifactError
from .answer import Song
from .number import Number

FORMAT_VERSION = 4
VERSIONED_PACKAGES = ("concrete-ml", "concrete-python")
PARTS = ("client", "server", "owner")


class ArtifactConfig(Settings):
    """The settings that travel in an artifact: no paths, nothing of the owner's machine."""

    signal: SignalSettings
    spectrum: Spectrum
    network: NetworkSettings
    fhe: FheSettings


class Artifact:
    """An artifact folder whose manifest was read and whose files were checked.

    Args:
        folder: the artifact.
        parts: which of ``client``, ``server``, ``owner`` must be there and unchanged.

    Raises:
        ArtifactError: every mismatch found, in one error.
    """

    def __init__(self, folder: str | Path, parts: tuple[str, ...]):
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder)
        problems = [*_version_problems(self.manifest), *_file_problems(self, parts)]
        if problems:
            raise ArtifactError(
                f"{self.folder}: this artifact cannot be used:\n"
                + "\n".join(f"  - {problem}" for problem in problems)
                + "\nInstall the versions it names, or export it again with 'hushtune compile'."
            )

    @property
    def id(self) -> bytes:
        """SHA-256 over all that client and server must agree on."""
        return bytes.fromhex(self.manifest["id"])

    @cached_property
    def songs(self) -> list[Song]:
        """The catalogue, in the order of the classes."""
        return [Song(**song) for song in self.manifest["catalogue"]]

    @cached_property
    def config(self) -> ArtifactConfig:
        """Front end, network and FHE settings."""
        return ArtifactConfig.model_validate(self.manifest["config"])

    @cached_property
    def decision(self) -> Decision:
        """When to answer "unknown"."""
        return Decision.from_json(self.manifest["decision"])

    @cached_property
    def number(self) -> Number | None:
        """How the circuit finds the song's number; None where it ends in the logits."""
        return Number.of_manifest(self.manifest)

    def front_end(self) -> FrontEnd:
        """The front end, with the statistics of the training images and the choice of values."""
        return FrontEnd.load(self.config.signal, self.config.spectrum, self.folder / "client")


def installed_versions() -> dict[str, str]:
    """Versions that an artifact must have been made with to be loaded here.

    Concrete ML insists on the same Python minor version in the client's part.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"python": python, **{name: version(name) for name in VERSIONED_PACKAGES}}


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of an artifact but its manifest."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def artifact_id(manifest: dict) -> str:
    """The artifact's id: SHA-256 over all that client and server must agree on."""
    files = {name: sha for name, sha in manifest["files"].items() if not name.startswith("owner/")}
    shared = [files, *(manifest[name] for name in ("config", "catalogue", "decision", "number"))]
    # as JSON gives it back, so that the id is the same before and after writing
    text = json.dumps(json.loads(json.dumps(shared)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_manifest(folder: Path) -> dict:
    path = folder / "manifest.json"
    if not path.is_file():
        raise ArtifactError(
            f"{folder}: no artifact lies here (manifest.json is missing). "
            "Make one with 'hushtune compile RUN'."
        )
    try:
        manifest = json.loads(path.read_text("utf-8"))
        found = manifest["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: damaged ({error}). Export the artifact again.") from error
    if found != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: format_version={found}, expected {FORMAT_VERSION}. Use the Hushtune that "
            f"made it ({manifest.get('versions', {}).get('hushtune', 'unknown')}) or export again."
        )
    missing = {"id", "files", "versions", "config", "catalogue", "costs", "decision", "number"}
    missing -= set(manifest)
    if missing:
        raise ArtifactError(f"{path}: damaged, {', '.join(sorted(missing))} missing.")
    return manifest


def _version_problems(manifest: dict) -> list[str]:
    installed = installed_versions()
    return [
        f"made with {name} {manifest['versions'].get(name)}, installed is {here}"
        for name, here in installed.items()
        if manifest["versions"].get(name) != here
    ]


def _file_problems(artifact: Artifact, parts: tuple[str, ...]) -> list[str]:
    problems = []
    files = artifact.manifest["files"]
    if artifact_id(artifact.manifest) != artifact.manifest["id"]:
        problems.append("manifest.json: changed since export (its id does not match its content)")
    for name, digest in files.items():
        if name.split("/")[0] not in parts:
            continue
        path = artifact.folder / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            problems.append(f"{name}: changed or truncated since export (SHA-256 differs)")
    return problems
