"""The artifact: what `compile` exports and client and server load.

```
artifact/
  manifest.json             what the artifact is: encryption, catalogue, costs, SHA-256 of files
  signature.json            who vouches for it, where it was signed (see fhe/signing.py)
  model-card.md             the manifest for people, with licences and limits
  client/statistics.npy     mean and deviation of the features
  client/selected.npy       places of the features that are encrypted, where not all
  server/server.zip         the compiled circuit (Concrete ML)
  server/linear.npz         its integer weights, where it has no PBS (see fhe/linear.py)
  owner/network.safetensors the quantized network's weights, for --fhe simulate and clear
  owner/calibration.npy     features the compiler was calibrated with
```

A service gives its clients ``manifest.json`` and ``client/``; the server needs ``manifest.json``
and ``server/``; ``owner/`` stays with the owner. What a client encrypts with is in the manifest;
``server/`` is code and data that the server's process executes.
"""

import hashlib
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..model.features import FrontEnd, load_front_end
from ..support.errors import ArtifactError
from .heads import AnswerHead, head_of
from .manifest import ArtifactConfig, Manifest

MANIFEST = "manifest.json"
VERSIONED_PACKAGES = {
    "client": ("concrete-python",),
    "server": ("concrete-python", "concrete-ml"),
    "owner": ("concrete-python", "concrete-ml"),
}
"""What must be installed in the very version that an artifact was made with, to use a part."""
PARTS = ("client", "server", "owner")


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
        self.manifest = read_manifest(self.folder)
        problems = [
            *_version_problems(self.manifest, parts),
            *_file_problems(self.manifest, self.folder, parts),
        ]
        if problems:
            raise ArtifactError(
                f"{self.folder}: this artifact cannot be used:\n"
                + "\n".join(f"  - {problem}" for problem in problems)
                + "\nInstall the versions it names, or export it again with 'hushtune compile'."
            )

    @cached_property
    def id(self) -> bytes:
        """SHA-256 over the manifest, and with it over all that client and server agree on."""
        return bytes.fromhex(self.manifest.id)

    @property
    def config(self) -> ArtifactConfig:
        """Front end, network and FHE settings."""
        return self.manifest.config

    @cached_property
    def head(self) -> AnswerHead:
        """What the circuit's output means."""
        return head_of(self.manifest)

    def front_end(self) -> FrontEnd:
        """The front end, with the statistics and the selected features of training.

        Raises:
            ArrayFileError: a file of it is not what the settings ask for.
        """
        config = self.config
        return load_front_end(
            config.signal, config.spectrum, self.folder / "client", selected=config.network.inputs
        )


def installed_versions() -> dict[str, str]:
    """Versions of the packages that an artifact depends on; those that are missing left out."""
    found = {}
    for name in sorted({name for names in VERSIONED_PACKAGES.values() for name in names}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of an artifact but those that are not under its id."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent != folder
    }


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artifact.

    Raises:
        ArtifactError: there is none, or it cannot be used.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactError(
            f"{folder}: no artifact lies here ({MANIFEST} is missing). "
            "Make one with 'hushtune compile RUN'."
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}).") from error
    return Manifest.read(data, str(path))


def _version_problems(manifest: Manifest, parts: tuple[str, ...]) -> list[str]:
    installed = installed_versions()
    names = sorted({name for part in parts for name in VERSIONED_PACKAGES[part]})
    return [
        f"made with {name} {manifest.versions.get(name)}, installed is {installed.get(name)}"
        for name in names
        if manifest.versions.get(name) != installed.get(name)
    ]


def _file_problems(manifest: Manifest, folder: Path, parts: tuple[str, ...]) -> list[str]:
    problems = []
    for name, digest in manifest.files.items():
        if name.split("/")[0] not in parts:
            continue
        path = folder / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            problems.append(f"{name}: changed or truncated since export (SHA-256 differs)")
    return problems
