"""A matrix product in place of Concrete's code: the same response, word by word."""

import numpy as np
import pytest
from concrete import fhe
from hushtune.configs.errors import ProtocolError
from hushtune.fhe.circuit import LINEAR, Circuit
from hushtune.fhe.compiling import export
from hushtune.fhe.linear import Frame, LinearCircuit
from hushtune.fhe.wire import Envelope

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def artifact(linear_run):
    return export(linear_run, linear_run.path("artifact"))


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
    assert (artifact / "server" / LINEAR).stat().st_size > 1000
    for payload in payloads:
        assert ours.run(payload, keys) == theirs.run(payload, keys)


def test_other_weights_than_the_circuits_are_noticed(artifact, queries):
    payloads, keys = queries
    theirs = Circuit(artifact / "server", linear=False)
    weights = LinearCircuit.load(artifact / "server" / LINEAR).weights.astype(np.int64)

    def fitted(weights):
        return LinearCircuit.fitted(weights, lambda query: theirs.run(query, keys), payloads[:1])

    np.testing.assert_array_equal(fitted(weights).weights, weights)
    changed = weights.copy()
    changed[3, 1] += 1
    assert fitted(changed) is None
    assert fitted(weights[:-1]) is None
    assert fitted(weights * 2**20) is None, "too large for exact doubles"


@pytest.mark.parametrize("outputs", [3, 1500])
def test_products_are_exact_modulo_two_to_the_64(outputs):
    inputs, words = 300, 7
    weights = rng.integers(-128, 128, (inputs, outputs))
    extreme = rng.choice(np.array([0, 1, 2**32 - 1, 2**63, 2**64 - 1], np.uint64), (inputs, words))
    circuit = LinearCircuit(weights, np.zeros(0), Frame(b"", b""), Frame(b"", b""), words - 1)
    for ciphertexts in (rng.integers(0, 2**64, (inputs, words), np.uint64), extreme):
        wanted = (weights.T.astype(object) @ ciphertexts.astype(object)) % 2**64
        np.testing.assert_array_equal(circuit.product(ciphertexts), wanted.astype(np.uint64))


@pytest.mark.parametrize(
    "damage",
    [
        lambda query: b"",
        lambda query: query[:-8],
        lambda query: query[:100],
        lambda query: query + bytes(8),
        lambda query: bytes([query[0] ^ 1]) + query[1:],
        lambda query: query[:-1] + bytes([query[-1] ^ 1]),
    ],
)
def test_what_is_no_query_is_refused(damage, artifact, queries):
    payloads, keys = queries
    with pytest.raises(ProtocolError, match="not one of this circuit's"):
        Circuit(artifact / "server").run(damage(payloads[0]), keys)


def test_a_network_with_look_ups_has_no_matrix(tiny_artifact):
    assert not (tiny_artifact / "server" / LINEAR).exists()
