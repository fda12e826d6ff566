import numpy as np
import pytest
from hushtune.fhe.ciphertexts import find_blobs, lengthen, shorten
from hushtune.support.errors import ProtocolError


def message(words, before=b"", after=b""):
    """A Cap'n Proto stream of one segment: a struct with one pointer, to a list of words."""
    assert len(words) * 8 >= 512
    root = (1 << 48).to_bytes(8, "little")  # a struct: no data, one pointer
    pointer = (1 | (len(words) << 35) | (5 << 32)).to_bytes(8, "little")  # 64-bit elements
    segment = root + pointer + np.asarray(words, "<u8").tobytes()
    return (0).to_bytes(4, "little") + (len(segment) // 8).to_bytes(4, "little") + segment


@pytest.fixture
def words():
    return np.random.default_rng(0).integers(0, 2**64, 70_001, dtype=np.uint64)


def test_the_words_are_found(words):
    stream = message(words)
    ((start, end),) = find_blobs(stream)
    assert stream[start:end] == words.tobytes()


@pytest.mark.parametrize("bits", [8, 11, 16, 33, 63, 64])
def test_fewer_bits_round_to_the_nearest_on_the_torus(words, bits):
    stream = message(words)
    short = shorten(stream, bits)
    assert len(short) < len(stream) * bits / 64 + 200
    full = lengthen(short, bits)
    assert len(full) == len(stream)
    ((start, end),) = find_blobs(full)
    assert full[:start] == stream[:start]
    error = (np.frombuffer(full[start:end], "<u8") - words).astype(np.int64)  # wraps like the torus
    assert np.abs(error.astype(float)).max() <= 2.0 ** (63 - bits)


def test_a_word_next_to_one_becomes_zero():
    full = lengthen(shorten(message([2**64 - 1] * 64), 16), 16)
    assert full[-8:] == bytes(8)


@pytest.mark.parametrize("cut", [0, 5, 13, 40, 900, -1])
def test_cut_off_data_are_refused(words, cut):
    with pytest.raises(ProtocolError, match="cannot be read"):
        lengthen(shorten(message(words), 16)[:cut], 16)


@pytest.mark.parametrize(
    "place, value",
    [
        (0, 0),
        (0, 65),
        (1, 2),
        (1, 200),
        (5, 1),
        (12, 255),
        (13, 255),
        (20, 255),
        (21, 0),
        (28, 255),
    ],
)
def test_altered_heads_are_refused(words, place, value):
    data = bytearray(shorten(message(words), 16))
    assert data[place] != value
    data[place] = value
    with pytest.raises(ProtocolError, match="cannot be read"):
        lengthen(bytes(data), 16)


def test_other_bits_than_agreed_on_are_refused(words):
    """One bit a word would let a stranger fill 64 times the memory that was received."""
    with pytest.raises(ProtocolError, match="cannot be read"):
        lengthen(shorten(message(words), 1), 16)
