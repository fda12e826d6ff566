"""Client parts: only of the artifact and the signer that were asked for."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hushtune.client import RemoteClient
from hushtune.client.address import public_key
from hushtune.client.parts import Parts
from hushtune.fhe import signing
from hushtune.fhe.artifact import Artifact
from hushtune.support.errors import ArtifactError, ServiceError


@pytest.fixture
def signed_part(tiny_artifact, tmp_path):
    """A cache that holds an artifact's client part, signed: folder, id, signer."""
    key = Ed25519PrivateKey.generate()
    copy = tmp_path / "copy"
    shutil.copytree(tiny_artifact, copy)
    signer = signing.sign(copy, key)
    identifier = Artifact(copy, ()).id.hex()
    part = tmp_path / "parts" / identifier
    part.mkdir(parents=True)
    shutil.copytree(copy / "client", part / "client")
    for name in ("manifest.json", "signature.json"):
        shutil.copy(copy / name, part)
    return tmp_path / "parts", identifier, signer


def parts_in(folder: Path, signer: str | None) -> Parts:
    return Parts(folder, SimpleNamespace(url="http://x"), signer)


def test_a_part_signed_by_whom_was_demanded_is_opened(signed_part):
    folder, identifier, signer = signed_part
    for demanded in (signer, None):
        client = parts_in(folder, demanded).open(identifier)
        assert client.artifact.id.hex() == identifier


def test_an_unsigned_part_or_one_signed_by_others_is_refused(signed_part):
    folder, identifier, signer = signed_part
    other = signing.public_key_of(Ed25519PrivateKey.generate())
    with pytest.raises(ArtifactError, match="signed by another key"):
        parts_in(folder, other).open(identifier)
    (folder / identifier / "signature.json").unlink()
    with pytest.raises(ArtifactError, match="unsigned, but .* was demanded"):
        parts_in(folder, signer).open(identifier)
    parts_in(folder, None).open(identifier)


def test_a_signature_of_another_artifact_is_refused(signed_part, tmp_path):
    folder, identifier, signer = signed_part
    wrong = "f" * 64
    (folder / identifier).rename(folder / wrong)
    with pytest.raises(ArtifactError, match="does not match"):
        parts_in(folder, signer).open(wrong)
    with pytest.raises(ArtifactError, match="not of artifact ffff"):
        parts_in(folder, None).open(wrong)


def test_a_signer_is_given_in_hex_or_as_a_pem_file(tmp_path):
    key = Ed25519PrivateKey.generate().public_key()
    digits = key.public_bytes_raw().hex()
    path = tmp_path / "signer.pem"
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert public_key(digits.upper()) == public_key(path) == digits
    other = X25519PrivateKey.generate().public_key()
    wrong = {
        "short": digits[:-1],
        "no file": str(tmp_path / "none.pem"),
        "no key": str(tmp_path / "text"),
        "another kind": str(tmp_path / "x25519.pem"),
        "zero": "a\0b",
    }
    (tmp_path / "text").write_text("hello")
    (tmp_path / "x25519.pem").write_bytes(
        other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    for signer in wrong.values():
        with pytest.raises(ServiceError, match="signer=.*Expected 64 hexadecimal digits"):
            RemoteClient("http://127.0.0.1:9", signer=signer)


def test_a_part_kept_with_a_wrong_signature_is_fetched_anew(signed_part):
    folder, identifier, signer = signed_part
    assert parts_in(folder, signer)._is_here(identifier)
    (folder / identifier / "signature.json").write_text("{}")
    assert not parts_in(folder, signer)._is_here(identifier)
    assert parts_in(folder, None)._is_here(identifier)
