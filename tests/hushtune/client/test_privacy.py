"""What crosses the wire and what lies on the server's disk: nothing that is the client's alone."""

import socket
import threading
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import soundfile

from hushtune.client import RemoteClient

CHUNK = 24
"""So many equal bytes are no coincidence in a few hundred megabytes."""


@contextmanager
def sniffing(url: str):
    """A TCP proxy before a server: its address, and all bytes that crossed either way."""
    host, port = url.removeprefix("http://").split(":")
    seen: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def forward(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                seen.append(data)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection((host, int(port)))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=forward, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", seen
    finally:
        listening.close()


def pieces(secret: bytes, every: int) -> set[bytes]:
    """Parts of a secret with enough variety to be told from padding and counters."""
    found = (secret[start : start + CHUNK] for start in range(0, len(secret) - CHUNK, every))
    return {piece for piece in found if len(set(piece)) > 8}


def holds_any(haystack: bytes, needles: set[bytes]) -> bool:
    """Whether any needle occurs, at whatever offset."""
    return any(needle in haystack for needle in needles)


@pytest.fixture(scope="module")
def observed(live, tiny_clips, tmp_path_factory):
    """A person identified a clip: their client, the wire's bytes, the server's files."""
    folder = tmp_path_factory.mktemp("observed")
    with sniffing(live.url) as (url, seen), RemoteClient(url, folder=folder) as remote:
        queries = []
        remote.identify(
            tiny_clips[0][1], on_progress=lambda p: queries.append(p.query) if p.query else None
        )
        client = remote.prepare()
        disk = b"".join(f.read_bytes() for f in [*live.files(), *live.data.glob("store*")])
        remote.forget()
    return client, queries[0], b"".join(seen), disk


def test_the_watch_sees_what_is_sent(observed):
    """Else the tests below could not fail."""
    client, query, wire, disk = observed
    assert holds_any(wire, pieces(query, len(query) // 7))
    keys = client.evaluation_keys()
    assert len(wire) > len(keys) + len(query)
    assert holds_any(wire, pieces(keys[200:100_000], 10_000))
    assert holds_any(disk, pieces(keys[200:100_000], 10_000))


def test_no_private_key_leaves_the_client(observed, tmp_path):
    client, _, wire, disk = observed
    secrets = client._keys.keyset.get_client_keys().get_secret_keys()
    words = [key.serialize()[200:-200] for key in secrets]  # a bit in each word of eight bytes
    plain = {word[start : start + 512] for word in words for start in range(0, 2048, 512)}
    bits = [np.frombuffer(word, np.uint8).reshape(-1, 8).any(1) for word in map(whole, words)]
    packed = {np.packbits(b, bitorder=o).tobytes()[:CHUNK] for b in bits for o in ("big", "little")}
    client.save_keys(tmp_path / "keys")
    kept = (tmp_path / "keys").read_bytes()
    assert len(secrets) >= 1 and all(piece in kept for piece in plain), "they are in the key file"
    assert not holds_any(wire, plain | packed) and not holds_any(disk, plain | packed)


def whole(data: bytes) -> bytes:
    """As many bytes as make whole words."""
    return data[: len(data) // 8 * 8]


def test_no_spectrum_and_none_of_the_clip_leaves_the_client(observed, tiny_clips):
    client, _, wire, disk = observed
    path = tiny_clips[0][1]
    image = client.features(path)[0]
    samples, _ = soundfile.read(path, dtype="int16")
    quantized = client.artifact.manifest.input_quantizer.quantize(image[None])
    secrets = pieces(image.tobytes(), 128) | pieces(samples.tobytes(), 997)
    secrets |= pieces(path.read_bytes(), 997) | {path.name.encode()}
    # small integers take few values: more of them are needed for a coincidence to be excluded
    numbers = quantized.reshape(-1)[: len(quantized.reshape(-1)) // 64 * 64].reshape(-1, 64)
    for kind in (np.int8, np.int16, np.int32, np.int64, np.float32):
        secrets |= {row.astype(kind).tobytes() for row in numbers if len(set(row)) > 4}
    assert len(secrets) > 50
    assert not holds_any(wire, secrets) and not holds_any(disk, secrets)
