"""Signatures of artifacts, and attacks on them."""

import json
import shutil
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from hushtune.cli import commands
from hushtune.fhe import signing
from hushtune.fhe.manifest import Manifest
from hushtune.support.errors import ArtifactError, KeyFileError

OTHER_ID = bytes(range(32))


@pytest.fixture
def copy(tiny_artifact, tmp_path):
    return shutil.copytree(tiny_artifact, tmp_path / "artifact")


@pytest.fixture(scope="module")
def key():
    return Ed25519PrivateKey.generate()


@pytest.fixture
def signed(copy, key):
    signing.sign(copy, key)
    return copy


def stored(folder):
    return json.loads((folder / signing.NAME).read_text())


def store(folder, **changes):
    (folder / signing.NAME).write_text(json.dumps({**stored(folder), **changes}))


def test_a_signed_artifact_names_its_signer(signed, key):
    public = signing.public_key_of(key)
    assert signing.verify(signed) == signing.verify(signed, public) == public
    assert signing.verify(signed, public.upper()) == public
    shutil.rmtree(signed / "owner")
    shutil.rmtree(signed / "server")
    assert signing.verify(signed, public) == public, "a client has its own part alone"


def test_a_changed_model_card(signed, key):
    card = signed / "model-card.md"
    card.write_text(card.read_text().replace("songs", "hits"))
    with pytest.raises(ArtifactError, match="model-card.md: changed since export"):
        signing.verify(signed, signing.public_key_of(key))


def test_an_unsigned_artifact(copy, key):
    with pytest.raises(ArtifactError, match="unsigned"):
        signing.verify(copy, signing.public_key_of(key))


def test_another_key(signed, key):
    other = signing.public_key_of(Ed25519PrivateKey.generate())
    with pytest.raises(ArtifactError, match="signed by another key"):
        signing.verify(signed, other)
    store(signed, public_key=other)  # the signature stays the first key's
    for demanded in (other, None):
        with pytest.raises(ArtifactError, match="does not match"):
            signing.verify(signed, demanded)


def test_a_signature_of_another_artifact(signed, key):
    public = signing.public_key_of(key)
    content = (signed / signing.NAME).read_bytes()
    with pytest.raises(ArtifactError, match="another artifact"):
        signing.verify_bytes(OTHER_ID, content, public)
    store(signed, signature=key.sign(signing.DOMAIN + OTHER_ID).hex())
    with pytest.raises(ArtifactError, match="another artifact"):
        signing.verify(signed, public)


def test_a_signature_of_something_else_with_the_same_key(signed, key):
    artifact_id = bytes.fromhex(json.loads((signed / "manifest.json").read_text())["id"])
    store(signed, signature=key.sign(artifact_id).hex())
    with pytest.raises(ArtifactError, match="does not match"):
        signing.verify(signed)


def test_a_changed_manifest(signed, key):
    path = signed / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["catalogue"][0]["title"] = "Another Song"
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="changed since export"):
        signing.verify(signed, signing.public_key_of(key))


def test_a_changed_manifest_with_an_id_that_fits(signed, key):
    """Whoever changes an artifact can compute its id, but not sign it."""
    path = signed / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["catalogue"][0]["title"] = "Another Song"
    del manifest["id"]
    path.write_bytes(Manifest.model_validate(manifest).to_json())
    with pytest.raises(ArtifactError, match="does not match"):
        signing.verify(signed, signing.public_key_of(key))


@pytest.mark.parametrize("part", ["client", "server", "owner"])
def test_a_changed_or_added_file(signed, key, part):
    changed = min((signed / part).iterdir())
    content = changed.read_bytes()
    changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for check in (signing.verify, lambda folder: signing.sign(folder, key)):
        with pytest.raises(ArtifactError, match="changed or truncated"):
            check(signed)
    changed.write_bytes(content)
    signing.verify(signed)
    (signed / part / "extra.npy").write_bytes(b"")
    with pytest.raises(ArtifactError, match=f"does not name: {part}/extra.npy"):
        signing.verify(signed)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 2000,
        b"null",
        b"[]",
        b'{"algorithm": "Ed25519"}',
        b" " * 5000,
    ],
)
def test_what_is_no_signature_file(content):
    with pytest.raises(ArtifactError, match="malformed"):
        signing.verify_bytes(OTHER_ID, content, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "none"},
        {"algorithm": ["Ed25519"]},
        {"public_key": None},
        {"public_key": "00" * 31},
        {"public_key": "zz" * 32},
        {"signature": ""},
        {"signature": "0x" + "0" * 126},
        {"signature": 64 * [0]},
        {"comment": "trust me"},
    ],
)
def test_malformed_fields(signed, changes):
    store(signed, **changes)
    with pytest.raises(ArtifactError, match="malformed"):
        signing.verify(signed)


def test_a_field_twice(signed):
    content = (signed / signing.NAME).read_text()
    other = signing.public_key_of(Ed25519PrivateKey.generate())
    (signed / signing.NAME).write_text(content.replace("{", f'{{"public_key": "{other}",', 1))
    with pytest.raises(ArtifactError, match="malformed.*twice"):
        signing.verify(signed)


ORDER_8 = [
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
]
SMALL = [
    "00" * 32,
    "01" + "00" * 31,
    "ec" + "ff" * 30 + "7f",
    *ORDER_8,
    "ed" + "ff" * 30 + "7f",  # zero and one, written as the prime and one more
    "ee" + "ff" * 30 + "7f",
]


@pytest.mark.parametrize("sign_bit", [0, 0x80])
@pytest.mark.parametrize("small", SMALL)
def test_keys_whose_signatures_anybody_can_make(small, sign_bit):
    """OpenSSL takes such keys: with the second, 64 bytes of 1, 0, 0, ... sign every message."""
    data = bytearray.fromhex(small)
    data[-1] |= sign_bit
    weak = bytes(data).hex()
    forged = {"algorithm": "Ed25519", "public_key": weak, "signature": "01" + "00" * 63}
    content = json.dumps(forged).encode()
    for demanded in (weak, None):
        with pytest.raises(ArtifactError, match="weak key"):
            signing.verify_bytes(OTHER_ID, content, demanded)


@pytest.mark.parametrize("public_key", ["", "abc", "zz" * 32, "00" * 33])
def test_a_demanded_key_that_is_none(signed, public_key):
    with pytest.raises(ArtifactError, match="signer=.*64 hexadecimal digits"):
        signing.verify(signed, public_key)


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_keys_are_kept_in_a_private_file(tmp_path, passphrase):
    path = tmp_path / "signing.pem"
    public = signing.new_key(path, passphrase)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing.is_encrypted(path) == (passphrase is not None)
    assert signing.public_key_of(signing.load_key(path, passphrase)) == public
    with pytest.raises(KeyFileError, match="exists already"):
        signing.new_key(path)
    assert signing.public_key_of(signing.load_key(path, passphrase)) == public
    if passphrase:
        for wrong in (None, "battery staple"):
            with pytest.raises(KeyFileError, match="passphrase"):
                signing.load_key(path, wrong)


def test_files_that_hold_no_key(tmp_path):
    with pytest.raises(KeyFileError, match="cannot be read"):
        signing.load_key(tmp_path / "none.pem")
    with pytest.raises(KeyFileError, match="cannot be written"):
        signing.new_key(tmp_path / "none" / "key.pem")
    path = tmp_path / "text.pem"
    path.write_text("not a key")
    with pytest.raises(KeyFileError, match="not a PEM key"):
        signing.load_key(path)
    other = X25519PrivateKey.generate()
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyFileError, match="another kind"):
        signing.load_key(path)


def run(*arguments, **options):
    return CliRunner().invoke(commands, [str(argument) for argument in arguments], **options)


def test_the_command_makes_a_key_signs_and_shows_the_signer(copy, tmp_path):
    path = tmp_path / "signing.pem"
    made = run("sign", "--new-key", path, "--passphrase", input="word\nword\n")
    assert made.exit_code == 0 and signing.is_encrypted(path)
    public = signing.public_key_of(signing.load_key(path, "word"))
    assert public in made.output
    assert "nobody (unsigned)" in run("info", copy).output
    assert public in run("sign", copy, "--key", path, input="word\n").output
    assert f"signed by   {public}" in run("info", copy).output
    assert run("sign", copy).exit_code == 1
    assert run("sign", copy, "--key", path, "--new-key", path).exit_code == 1
    store(copy, signature="00" * 64)
    assert "does not match" in str(run("info", copy).exception)
