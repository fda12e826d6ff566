"""What an honest client's bytes look like, so that no other bytes reach Concrete.

Concrete reads evaluation keys and ciphertexts with Cap'n Proto. It has no function that compares a
key set with a circuit's parameters, so a message made for others, or made by hand, might crash the
computation or make it read memory that is not the message's.

All honest messages of one kind and circuit have the same length and differ only in their *blobs*,
the long lists of numbers that are keys or ciphertexts. So the server makes one key set and one
query of its own, notes everything but the blobs, and accepts only messages that agree with it. The
received bytes are compared, not parsed. The key set is thrown away.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from hushtune.training.files import replacing

SHORTEST_BLOB = 512
_BITS = {0: 0, 1: 1, 2: 8, 3: 16, 4: 32, 5: 64}


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
        blobs = tuple(sorted(_blobs(message)))
        return cls(len(message), blobs, _digest(message, blobs))

    def fits(self, message: bytes | memoryview) -> bool:
        """Whether a message, trusted or not, has this layout."""
        return len(message) == self.length and _digest(message, self.blobs) == self.digest


@dataclass(frozen=True)
class Layouts:
    """The layouts of all that a client sends."""

    evaluation_keys: Layout
    query: Layout

    @classmethod
    def measure(cls, artifact: Path) -> "Layouts":
        """Make a key set and a query as a client would, and note their layouts (seconds)."""
        from hushtune.fhe.client import Client
        from hushtune.fhe.wire import Envelope

        client = Client(artifact)
        client.create_keys()
        image = np.zeros(client.artifact.front_end().image_shape, np.float32)
        artifact_id = client.artifact.id
        keys = Envelope.unpack(client.evaluation_keys(), b"E", artifact_id).payload
        query = Envelope.unpack(client.encrypt_image(image), b"Q", artifact_id).payload
        return cls(Layout.of(keys), Layout.of(query))

    @classmethod
    def kept(cls, path: Path, artifact: Path) -> "Layouts":
        """From a file; measured and written there if it cannot be read."""
        try:
            return cls.from_json(path.read_text("utf-8"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            layouts = cls.measure(artifact)
        with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
            file.write(layouts.to_json())
            file.flush()
            os.fsync(file.fileno())
        return layouts

    def to_json(self) -> str:
        """As text, for `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Layouts":
        """Back from text."""
        parts = {
            name: Layout(part["length"], tuple(map(tuple, part["blobs"])), part["digest"])
            for name, part in json.loads(text).items()
        }
        return cls(**parts)


def _digest(message: bytes | memoryview, blobs: tuple[tuple[int, int], ...]) -> str:
    view, digest, position = memoryview(message), hashlib.sha256(), 0
    for start, end in blobs:
        digest.update(view[position:start])
        position = end
    digest.update(view[position:])
    return digest.hexdigest()


def _blobs(message: bytes) -> Iterator[tuple[int, int]]:
    """Where the long lists of numbers lie in a Cap'n Proto stream.

    The encoding: https://capnproto.org/encoding.html
    """
    count = struct.unpack_from("<I", message)[0] + 1
    sizes = struct.unpack_from(f"<{count}I", message, 4)
    starts, start = [], (4 + 4 * count + 7) // 8 * 8
    for size in sizes:
        starts.append(start)
        start += 8 * size
    pointers = [starts[0]]
    while pointers:
        position = pointers.pop()
        low, high = struct.unpack_from("<iI", message, position)
        if low == 0 and high == 0:
            continue
        target = position + 8 + 8 * (low >> 2)
        if low & 3 == 2:  # far: the pointer lies in another segment
            landing = starts[high] + 8 * ((low & 0xFFFFFFFF) >> 3)
            if not low & 4:
                pointers.append(landing)
                continue
            far, segment = struct.unpack_from("<II", message, landing)
            target = starts[segment] + 8 * (far >> 3)
            low, high = struct.unpack_from("<iI", message, landing + 8)
        if low & 3 == 0:  # a struct: data words, then pointers
            data, references = high & 0xFFFF, high >> 16
            pointers += [target + 8 * (data + i) for i in range(references)]
        elif low & 3 == 1:
            kind, length = high & 7, high >> 3
            if kind == 6:  # a list of pointers
                pointers += [target + 8 * i for i in range(length)]
            elif kind == 7:  # a list of structs, headed by their number and size
                number, sizes_of_one = struct.unpack_from("<iI", message, target)
                data, references = sizes_of_one & 0xFFFF, sizes_of_one >> 16
                for element in range(number >> 2):
                    first = target + 8 + 8 * (element * (data + references) + data)
                    pointers += [first + 8 * i for i in range(references)]
            elif length * _BITS[kind] // 8 >= SHORTEST_BLOB:
                yield target, target + length * _BITS[kind] // 8
