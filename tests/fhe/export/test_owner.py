"""The owner's part: the network comes back, and nothing in its files is executed."""

import os
import pickle
import shutil
import struct
import zipfile

import numpy as np
import pytest
import torch

from hushtune.fhe.artifact import Artifact
from hushtune.fhe.export.owner import CALIBRATION, NETWORK, load_calibration, load_network
from hushtune.support.errors import ArtifactError


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def artifact(linear_artifact, tmp_path):
    """An artifact whose files may be changed after they were checked: their makers can."""
    return Artifact(shutil.copytree(linear_artifact, tmp_path / "artifact"), ("client", "owner"))


def test_the_network_comes_back(artifact, linear_run):
    ours, theirs = load_network(artifact), linear_run.network(quantized=True)
    for (name, one), (other_name, other) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert name == other_name and torch.equal(one, other)
    assert not ours.training
    features = load_calibration(artifact)
    assert features.dtype == np.float32 and len(features) == 60


def bombs(folder):
    """A pickle in every form that numpy and torch know."""
    bomb = Bomb(folder)
    path = folder.with_name("bomb")
    yield pickle.dumps(bomb)
    torch.save({"head.weight": bomb}, path)
    yield path.read_bytes()
    torch.save({"head.weight": bomb}, path, _use_new_zipfile_serialization=False)
    yield path.read_bytes()
    np.save(path, np.array([bomb], dtype=object), allow_pickle=True)
    yield path.with_suffix(".npy").read_bytes()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(bomb))
    yield path.read_bytes()


@pytest.mark.parametrize("name, load", [(NETWORK, load_network), (CALIBRATION, load_calibration)])
def test_a_pickle_is_not_executed(artifact, tmp_path, name, load):
    made = tmp_path / "made"
    for content in bombs(made):
        (artifact.folder / name).write_bytes(content)
        with pytest.raises(ArtifactError, match="cannot be read"):
            load(artifact)
        assert not made.exists()
    pickle.loads(pickle.dumps(Bomb(made)))
    assert made.exists(), "the bomb works where it is unpickled"


def test_a_pickle_of_the_former_format_is_not_even_opened(artifact, tmp_path):
    (artifact.folder / "owner" / "network.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "made")))
    load_network(artifact)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 64, struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 1 << 40) + b"{}"],
    ids=["empty", "noise", "no tensors", "a header beyond the file"],
)
def test_what_is_no_network_is_told(artifact, content):
    (artifact.folder / NETWORK).write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_network(artifact)


def test_arrays_that_promise_more_than_they_hold_take_no_memory(artifact):
    path = artifact.folder / CALIBRATION
    shape = (1 << 40, *load_calibration(artifact).shape[1:])
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(64))
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_calibration(artifact)
    for wrong in (np.zeros((3, 2), np.float32), np.zeros(shape[1:], np.float64)):
        np.save(path, wrong)
        with pytest.raises(ArtifactError, match="cannot be read"):
            load_calibration(artifact)
