"""Thousands of envelopes that no client makes, at the service's door.

``HUSHTUNE_FUZZ_EXAMPLES=10000`` makes more of them.
"""

import asyncio
import hashlib
import os

from fastapi import Request
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hushtune.fhe.envelope import HEADER_BYTES, Envelope
from hushtune.service.bodies import read_query, save_keys
from hushtune.service.errors import Refusal
from hushtune.service.layout import Layout
from hushtune.service.queries import check_query
from hushtune.service.settings import ServiceSettings

MANY = settings(
    max_examples=int(os.environ.get("HUSHTUNE_FUZZ_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
ARTIFACT, KEY = bytes(range(32)), bytes(range(16))
PAYLOAD = bytes(range(256)) * 2
WORDS = len(PAYLOAD) // 8
FIXED = PAYLOAD[:40] + PAYLOAD[200:300] + PAYLOAD[500:]
FIXED_DIGEST = hashlib.sha256(FIXED).hexdigest()
LIMIT = 2 * (HEADER_BYTES + len(PAYLOAD))


def sealed(payload: bytes, kind: bytes = b"Q", artifact: bytes = ARTIFACT) -> bytes:
    return Envelope(kind, artifact, KEY, payload).pack()


def edits(size: int):
    """Up to four changes: (place, bytes to take out, bytes to put there)."""
    place = st.one_of(st.integers(0, HEADER_BYTES + 8), st.integers(0, size))
    return st.lists(
        st.tuples(place, st.integers(0, 40), st.binary(max_size=40)), min_size=1, max_size=4
    )


def edited(data: bytes, changes) -> bytes:
    for place, out, put in changes:
        data = data[:place] + put + data[place + out :]
    return data


def request_of(body: bytes, cuts: list[int], headers: dict[str, str] | None = None) -> Request:
    """A request whose body comes in pieces."""
    ends = [*sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    messages = [
        {"type": "http.request", "body": piece, "more_body": place < len(pieces) - 1}
        for place, piece in enumerate(pieces)
    ]

    async def receive():
        return messages.pop(0)

    given_headers = {"content-type": "application/octet-stream", **(headers or {})}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in given_headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def refusal_of_query(body: bytes, cuts: list[int], key: bytes | None) -> Refusal | None:
    async def take() -> None:
        request = request_of(body, cuts)
        check_query(await read_query(request, LIMIT, ARTIFACT, ServiceSettings()), key, WORDS)

    try:
        asyncio.run(take())
    except Refusal as refusal:
        return refusal
    return None


@MANY
@given(edits(HEADER_BYTES + len(PAYLOAD)), st.lists(st.integers(0, 700), max_size=4))
@example([(38, 1, b"x")], [])
@example([(HEADER_BYTES + 100, 1, b"x")], [50])
def test_a_changed_query_is_refused(changes, cuts):
    body = edited(sealed(PAYLOAD), changes)
    refusal = refusal_of_query(body, cuts, KEY)
    if body == sealed(PAYLOAD):
        assert refusal is None
    else:
        assert refusal is not None and refusal.status in (413, 422)


@MANY
@given(edits(len(PAYLOAD)), st.lists(st.integers(0, 700), max_size=4), st.booleans())
@example([(100, 3, b"abc")], [], True)
@example([(39, 8, b"")], [], False)
def test_a_query_that_a_stranger_seals_has_as_many_words_as_a_clients(changes, cuts, keyless):
    payload = edited(PAYLOAD, changes)
    refusal = refusal_of_query(sealed(payload), cuts, None if keyless else KEY)
    assert (refusal is None) == (len(payload) == len(PAYLOAD))
    assert refusal is None or refusal.status in (413, 422)


@MANY
@given(edits(len(PAYLOAD)))
@example([(100, 3, b"abc")])
@example([(39, 1, b"x")])
def test_keys_differ_from_a_clients_within_their_blobs_alone(changes):
    layout = Layout(len(PAYLOAD), ((40, 200), (300, 500)), FIXED_DIGEST)
    message = edited(PAYLOAD, changes)
    same = message[:40] + message[200:300] + message[500:] == FIXED
    assert layout.fits(message) == (same and len(message) == len(PAYLOAD))


@MANY
@given(
    edits(HEADER_BYTES + len(PAYLOAD)),
    st.lists(st.integers(0, 700), max_size=4),
    st.sampled_from(["", "0", "598", "99999999", "-1", "1e3", "٣", "9" * 30]),
)
def test_changed_keys_are_refused_and_leave_no_file(tmp_path, changes, cuts, length):
    body, path = edited(sealed(PAYLOAD, b"E"), changes), tmp_path / "keys"
    headers = {"content-length": length.encode("utf-8").decode("latin-1")} if length else {}

    async def take() -> None:
        request = request_of(body, cuts, headers)
        await save_keys(request, LIMIT, ARTIFACT, ServiceSettings(reserve_bytes=0), path)

    try:
        asyncio.run(take())
    except Refusal as refusal:
        assert refusal.status in (413, 422) and not path.exists()
    else:
        # the key set's id and the payload are whatever the digest covers: a worker checks them
        assert Envelope.unpack(path.read_bytes(), b"E", ARTIFACT) and path.read_bytes() == body
        path.unlink()


@MANY
@given(st.binary(max_size=LIMIT + 100), st.lists(st.integers(0, 900), max_size=3))
def test_any_bytes_at_all_are_refused(body, cuts):
    assert refusal_of_query(body, cuts, None).status in (413, 422)


@MANY
@given(
    st.sampled_from([b"Q", b"R", b"E", b"K"]), st.binary(min_size=32, max_size=32), st.booleans()
)
def test_another_kind_or_artifact_is_refused(kind, artifact, right):
    artifact = ARTIFACT if right else artifact
    refusal = refusal_of_query(sealed(PAYLOAD, kind, artifact), [], KEY)
    assert (refusal is None) == (kind == b"Q" and artifact == ARTIFACT)
