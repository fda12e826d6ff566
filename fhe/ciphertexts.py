"""Concrete's serialised messages: where their numbers lie, and fewer bits of each.

An LWE ciphertext is a list of 64-bit words, numbers on the torus of which the low bits hold nothing
but noise. Decryption adds up about half of a ciphertext's words, so that rounding each to its `b`
highest bits adds an error of about ``sqrt(words / 24) * 2**-b`` of the torus: for the logits of an
answer, 16 bits are plenty. The receiver fills the words up with zeros and has a message as Concrete
would have written it.
"""

import struct
from collections.abc import Iterator

import numpy as np

from ..support.errors import ProtocolError

SHORTEST_BLOB = 512
WORD_BITS = 64
_BITS = {0: 0, 1: 1, 2: 8, 3: 16, 4: 32, 5: 64}
_HEAD = struct.Struct("<BIQ")
_PLACE = struct.Struct("<QQ")
_CHUNK = 1 << 16
"""Words packed at once; a multiple of 8, so that each chunk ends with a whole byte."""


def find_blobs(message: bytes) -> Iterator[tuple[int, int]]:
    """Where the long lists of numbers lie in a Cap'n Proto stream, first byte and end.

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


def shorten(message: bytes, bits: int) -> bytes:
    """Keep the `bits` highest bits, rounded, of every 64-bit word of a ciphertext message.

    Args:
        message: one trusted message of LWE ciphertexts, as Concrete serialises it.
        bits: 1 to 64.

    Returns:
        For `lengthen`.
    """
    blobs = sorted(find_blobs(message))
    parts = [_HEAD.pack(bits, len(blobs), len(message))]
    parts += [_PLACE.pack(start, end) for start, end in blobs]
    position = 0
    for start, end in blobs:
        parts.append(message[position:start])
        position = end
    parts.append(message[position:])
    for start, end in blobs:
        parts.append(_pack(np.frombuffer(message, "<u8", (end - start) // 8, start), bits))
    return b"".join(parts)


def lengthen(data: bytes, bits: int) -> bytes:
    """A message of full words from what `shorten` made of it.

    Args:
        data: trusted or not.
        bits: with which it was shortened. So no message is more than ``64 / bits`` times as long
            as its data, whoever made it.

    Raises:
        ProtocolError: not such data, or cut off.
    """
    try:
        stated, count, length = _HEAD.unpack_from(data)
        places = [
            _PLACE.unpack_from(data, _HEAD.size + i * _PLACE.size) for i in range(min(count, 64))
        ]
    except struct.error as error:
        raise ProtocolError(f"response: cannot be read ({error}).") from error
    position = _HEAD.size + count * _PLACE.size
    ends = [0, *(end for _, end in places)]
    words = [(end - start) // 8 for start, end in places]
    rising = all(
        low <= start < end and (end - start) % 8 == 0
        for low, (start, end) in zip(ends, places, strict=False)
    )
    outside = length - 8 * sum(words)
    packed = sum(_packed_bytes(number, bits) for number in words)
    rising = rising and ends[-1] <= length
    if not (stated == bits and rising and position + outside + packed == len(data)):
        raise ProtocolError("response: cannot be read (its parts do not fit its length).")
    message = bytearray(length)
    start = 0
    for low, high in [*places, (length, length)]:
        message[start:low] = data[position : position + low - start]
        position, start = position + low - start, high
    for (low, high), number in zip(places, words, strict=True):
        size = _packed_bytes(number, bits)
        message[low:high] = _unpack(data[position : position + size], number, bits).tobytes()
        position += size
    return bytes(message)


def _packed_bytes(words: int, bits: int) -> int:
    return (words * bits + 7) // 8


def _pack(words: np.ndarray, bits: int) -> bytes:
    if bits == WORD_BITS:
        return words.tobytes()
    drop = np.uint64(WORD_BITS - bits)
    half = np.uint64(1) << (drop - np.uint64(1))
    parts = []
    for start in range(0, len(words), _CHUNK):
        # the sum may pass one: so it does on the torus
        kept = (words[start : start + _CHUNK] + half) >> drop
        flat = np.unpackbits(kept.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
        parts.append(np.packbits(flat[:, WORD_BITS - bits :]).tobytes())
    return b"".join(parts)


def _unpack(data: bytes, words: int, bits: int) -> np.ndarray:
    if bits == WORD_BITS:
        return np.frombuffer(data, "<u8")
    out = np.empty(words, "<u8")
    stored = np.frombuffer(data, np.uint8)
    for start in range(0, words, _CHUNK):
        number = min(_CHUNK, words - start)
        first = start * bits // 8
        some = np.unpackbits(stored[first : first + _packed_bytes(number, bits)])
        full = np.zeros((number, WORD_BITS), np.uint8)
        full[:, :bits] = some[: number * bits].reshape(number, bits)
        out[start : start + number] = np.packbits(full, axis=1).view(">u8")[:, 0]
    return out
