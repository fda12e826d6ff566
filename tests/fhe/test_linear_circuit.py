"""A matrix product in place of Concrete's code: the same response, word by word."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

from hushtune.fhe.artifact import read_manifest
from hushtune.fhe.circuit import LINEAR, Circuit
from hushtune.fhe.envelope import Envelope
from hushtune.fhe.export.artifact import export
from hushtune.fhe.linear import LinearCircuit
from hushtune.fhe.server import Server
from hushtune.support.errors import ArtifactError, ProtocolError

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def artifact(linear_artifact):
    return linear_artifact


@pytest.fixture(scope="module")
def encryption(artifact):
    return read_manifest(artifact).encryption


@pytest.fixture(scope="module")
def queries(sides):
    """The words of three encrypted images."""
    client, _, _ = sides
    shape = client.artifact.front_end().feature_shape
    made = [client.encrypt_features(rng.normal(size=shape).astype(np.float32)) for _ in range(3)]
    payloads = [Envelope.unpack(query, b"Q", client.artifact.id).payload for query in made]
    return [np.frombuffer(payload, "<u8") for payload in payloads]


def test_an_artifact_without_pbs_answers_as_concretes_code_would(artifact, encryption, queries):
    ours, theirs = (
        Circuit(artifact / "server", encryption, linear=linear) for linear in (True, False)
    )
    for query in queries:
        assert np.array_equal(ours.run(query), theirs.run(query))


def test_a_server_takes_the_matrix_that_its_manifest_lists(artifact, tiny_artifact, tmp_path):
    assert f"server/{LINEAR}" in Server(artifact).artifact.manifest.files
    assert Server(artifact)._circuit._model is None
    foreign = shutil.copytree(tiny_artifact, tmp_path / "foreign")
    shutil.copy(artifact / "server" / LINEAR, foreign / "server" / LINEAR)
    assert Server(foreign)._circuit._linear is None, "with PBS, so none is its own"
    changed = shutil.copytree(artifact, tmp_path / "changed")
    (changed / "server" / LINEAR).write_bytes(b"")
    with pytest.raises(ArtifactError, match=LINEAR):
        Server(changed)


def test_other_weights_than_the_circuits_are_noticed(artifact, encryption, queries):
    theirs = Circuit(artifact / "server", encryption, linear=False)
    weights = LinearCircuit.load(artifact / "server" / LINEAR).weights
    dimension = encryption.keys[0]
    assert weights.dtype == np.int8

    def fitted(weights, run=theirs.run, queries=queries[:1]):
        return LinearCircuit.fitted(weights.astype(np.int64), dimension, run, queries)

    np.testing.assert_array_equal(fitted(weights).weights, weights)
    changed = weights.copy()
    changed[3, 1] += 1
    assert fitted(changed) is None
    assert LinearCircuit.fitted(weights.astype(np.int64), 800, theirs.run, queries) is None

    def with_another_constant(query):
        words = theirs.run(query).copy()
        words[-1] += np.uint64(query is queries[1])
        return words

    assert fitted(weights, with_another_constant, queries[:1]) is not None
    assert fitted(weights, with_another_constant, queries[:2]) is None


def test_a_machine_that_computes_otherwise_is_noticed(artifact, monkeypatch):
    product = LinearCircuit.product

    def rounded(self, ciphertexts):
        out = product(self, ciphertexts)
        out[-1, 0] ^= np.uint64(1)
        return out

    LinearCircuit.load(artifact / "server" / LINEAR)
    monkeypatch.setattr(LinearCircuit, "product", rounded)
    with pytest.raises(ArtifactError, match="another response"):
        LinearCircuit.load(artifact / "server" / LINEAR)


def test_a_file_that_cannot_be_read_is_told(artifact, tmp_path):
    with np.load(artifact / "server" / LINEAR) as stored:
        np.savez(tmp_path / LINEAR, **{key: stored[key] for key in stored if key != "dimension"})
    for content in (None, b"", b"PK"):
        if content is not None:
            (tmp_path / LINEAR).write_bytes(content)
        with pytest.raises(ArtifactError, match="cannot be read"):
            LinearCircuit.load(tmp_path / LINEAR)


def test_arrays_of_objects_are_not_opened(artifact, tmp_path):
    """They would be pickles, which run code."""
    with np.load(artifact / "server" / LINEAR) as stored:
        arrays = {key: stored[key] for key in stored}
    arrays["constants"] = np.array([Bomb(tmp_path / "went off")], object)
    np.savez(tmp_path / LINEAR, **arrays)
    with pytest.raises(ArtifactError, match="cannot be read"):
        LinearCircuit.load(tmp_path / LINEAR)
    assert not (tmp_path / "went off").exists()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_threads_may_share_a_circuit(artifact, queries):
    circuit = LinearCircuit.load(artifact / "server" / LINEAR)
    alone = [circuit.run(query) for query in queries]
    with ThreadPoolExecutor(4) as pool:
        assert np.array_equal(list(pool.map(circuit.run, 4 * queries)), 4 * alone)


def test_a_circuit_that_its_matrix_fails_is_left_to_concrete(
    linear_run, artifact, tmp_path, monkeypatch
):
    proofs, messages = [], []

    def refuse(weights, dimension, run, queries):
        proofs.extend(queries)

    monkeypatch.setattr(LinearCircuit, "fitted", refuse)
    slow = export(linear_run, tmp_path / "artifact", announce=messages.append)
    assert len(proofs) == 2
    assert not (slow / "server" / LINEAR).exists()
    assert any("Concrete's own code" in message for message in messages)
    assert Server(slow)._circuit._linear is None


@pytest.mark.parametrize("outputs", [3, 1500])
def test_products_are_exact_modulo_two_to_the_64(outputs):
    inputs, words = 300, 7
    weights = rng.integers(-128, 128, (inputs, outputs))
    weights[:, 1] = (2**21 - 1) // inputs
    weights[0, 1] += 2**21 - 1 - weights[:, 1].sum()
    weights[:, 2] = -weights[:, 1]
    extreme = rng.choice(np.array([0, 1, 2**32 - 1, 2**63, 2**64 - 1], np.uint64), (inputs, words))
    extreme[:, 0] = 2**64 - 1
    for ciphertexts in (rng.integers(0, 2**64, (inputs, words), np.uint64), extreme):
        wanted = (weights.T.astype(object) @ ciphertexts.astype(object)) % 2**64
        found = circuit_of(weights, words).product(ciphertexts)
        np.testing.assert_array_equal(found, wanted.astype(np.uint64))


def circuit_of(weights, words):
    return LinearCircuit(weights, np.zeros(0), words - 1)


def test_weights_beyond_exact_doubles_are_refused_before_anything_is_run():
    def run(_):
        raise NotImplementedError

    for most, error in ((2**21, None), (2**21 - 1, NotImplementedError)):
        with pytest.raises(error) if error else nullcontext():
            assert LinearCircuit.fitted(np.array([[1], [1 - most]]), 7, run, [b""]) is None


@pytest.mark.parametrize("more", [-1, 1, 3, -3])
def test_what_is_no_query_is_refused(more, artifact, encryption, queries):
    query = np.resize(queries[0], len(queries[0]) + more)
    for linear in (True, False):
        with pytest.raises(ProtocolError, match="not one of this circuit's|words, expected"):
            Circuit(artifact / "server", encryption, linear=linear).run(query)


def test_a_network_with_pbs_has_no_matrix(tiny_artifact):
    assert not (tiny_artifact / "server" / LINEAR).exists()
