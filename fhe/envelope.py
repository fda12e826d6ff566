"""The envelope around all bytes that belong to an artifact: queries, responses, keys.

```
offset  bytes
     0      4  magic "HUSH"
     4      1  format version
     5      1  kind: Q query, R response, E evaluation keys, K client keys (never sent)
     6     32  id of the artifact
    38     16  id of the client's key set
    54     32  SHA-256 of the 54 bytes before it and the payload
    86      .  payload: of Q and R the words of ciphertexts, of E and K keys as Concrete
               serialises them
```

Its header carries no secret and says nothing of the clip. It lets each side refuse truncated
bytes, bytes of another kind, of another artifact or of another key set with a clear error, before
Concrete's deserialiser sees them. A field that changes from query to query belongs between the key
set's id and the digest: a service compares all before that id with what it expects.
"""

import hashlib
import struct
from dataclasses import dataclass

from ..support.errors import ProtocolError

MAGIC = b"HUSH"
VERSION = 2
KINDS = {b"Q": "query", b"R": "response", b"E": "evaluation keys", b"K": "client keys"}
_HEADER = struct.Struct(">4sB1s32s16s32s")
HEADER_BYTES = _HEADER.size
KEY_ID = slice(38, 54)
DIGEST = slice(54, HEADER_BYTES)


def digest_of(header: bytes, payload: bytes | memoryview) -> bytes:
    """The SHA-256 that an envelope carries: over its header up to there, and the payload."""
    digest = hashlib.sha256(header[: DIGEST.start])
    digest.update(payload)
    return digest.digest()


@dataclass(frozen=True)
class Envelope:
    """A payload and what it belongs to."""

    kind: bytes
    artifact_id: bytes
    key_id: bytes
    payload: bytes

    def pack(self) -> bytes:
        """The envelope as bytes."""
        head = _HEADER.pack(MAGIC, VERSION, self.kind, self.artifact_id, self.key_id, b"")
        head = head[: DIGEST.start]
        return head + digest_of(head, self.payload) + self.payload

    @staticmethod
    def unpack(data: bytes, kind: bytes, artifact_id: bytes) -> "Envelope":
        """Check and open an envelope.

        Args:
            data: what was received.
            kind: the kind it must be of.
            artifact_id: the artifact it must belong to.

        Raises:
            ProtocolError: truncated, changed, of another kind, version or artifact.
        """
        wanted = KINDS[kind]
        if len(data) < _HEADER.size or data[:4] != MAGIC:
            raise ProtocolError(
                f"{wanted}: {len(data)} bytes that are not Hushtune's. Expected a {wanted} made by "
                "hushtune.Client or hushtune.Server."
            )
        _, version, found, artifact, key_id, digest = _HEADER.unpack_from(data)
        if version != VERSION:
            raise ProtocolError(
                f"{wanted}: wire format version={version}, expected {VERSION}. Use the same "
                "Hushtune version on both sides."
            )
        if found != kind:
            raise ProtocolError(f"Expected a {wanted}, got {KINDS.get(found, 'something else')}.")
        if artifact != artifact_id:
            raise ProtocolError(
                f"{wanted}: made for artifact {artifact.hex()[:12]}, but this is artifact "
                f"{artifact_id.hex()[:12]}. Use one artifact's client and server parts together."
            )
        payload = data[_HEADER.size :]
        if digest_of(data, payload) != digest:
            raise ProtocolError(
                f"{wanted}: truncated or damaged (header and {len(payload)} payload bytes do not "
                "match their SHA-256)."
            )
        return Envelope(kind, artifact, key_id, payload)
