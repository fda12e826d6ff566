"""A matrix product in place of Concrete's code: the same response, word by word."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
from concrete import fhe
from hushtune.fhe.circuit import LINEAR, Circuit
from hushtune.fhe.envelope import Envelope
from hushtune.fhe.export.artifact import export
from hushtune.fhe.linear import Frame, LinearCircuit
from hushtune.fhe.server import Server
from hushtune.support.errors import ArtifactError, ProtocolError

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def artifact(linear_artifact):
    return linear_artifact


@pytest.fixture(scope="module")
def queries(sides):
    """Three encrypted images and their evaluation keys, as Concrete serialises them."""
    client, _, _ = sides
    shape = client.artifact.front_end().image_shape
    made = [client.encrypt_image(rng.normal(size=shape).astype(np.float32)) for _ in range(3)]
    payloads = [Envelope.unpack(query, b"Q", client.artifact.id).payload for query in made]
    uploaded = Envelope.unpack(client.evaluation_keys(), b"E", client.artifact.id).payload
    return payloads, fhe.EvaluationKeys.deserialize(uploaded)


def test_an_artifact_without_look_ups_answers_as_concretes_code_would(artifact, queries):
    payloads, keys = queries
    ours, theirs = (Circuit(artifact / "server", linear=linear) for linear in (True, False))
    for payload in payloads:
        assert ours.run(payload, keys) == theirs.run(payload, keys)


def test_a_server_takes_the_matrix_that_its_manifest_lists(artifact, tiny_artifact, tmp_path):
    assert f"server/{LINEAR}" in Server(artifact).artifact.manifest["files"]
    assert Server(artifact)._circuit._model is None
    foreign = shutil.copytree(tiny_artifact, tmp_path / "foreign")
    shutil.copy(artifact / "server" / LINEAR, foreign / "server" / LINEAR)
    assert Server(foreign)._circuit._linear is None, "with look-ups, so none is its own"
    changed = shutil.copytree(artifact, tmp_path / "changed")
    (changed / "server" / LINEAR).write_bytes(b"")
    with pytest.raises(ArtifactError, match=LINEAR):
        Server(changed)


def test_other_weights_than_the_circuits_are_noticed(artifact, queries):
    payloads, keys = queries
    theirs = Circuit(artifact / "server", linear=False)
    weights = LinearCircuit.load(artifact / "server" / LINEAR).weights
    assert weights.dtype == np.int8

    def fitted(weights, run=lambda query: theirs.run(query, keys), queries=payloads[:1]):
        return LinearCircuit.fitted(weights.astype(np.int64), run, queries)

    np.testing.assert_array_equal(fitted(weights).weights, weights)
    changed = weights.copy()
    changed[3, 1] += 1
    assert fitted(changed) is None
    assert fitted(weights[:-1]) is None

    def with_another_constant(query):
        response = theirs.run(query, keys)
        words = Frame.of(response).words(response).copy()
        words[-1] += np.uint64(query == payloads[1])
        return Frame.of(response).around(words)

    assert fitted(weights, with_another_constant, payloads[:1]) is not None
    assert fitted(weights, with_another_constant, payloads[:2]) is None


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


def test_threads_may_share_a_circuit(artifact, queries):
    payloads, _ = queries
    circuit = LinearCircuit.load(artifact / "server" / LINEAR)
    alone = [circuit.run(payload) for payload in payloads]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(circuit.run, 4 * payloads)) == 4 * alone


def test_a_circuit_that_its_matrix_fails_is_left_to_concrete(
    linear_run, artifact, tmp_path, monkeypatch
):
    proofs, messages = [], []

    def refuse(weights, run, queries):
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
    return LinearCircuit(weights, np.zeros(0), Frame(b"", b""), Frame(b"", b""), words - 1)


def test_weights_beyond_exact_doubles_are_refused_before_anything_is_run():
    def run(_):
        raise NotImplementedError

    for most, error in ((2**21, None), (2**21 - 1, NotImplementedError)):
        with pytest.raises(error) if error else nullcontext():
            assert LinearCircuit.fitted(np.array([[1], [1 - most]]), run, [b""]) is None


def test_few_inputs_are_left_to_concrete():
    """Their ciphertexts are too few bytes to be told from the rest of a message."""
    weights = rng.integers(-7, 8, (16, 3))
    compiler = fhe.Compiler(lambda values: values @ weights, {"values": "encrypted"})
    examples = list(rng.integers(-7, 8, (8, 1, 16)))
    options = fhe.Configuration(compress_input_ciphertexts=True)
    circuit = compiler.compile(examples, options)
    query = circuit.encrypt(examples[0]).serialize()

    def run(query):
        return circuit.run(fhe.Value.deserialize(query)).serialize()

    assert LinearCircuit.fitted(weights, run, [query]) is None


def longer(query, words):
    """A query in the right frame with so many more numbers, or fewer."""
    frame = Frame.of(query)
    numbers = frame.words(query)
    return frame.around(np.resize(numbers, len(numbers) + words))


@pytest.mark.parametrize(
    "damage",
    [
        lambda query: b"",
        lambda query: query[:-8],
        lambda query: query[:100],
        lambda query: query + bytes(8),
        lambda query: bytes([query[0] ^ 1]) + query[1:],
        lambda query: query[:-1] + bytes([query[-1] ^ 1]),
        lambda query: longer(query, -1),
        lambda query: longer(query, 3),
        lambda query: longer(query, -len(Frame.of(query).words(query))),
    ],
)
def test_what_is_no_query_is_refused(damage, artifact, queries):
    payloads, keys = queries
    with pytest.raises(ProtocolError, match="not one of this circuit's"):
        Circuit(artifact / "server", linear=True).run(damage(payloads[0]), keys)


def test_a_network_with_look_ups_has_no_matrix(tiny_artifact):
    assert not (tiny_artifact / "server" / LINEAR).exists()
