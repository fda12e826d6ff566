import json
import shutil

import pytest
from hushtune.fhe.artifact import Artifact
from hushtune.fhe.client import Client
from hushtune.fhe.server import Server
from hushtune.support.errors import ArtifactError

ALL = ("client", "server", "owner")


@pytest.fixture
def copy(tiny_artifact, tmp_path):
    return shutil.copytree(tiny_artifact, tmp_path / "artifact")


def edit_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_manifest_tells_what_it_promises(tiny_artifact, tiny_run):
    manifest = Artifact(tiny_artifact, ALL).manifest
    split = tiny_run.split()
    assert [song["title"] for song in manifest["catalogue"]] == [t.title for t in split.known]
    assert manifest["split_sha256"] == split.digest()
    assert manifest["versions"]["concrete-ml"] == "1.9.0"
    assert manifest["circuit"]["pbs"] == 30
    assert manifest["circuit"]["p_error"] <= 0.01
    assert manifest["agreement"]["clips"] == 4
    for name in ("query_bytes", "response_bytes", "evaluation_key_bytes", "compute_seconds"):
        assert manifest["costs"][name] > 0
    assert set(manifest["files"]) == {
        "model-card.md",
        "client/client.zip",
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
    with pytest.raises(ArtifactError, match="client/client.zip: missing"):
        Client(copy)


def test_every_mismatch_is_told_in_one_error(copy):
    (copy / "client" / "client.zip").write_bytes(
        (copy / "client" / "client.zip").read_bytes()[:-100]
    )
    (copy / "client" / "statistics.npy").unlink()
    edit_manifest(
        copy, versions={"concrete-ml": "1.0.0", "concrete-python": "2.10.0", "python": "3.8"}
    )
    with pytest.raises(ArtifactError) as error:
        Client(copy)
    for expected in (
        "client.zip: changed or truncated",
        "statistics.npy: missing",
        "made with concrete-ml 1.0.0, installed is 1.9.0",
        "made with python 3.8, installed is 3.",
    ):
        assert expected in str(error.value)


def test_other_format_version(copy):
    edit_manifest(copy, format_version=99)
    with pytest.raises(ArtifactError, match="format_version=99, expected 4"):
        Artifact(copy, ALL)


def test_damaged_or_missing_manifest(copy, tmp_path):
    (copy / "manifest.json").write_text('{"format_version": 1')
    with pytest.raises(ArtifactError, match="damaged"):
        Artifact(copy, ALL)
    with pytest.raises(ArtifactError, match="no artifact lies here"):
        Artifact(tmp_path / "nothing", ALL)


def test_a_changed_catalogue_or_threshold_is_noticed(copy):
    catalogue = json.loads((copy / "manifest.json").read_text())["catalogue"]
    catalogue[0]["title"] = "Another Song"
    edit_manifest(copy, catalogue=catalogue)
    with pytest.raises(ArtifactError, match="changed since export"):
        Client(copy)
