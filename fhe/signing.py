"""Signatures: who made an artifact.

An artifact is code and data of whoever made it. Its owner signs it with an Ed25519 key
(RFC 8032) and publishes the public key: 64 hexadecimal digits. ``signature.json`` beside
``manifest.json`` holds the signature of the artifact's id, which covers the manifest and, through
their hashes, the files. Exporting anew removes it.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ..support import strict_json
from ..support.errors import ArtifactError, KeyFileError
from ..support.files import create_exclusively, write_atomically
from .artifact import PARTS, Artifact

NAME = "signature.json"
ALGORITHM = "Ed25519"
DOMAIN = b"hushtune artifact signature 1\n"
"""Begins the signed message, so that the key's signatures of anything else are no use here."""
LARGEST_BYTES = 4096
_PRIME = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER = {0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8}
"""Second coordinates of the points of small order: OpenSSL takes them for keys, and each accepts
signatures that anybody can make."""


def new_key(path: Path, passphrase: str | None = None) -> str:
    """Make a key pair and write the private key as PEM that only this user can read (mode 0600).

    Args:
        path: of a file that does not exist yet.
        passphrase: encrypts the file; None for an unencrypted one.

    Returns:
        The public key.

    Raises:
        KeyFileError: the file exists, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase:
        encryption = BestAvailableEncryption(passphrase.encode())
    try:
        create_exclusively(
            path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), mode=0o600
        )
    except FileExistsError as error:
        raise KeyFileError(f"{path}: exists already. Choose another name.") from error
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written ({error.strerror}).") from error
    return public_key_of(key)


def load_key(path: Path, passphrase: str | None = None) -> Ed25519PrivateKey:
    """Read a private key that `new_key` wrote.

    Args:
        path: of the PEM file.
        passphrase: of an encrypted file.

    Raises:
        KeyFileError: not such a file, or another passphrase.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read ({error.strerror}).") from error
    encrypted = b"ENCRYPTED" in data
    if encrypted and not passphrase:
        raise KeyFileError(f"{path}: is encrypted. Give its passphrase.")
    password = passphrase.encode() if encrypted and passphrase else None
    try:
        key = load_pem_private_key(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = "the passphrase is wrong, or the file is damaged" if encrypted else "not a PEM key"
        raise KeyFileError(f"{path}: no private key could be read: {hint}.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(
            f"{path}: holds a key of another kind than {ALGORITHM}. Make one with "
            "'hushtune sign --new-key FILE'."
        )
    return key


def is_encrypted(path: Path) -> bool:
    """Whether a private key's file asks for a passphrase."""
    return path.is_file() and b"ENCRYPTED" in path.read_bytes()


def public_key_of(key: Ed25519PrivateKey) -> str:
    """The public key that belongs to a private one: 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def sign(folder: Path, key: Ed25519PrivateKey) -> str:
    """Sign an artifact: write ``signature.json``, in place of an older one.

    Args:
        folder: of the artifact, all of whose files are checked first.
        key: of the owner.

    Returns:
        The public key.

    Raises:
        ArtifactError: a file is missing or was changed since export.
    """
    artifact = _checked(folder, PARTS)
    public_key = public_key_of(key)
    signature = key.sign(DOMAIN + artifact.id).hex()
    content = {"algorithm": ALGORITHM, "public_key": public_key, "signature": signature}
    write_atomically(folder / NAME, (json.dumps(content, indent=1) + "\n").encode())
    return public_key


def verify(folder: Path, public_key: str | None = None) -> str:
    """Check an artifact's signature, and that manifest and files are those that were signed.

    Args:
        folder: of the artifact or of some of its parts.
        public_key: of the signer to demand; whoever signed where None.

    Returns:
        The signer's public key.

    Raises:
        ArtifactError: unsigned, signed by another key, of another artifact, or changed since.
    """
    artifact = _checked(folder, tuple(part for part in PARTS if (folder / part).is_dir()))
    path = folder / NAME
    if not path.is_file():
        raise ArtifactError(f"{folder}: unsigned. Its owner signs it with 'hushtune sign'.")
    with path.open("rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    return verify_bytes(artifact.id, content, public_key, what=str(path))


def verify_bytes(
    artifact_id: bytes, content: bytes, public_key: str | None = None, *, what: str = NAME
) -> str:
    """Check the content of a ``signature.json`` against an artifact's id.

    Args:
        artifact_id: 32 bytes; that manifest and files have this id is checked elsewhere.
        content: of the file, from anybody.
        public_key: of the signer to demand; whoever signed where None.
        what: names the file in errors.

    Returns:
        The signer's public key.

    Raises:
        ArtifactError: malformed, signed by another key, or of another artifact.
    """
    try:
        if public_key is not None:
            public_key = _checked_key(public_key, "signer").public_bytes_raw().hex()
    except ValueError as error:
        raise ArtifactError(f"{error}.") from error
    try:
        stored = strict_json.loads(content, max_bytes=LARGEST_BYTES, max_depth=2)
        if not isinstance(stored, dict) or set(stored) != {"algorithm", "public_key", "signature"}:
            raise ValueError("expected are algorithm, public_key and signature")
        if stored["algorithm"] != ALGORITHM:
            raise ValueError(f"algorithm={stored['algorithm']!r}, expected {ALGORITHM}")
        signature = _from_hex(stored["signature"], 64, "signature")
        key = _checked_key(stored["public_key"], "public_key")
    except ValueError as error:
        raise ArtifactError(f"{what}: malformed: {error}. Sign the artifact again.") from error
    signer = key.public_bytes_raw().hex()
    if public_key is not None and signer != public_key:
        raise ArtifactError(
            f"{what}: signed by another key ({signer}) than the one demanded ({public_key}). "
            "Do not use this artifact unless you trust that signer, too."
        )
    try:
        key.verify(signature, DOMAIN + artifact_id)
    except InvalidSignature as error:
        raise ArtifactError(
            f"{what}: the signature does not match: it was made for another artifact, or the "
            "artifact was changed after signing. Do not use it."
        ) from error
    return signer


def _checked(folder: Path, parts: tuple[str, ...]) -> Artifact:
    """An artifact whose parts hold the manifest's files, unchanged, and no others."""
    artifact = Artifact(folder, parts)
    there = {
        path.relative_to(folder).as_posix()
        for part in parts
        for path in (folder / part).rglob("*")
        if not path.is_dir()
    }
    files = artifact.manifest.files
    card = folder / "model-card.md"
    if card.is_file() and hashlib.sha256(card.read_bytes()).hexdigest() != files.get(card.name):
        raise ArtifactError(f"{card}: changed since export (SHA-256 differs).")
    if strange := there - set(files):
        raise ArtifactError(
            f"{folder}: holds files that its manifest does not name: {', '.join(sorted(strange))}."
        )
    return artifact


def _checked_key(text: object, name: str) -> Ed25519PublicKey:
    """A public key whose signatures cannot be made by everybody; else a ValueError."""
    data = _from_hex(text, 32, name)
    if (int.from_bytes(data, "little") & (2**255 - 1)) % _PRIME in _SMALL_ORDER:
        raise ValueError(f"{name}={data.hex()}: a weak key, whose signatures anybody can make")
    return Ed25519PublicKey.from_public_bytes(data)


def _from_hex(text: object, size: int, name: str) -> bytes:
    digits = 2 * size
    if isinstance(text, str) and len(text) == digits and text.isascii():
        with suppress(ValueError):
            return bytes.fromhex(text)
    raise ValueError(f"{name}={str(text)[:80]!r}: expected are {digits} hexadecimal digits")
