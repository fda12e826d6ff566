"""Real FHE on a small circuit: from a clip to an answer, and everything that must be refused."""

import re
import signal
import stat
from pathlib import Path

import numpy as np
import pytest

from hushtune.fhe.artifact import Artifact
from hushtune.fhe.ciphertexts import truncated_bytes
from hushtune.fhe.client import Client
from hushtune.fhe.server import Server
from hushtune.recognizer import Recognizer
from hushtune.support.errors import KeyFileError, ProtocolError


@pytest.fixture(scope="module")
def client(tiny_artifact):
    made = Client(tiny_artifact)
    made.create_keys()
    return made


@pytest.fixture(scope="module")
def server(tiny_artifact):
    return Server(tiny_artifact)


@pytest.fixture(scope="module")
def keys(client, server):
    return server.load_keys(client.evaluation_keys())


def test_fhe_answers_like_the_quantized_network(client, server, keys, tiny_artifact, tiny_clips):
    clear = Recognizer(tiny_artifact, "clear")
    agree = 0
    for _, path in tiny_clips:
        query = client.encrypt(path)
        assert isinstance(query, bytes)
        answer = client.decrypt(server.run(query, keys))
        agree += answer.text == clear.identify(path).text
        assert len(answer.matches) == 3
        assert sum(m.probability for m in answer.matches) + answer.unknown_probability <= 1.0001
    assert agree >= len(tiny_clips) - 1


def test_fhe_leaves_broken_pipes_to_raise_errors(client, server, keys, tiny_clips):
    """Concrete's runtime would let a closed socket end the whole process."""
    server.run(client.encrypt(tiny_clips[0][1]), keys)
    ignored = re.search(r"SigIgn:\s*(\w+)", Path("/proc/self/status").read_text())[1]
    assert int(ignored, 16) >> (signal.SIGPIPE - 1) & 1


def test_simulation_runs_from_the_owners_part(tiny_artifact, tiny_clips):
    simulated, clear = (Recognizer(tiny_artifact, mode) for mode in ("simulate", "clear"))
    agree = sum(
        simulated.identify(path).text == clear.identify(path).text for _, path in tiny_clips
    )
    assert agree >= len(tiny_clips) - 1


def test_only_ciphertext_and_evaluation_keys_cross(client, server, keys, tiny_clips):
    """What the server is given holds neither the clip's spectrum nor the private key."""
    path = tiny_clips[0][1]
    image = client.features(path)[0]
    integers = client.artifact.manifest.input_quantizer.quantize(image[None])
    query = client.encrypt(path)
    for clear in (
        image,
        integers,
        integers.astype(np.int8),
        integers.astype(np.uint8),
        image.astype(np.float64),
        integers.astype(np.int32),
        path.read_bytes()[44:],
    ):
        raw = clear if isinstance(clear, bytes) else clear.tobytes()
        for start in range(0, len(raw) - 32, 32):
            chunk = raw[start : start + 32]
            if len(set(chunk)) > 8:  # a run of equal values may stand anywhere
                assert chunk not in query
    again = client.encrypt(path)
    payload, other = (np.frombuffer(q[86:], np.uint8) for q in (query, again))
    same = np.mean(payload[: len(other)] == other[: len(payload)])
    assert same < 0.25, "the same clip must encrypt to unrelated bytes each time"
    private = client._keys.serialize()
    uploaded = client.evaluation_keys()
    assert len(uploaded) < len(private)
    # Concrete stores a binary secret key as 64-bit words of 0 and 1: find such runs
    assert secret_key_runs(private) >= 1
    for crossing in (uploaded, query, server.run(query, keys)):
        assert secret_key_runs(crossing) == 0
    # and the server object keeps nothing but the circuit
    assert set(vars(server)) == {"artifact", "_circuit"}
    assert set(vars(server._circuit)) == {
        *("_encryption", "_linear", "_model"),
        *("_query_frame", "_response_frame"),
    }
    assert set(vars(keys)) == {"key_id", "keys"}
    assert type(keys.keys).__name__ == "EvaluationKeys"


def secret_key_runs(data: bytes, shortest: int = 400) -> int:
    """How many runs of random 0 and 1 as 64-bit words stand in `data`, at any offset."""
    runs = 0
    for offset in range(8):
        words = np.frombuffer(data, "<u8", (len(data) - offset) // 8, offset)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], words <= 1, [0]]).astype(np.int8)))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if end - start >= shortest and 0.3 < words[start:end].mean() < 0.7:
                runs += 1
    return runs


def test_keys_are_saved_for_their_owner_alone_and_load_again(
    client, server, tiny_artifact, tiny_clips, tmp_path
):
    path = tmp_path / "deep" / "my.keys"
    client.save_keys(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(KeyFileError, match="exists already"):
        client.save_keys(path)
    later = Client(tiny_artifact)
    with pytest.raises(KeyFileError, match="No keys yet"):
        later.encrypt(tiny_clips[0][1])
    later.load_keys(path)
    assert later.key_id == client.key_id
    response = server.run(later.encrypt(tiny_clips[0][1]), client.evaluation_keys())
    assert np.array_equal(client.decrypt_logits(response), later.decrypt_logits(response))


def test_wrong_keys_are_refused_on_both_sides(client, server, keys, tiny_artifact, tiny_clips):
    other = Client(tiny_artifact)
    other.create_keys()
    query = other.encrypt(tiny_clips[0][1])
    with pytest.raises(ProtocolError, match="other keys than the evaluation keys"):
        server.run(query, keys)
    response = server.run(client.encrypt(tiny_clips[0][1]), keys)
    with pytest.raises(ProtocolError, match="another client's keys"):
        other.decrypt(response)


def test_damaged_bytes_are_refused(client, server, keys, tiny_clips, tmp_path):
    query = client.encrypt(tiny_clips[0][1])
    for bad in (b"", query[:1000], query[:-1], b"\0" * len(query), query[:200] + query[201:]):
        with pytest.raises(ProtocolError):
            server.run(bad, keys)
        with pytest.raises(ProtocolError):
            server.load_keys(bad)
        with pytest.raises(ProtocolError):
            client.decrypt(bad)
    path = tmp_path / "bad.keys"
    path.write_bytes(query)
    with pytest.raises(KeyFileError, match="bad.keys"):
        client.load_keys(path)
    with pytest.raises(KeyFileError, match="cannot be read"):
        client.load_keys(tmp_path / "none.keys")


def test_a_payload_that_concrete_cannot_read_is_refused(client, server, keys):
    """A well-formed envelope around rubbish: the deserialiser must raise, not crash."""
    from hushtune.fhe.envelope import Envelope

    rng = np.random.default_rng(0)
    for size in (0, 1, 100, 10_000):
        rubbish = rng.bytes(size)
        for kind, use in (
            (b"Q", lambda d: server.run(d, keys)),
            (b"E", server.load_keys),
            (b"R", client.decrypt),
        ):
            packed = Envelope(kind, server.artifact.id, client.key_id, rubbish).pack()
            with pytest.raises(ProtocolError):
                use(packed)


def test_short_clips_are_answered_with_a_note(tiny_artifact, tone):
    recognizer = Recognizer(tiny_artifact, "clear")
    answer = recognizer.identify((tone[: 16_000 * 2], 16_000))
    assert "shorter than the 4 s" in answer.notes[0]
    assert not recognizer.identify((tone, 16_000)).notes


def test_the_artifact_holds_no_keys(tiny_artifact):
    names = {p.name for p in Artifact(tiny_artifact, ("client",)).folder.rglob("*") if p.is_file()}
    assert names == {
        "manifest.json",
        "model-card.md",
        "statistics.npy",
        "server.zip",
        "network.safetensors",
        "calibration.npy",
    }


def test_whatever_words_a_response_has_only_integers_come_out(client):
    """A hostile server chooses the words and nothing else: Concrete never parses its bytes."""
    from hushtune.fhe.envelope import Envelope

    encryption = client.artifact.manifest.encryption
    size = truncated_bytes(encryption.response_words, client.artifact.config.fhe.response_bits)
    rng = np.random.default_rng(1)
    for payload in (bytes(size), b"\xff" * size, rng.bytes(size)):
        packed = Envelope(b"R", client.artifact.id, client.key_id, payload).pack()
        assert client.decrypt_logits(packed).shape == encryption.output.shape[-1:]
    for payload in (bytes(size - 1), bytes(size + 1), bytes(2 * size)):
        packed = Envelope(b"R", client.artifact.id, client.key_id, payload).pack()
        with pytest.raises(ProtocolError, match="payload bytes, expected"):
            client.decrypt(packed)
