"""LWE ciphertexts on the wire: their words alone, truncated where the low bits hold only noise.

Concrete serialises a value with Cap'n Proto: a frame that says what it is, around one long list of
64-bit words. All messages of one kind and circuit have the same frame, so only the words travel,
and each side puts them into a frame of its own making: no parser ever sees a stranger's frame.

A word is a number on the torus. Decryption adds up about half of a ciphertext's words, so that
rounding each to its `b` highest bits adds an error of about ``sqrt(words / 24) * 2**-b`` of the
torus: for the logits of an answer, 16 bits are plenty.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..support.errors import ProtocolError

Words = NDArray[np.uint64]

SHORTEST_BLOB = 512
WORD_BITS = 64
WORD_BYTES = 8
_BITS = {0: 0, 1: 1, 2: 8, 3: 16, 4: 32, 5: 64}
_CHUNK = 1 << 16
"""Words packed at once; a multiple of 8, so that each chunk ends with a whole byte."""


def find_blobs(message: bytes) -> Iterator[tuple[int, int]]:
    """Where the long lists of numbers lie in a Cap'n Proto stream, first byte and end.

    Args:
        message: a trusted one. The encoding: https://capnproto.org/encoding.html
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


@dataclass(frozen=True)
class Frame:
    """What all messages of one kind and circuit share: everything around their words.

    Attributes:
        head: bytes before the words.
        tail: bytes after them.
        words: how many there are.
    """

    head: bytes
    tail: bytes
    words: int

    @classmethod
    def of(cls, message: bytes) -> "Frame":
        """The frame of a trusted message.

        Raises:
            ValueError: it has no long list of words, or several.
        """
        blobs = list(find_blobs(message))
        if len(blobs) != 1:
            raise ValueError(f"a message with {len(blobs)} lists of words")
        ((start, end),) = blobs
        return cls(message[:start], message[end:], (end - start) // WORD_BYTES)

    def read(self, message: bytes) -> Words:
        """The words in a message: uint64 [words].

        Raises:
            ProtocolError: it has another frame.
        """
        start, end = len(self.head), len(message) - len(self.tail)
        if (
            end - start != WORD_BYTES * self.words
            or not message.startswith(self.head)
            or not message.endswith(self.tail)
        ):
            raise ProtocolError("Concrete wrote a message of another form than expected.")
        return np.frombuffer(message, "<u8", self.words, start)

    def around(self, words: Words) -> bytes:
        """A message with these words: uint64, as many as the frame has.

        Raises:
            ProtocolError: more or fewer words.
        """
        if words.size != self.words:
            raise ProtocolError(f"{words.size} words, expected {self.words}.")
        return b"".join((self.head, np.ascontiguousarray(words, "<u8").tobytes(), self.tail))


def words_of(data: bytes | memoryview, count: int, *, kind: str) -> Words:
    """The words that were sent whole: uint64 [count].

    Args:
        data: a stranger's.
        count: how many there must be.
        kind: what to call the message in an error.

    Raises:
        ProtocolError: another number of bytes.
    """
    if len(data) != WORD_BYTES * count:
        raise ProtocolError(
            f"{kind}: {len(data)} payload bytes, expected {WORD_BYTES * count}. It was not made "
            "for this circuit."
        )
    return np.frombuffer(data, "<u8")


def truncate(words: Words, bits: int) -> bytes:
    """Keep the `bits` highest bits, rounded, of every word.

    Args:
        words: uint64, any shape.
        bits: 1 to 64.

    Returns:
        For `restore`: ``ceil(words * bits / 8)`` bytes.
    """
    words = words.reshape(-1)
    if bits == WORD_BITS:
        return words.astype("<u8", copy=False).tobytes()
    drop = np.uint64(WORD_BITS - bits)
    half = np.uint64(1) << (drop - np.uint64(1))
    parts = []
    for start in range(0, len(words), _CHUNK):
        # the sum may pass one: so it does on the torus
        rounded = (words[start : start + _CHUNK] + half) >> drop
        flat = np.unpackbits(rounded.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
        parts.append(np.packbits(flat[:, WORD_BITS - bits :]).tobytes())
    return b"".join(parts)


def restore(data: bytes, count: int, bits: int) -> Words:
    """Whole words from what `truncate` made of them; the bits that are gone are zero.

    Args:
        data: a stranger's.
        count: how many words there must be.
        bits: with which they were truncated.

    Raises:
        ProtocolError: another number of bytes.
    """
    if len(data) != truncated_bytes(count, bits):
        raise ProtocolError(
            f"response: {len(data)} payload bytes, expected {truncated_bytes(count, bits)}. "
            "It was cut off, or made by another circuit."
        )
    if bits == WORD_BITS:
        return np.frombuffer(data, "<u8")
    out = np.empty(count, "<u8")
    stored = np.frombuffer(data, np.uint8)
    for start in range(0, count, _CHUNK):
        number = min(_CHUNK, count - start)
        first = start * bits // 8
        some = np.unpackbits(stored[first : first + truncated_bytes(number, bits)])
        full = np.zeros((number, WORD_BITS), np.uint8)
        full[:, :bits] = some[: number * bits].reshape(number, bits)
        out[start : start + number] = np.packbits(full, axis=1).view(">u8")[:, 0]
    return out


def truncated_bytes(words: int, bits: int) -> int:
    """How many bytes `truncate` makes of so many words."""
    return (words * bits + 7) // 8
