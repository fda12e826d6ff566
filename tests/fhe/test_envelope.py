import pytest

from hushtune.fhe.envelope import Envelope
from hushtune.support.errors import ProtocolError

HERE, ELSEWHERE, KEY = b"a" * 32, b"b" * 32, b"k" * 16
PACKED = Envelope(b"Q", HERE, KEY, b"payload").pack()


def test_round_trip():
    opened = Envelope.unpack(PACKED, b"Q", HERE)
    assert (opened.payload, opened.key_id, opened.artifact_id) == (b"payload", KEY, HERE)


@pytest.mark.parametrize(
    ("data", "kind", "artifact", "expected"),
    [
        (b"", b"Q", HERE, "0 bytes that are not Hushtune's"),
        (b"x" * 500, b"Q", HERE, "not Hushtune's"),
        (PACKED[:-1], b"Q", HERE, "truncated or damaged"),
        (PACKED[:-1] + b"X", b"Q", HERE, "truncated or damaged"),
        (PACKED[:38] + b"X" * 16 + PACKED[54:], b"Q", HERE, "truncated or damaged"),
        (PACKED[:40], b"Q", HERE, "not Hushtune's"),
        (PACKED, b"R", HERE, "Expected a response, got query"),
        (PACKED, b"Q", ELSEWHERE, "made for artifact 616161"),
        (PACKED[:4] + b"\x09" + PACKED[5:], b"Q", HERE, "version=9"),
    ],
)
def test_anything_else_is_refused(data, kind, artifact, expected):
    with pytest.raises(ProtocolError, match=expected):
        Envelope.unpack(data, kind, artifact)
