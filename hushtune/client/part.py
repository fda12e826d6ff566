"""The client part of an artifact, as a stranger sends it: checked before anything is made of it.

A zip of ``manifest.json`` and the files in ``client/``. The manifest comes first: it is read
within limits, and its id, which covers everything in it and through their hashes all files, must
be the one that was asked for. Nothing else is looked at before. What a client encrypts with is
written anew from the manifest, by the fixed list of parameters (`hushtune.fhe.parameters`); the
files are arrays of numbers.
"""

import hashlib
import io
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

from hushtune.fhe.artifact import MANIFEST
from hushtune.fhe.manifest import LARGEST_BYTES as LARGEST_MANIFEST
from hushtune.fhe.manifest import Manifest
from hushtune.support.errors import ArtifactError

LARGEST_BYTES = 20_000_000
"""Of a client part, packed or unpacked: real ones take about 100 KB."""
SIGNATURE, LARGEST_SIGNATURE = "signature.json", 10_000
MOST_FILES = 20
ARRAYS = {"client/statistics.npy", "client/selected.npy"}
"""All that a client needs beside the manifest."""
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    *(OSError, EOFError, ValueError),
)
"""What reading a damaged zip may raise."""
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def keep_part(data: bytes, artifact: str, folder: Path, url: str) -> Path:
    """Check a client part and unpack it into the cache.

    Args:
        data: the zip as received.
        artifact: the id that it must have, 64 hexadecimal digits.
        folder: of the cache; the part comes to lie in the folder named by the artifact.
        url: of the service, for errors.

    Raises:
        ArtifactError: damaged, another artifact's, or not to be trusted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / artifact
    try:
        files = read_part(data, artifact)
    except UNREADABLE as error:
        raise ArtifactError(f"{url}: its client part cannot be read ({error}).") from error
    except ArtifactError as error:
        raise ArtifactError(f"{url}: do not trust this service: {error}") from error
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        unpacked = Path(partial) / "part"
        for name, content in files.items():
            path = unpacked / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        shutil.rmtree(target, ignore_errors=True)  # a damaged one
        try:
            unpacked.rename(target)
        except OSError:  # there meanwhile: another process was faster
            if not (target / MANIFEST).is_file():
                raise
    return target


def read_part(data: bytes, artifact: str) -> dict[str, bytes]:
    """The files of a client part, by name.

    Args:
        data: the zip as received.
        artifact: the id that it must have.

    Raises:
        ArtifactError: another artifact's, changed, or with files that do not belong to it.
        one of `UNREADABLE`: not a zip that can be read.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()) or len(entries) > MOST_FILES:
            raise ArtifactError("its client part holds a file twice, or too many files.")
        text = _content(archive, entries.get(MANIFEST), MANIFEST, LARGEST_MANIFEST)
        manifest = Manifest.read(text, f"{MANIFEST} of its client part")
        if manifest.id != artifact:
            raise ArtifactError(
                f"its client part is of artifact {manifest.id[:16]}, not of {artifact[:16]}."
            )
        listed = {name for name in manifest.files if name.startswith("client/")}
        if not listed <= ARRAYS:
            raise ArtifactError(f"its client part holds {sorted(listed - ARRAYS)[:5]}.")
        if set(entries) - {SIGNATURE} != {MANIFEST, *listed}:
            difference = sorted(set(entries) ^ {MANIFEST, *listed})
            raise ArtifactError(f"its client part lacks files or holds others: {difference[:5]}.")
        files, room = {MANIFEST: text}, LARGEST_BYTES
        for name in sorted(listed):
            files[name] = _content(archive, entries[name], name, room)
            room -= len(files[name])
            if hashlib.sha256(files[name]).hexdigest() != manifest.files[name]:
                raise ArtifactError(f"{name} of its client part was changed (SHA-256 differs).")
        if SIGNATURE in entries:
            limit = LARGEST_SIGNATURE
            files[SIGNATURE] = _content(archive, entries[SIGNATURE], SIGNATURE, limit)
    return files


def _content(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None, name: str, limit: int
) -> bytes:
    """An entry of a zip, however long it says it is."""
    if entry is None:
        raise ArtifactError(f"its client part lacks {name}.")
    if entry.compress_type not in METHODS or entry.flag_bits & 1:
        raise ArtifactError(f"{name} of its client part is encrypted or oddly compressed.")
    with archive.open(entry) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ArtifactError(f"{name} of its client part has more than {limit:,} bytes.")
    return data
