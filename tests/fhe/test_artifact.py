import json
import re
import shutil

import pytest

from hushtune.fhe.artifact import Artifact, read_manifest
from hushtune.fhe.client import Client
from hushtune.fhe.server import Server
from hushtune.support.errors import ArtifactError

ALL = ("client", "server", "owner")


@pytest.fixture
def copy(tiny_artifact, tmp_path):
    return shutil.copytree(tiny_artifact, tmp_path / "artifact")


def edit_manifest(folder, **changes):
    """Change the manifest, as somebody would who does not know how its id is made."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def remake_manifest(folder, **changes):
    """Change the manifest, as its maker could."""
    manifest = read_manifest(folder).model_copy(update=changes)
    (folder / "manifest.json").write_bytes(manifest.to_json())


def test_manifest_tells_what_it_promises(tiny_artifact, tiny_run):
    manifest = Artifact(tiny_artifact, ALL).manifest
    split = tiny_run.split()
    assert [song.title for song in manifest.catalogue] == [t.title for t in split.known]
    assert manifest.split_sha256 == split.digest()
    assert manifest.versions["concrete-ml"] == "1.9.0"
    assert manifest.circuit.pbs == 18
    assert manifest.circuit.p_error <= 0.01
    assert manifest.agreement.clips == 4
    for name in ("query_bytes", "response_bytes", "evaluation_key_bytes", "compute_seconds"):
        assert getattr(manifest.costs, name) > 0
    assert set(manifest.files) == {
        "model-card.md",
        "client/statistics.npy",
        "server/server.zip",
        "owner/network.safetensors",
        "owner/calibration.npy",
    }


def test_nothing_of_the_owners_machine_travels(tiny_artifact, tiny_run):
    text = (tiny_artifact / "manifest.json").read_text()
    assert str(tiny_run.folder.parent) not in text


def test_client_and_server_need_only_their_own_part(copy):
    shutil.rmtree(copy / "owner")
    shutil.move(copy / "server", copy.parent / "server")
    Client(copy)
    shutil.rmtree(copy / "client")
    shutil.move(copy.parent / "server", copy / "server")
    Server(copy)
    with pytest.raises(ArtifactError, match="client/statistics.npy: missing"):
        Client(copy)


def test_every_mismatch_is_told_in_one_error(copy):
    server = copy / "server" / "server.zip"
    server.write_bytes(server.read_bytes()[:-100])
    (copy / "client" / "statistics.npy").unlink()
    remake_manifest(copy, versions={"concrete-ml": "1.0.0", "concrete-python": "2.9.0"})
    with pytest.raises(ArtifactError) as error:
        Artifact(copy, ALL)
    for expected in (
        "server.zip: changed or truncated",
        "statistics.npy: missing",
        "made with concrete-ml 1.0.0, installed is 1.9.0",
        "made with concrete-python 2.9.0, installed is 2.",
    ):
        assert expected in str(error.value)


def test_a_client_needs_no_concrete_ml(copy):
    """Only what a part really depends on must be there in the artifact's version."""
    versions = read_manifest(copy).versions
    remake_manifest(copy, versions={**versions, "concrete-ml": "1.0.0", "python": "3.8.0"})
    Client(copy)
    with pytest.raises(ArtifactError, match="made with concrete-ml 1.0.0"):
        Server(copy)


def test_other_format_version(copy):
    edit_manifest(copy, format_version=99)
    with pytest.raises(ArtifactError, match="format_version=99, expected 6"):
        Artifact(copy, ALL)


def test_damaged_or_missing_manifest(copy, tmp_path):
    (copy / "manifest.json").write_text('{"format_version": 1')
    with pytest.raises(ArtifactError, match="damaged"):
        Artifact(copy, ALL)
    with pytest.raises(ArtifactError, match="no artifact lies here"):
        Artifact(tmp_path / "nothing", ALL)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"title": "', '"title": "Not ', 1),
        lambda text: text.replace('"query_bytes": ', '"query_bytes": 1', 1),
        lambda text: re.sub(r'"intercept": [-\d.e]+', '"intercept": 0.25', text, count=1),
        lambda text: text.replace('"name": "', '"name": "other ', 1),
        lambda text: text.replace('"created": "2', '"created": "3', 1),
        lambda text: re.sub(r'"top1": [\d.]+', '"top1": 0.125', text, count=1),
        lambda text: text.replace('"hushtune": "', '"hushtune": "9', 1),
    ],
)
def test_everything_in_the_manifest_is_under_its_id(copy, change):
    path = copy / "manifest.json"
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    with pytest.raises(ArtifactError, match="changed since export"):
        Client(copy)
