"""What an honest client's evaluation keys look like, so that no other bytes reach Concrete.

Concrete reads evaluation keys with Cap'n Proto. It has no function that compares a
key set with a circuit's parameters, so a message made for others, or made by hand, might crash the
computation or make it read memory that is not the message's.

All honest key sets for a circuit have the same length and differ only in their *blobs*, the long
lists of numbers that are keys. So the server makes one key set of its own, notes everything but the
blobs, and accepts only messages that agree with it. The received bytes are compared, not parsed.
The key set is thrown away.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from hushtune.fhe.ciphertexts import find_blobs
from hushtune.support.files import replacing


@dataclass(frozen=True)
class Layout:
    """The length of a message, where its blobs lie, and what everything else must be."""

    length: int
    blobs: tuple[tuple[int, int], ...]
    """(first byte, byte after the last), ascending."""
    digest: str
    """SHA-256 of everything outside the blobs."""

    @classmethod
    def of(cls, message: bytes) -> "Layout":
        """The layout of a trusted message, a Cap'n Proto stream."""
        blobs = tuple(sorted(find_blobs(message)))
        return cls(len(message), blobs, _digest(message, blobs))

    @classmethod
    def measure(cls, artifact: Path) -> "Layout":
        """Make a key set as a client would, and note its layout (seconds)."""
        from hushtune.fhe.client import Client
        from hushtune.fhe.envelope import Envelope

        client = Client(artifact)
        client.create_keys()
        return cls.of(Envelope.unpack(client.evaluation_keys(), b"E", client.artifact.id).payload)

    @classmethod
    def kept(cls, path: Path, artifact: Path) -> "Layout":
        """From a file; measured and written there if it cannot be read."""
        try:
            return cls.from_json(path.read_text("utf-8"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            layout = cls.measure(artifact)
        with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
            json.dump(asdict(layout), file)
            file.flush()
            os.fsync(file.fileno())
        return layout

    @classmethod
    def from_json(cls, text: str) -> "Layout":
        """Back from text."""
        part = json.loads(text)
        blobs = tuple((int(start), int(end)) for start, end in part["blobs"])
        return cls(part["length"], blobs, part["digest"])

    def fits(self, message: bytes | memoryview) -> bool:
        """Whether a message, trusted or not, has this layout."""
        return len(message) == self.length and _digest(message, self.blobs) == self.digest


def _digest(message: bytes | memoryview, blobs: tuple[tuple[int, int], ...]) -> str:
    view, digest, position = memoryview(message), hashlib.sha256(), 0
    for start, end in blobs:
        digest.update(view[position:start])
        position = end
    digest.update(view[position:])
    return digest.hexdigest()
