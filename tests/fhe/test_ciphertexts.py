import numpy as np
import pytest

from hushtune.fhe.ciphertexts import (
    Frame,
    find_blobs,
    restore,
    truncate,
    truncated_bytes,
    words_of,
)
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


def test_a_frame_goes_around_words_and_comes_off(words):
    stream = message(words)
    frame = Frame.of(stream)
    assert frame.words == len(words)
    assert np.array_equal(frame.read(stream), words)
    assert frame.around(words) == stream
    for bad in (words[:-1], np.append(words, words[:1])):
        with pytest.raises(ProtocolError, match="words, expected"):
            frame.around(bad)
    for bad in (stream[:-8], stream + bytes(8), b"\1" + stream[1:], b""):
        with pytest.raises(ProtocolError, match="another form"):
            frame.read(bad)


def test_a_message_without_one_list_of_words_has_no_frame():
    root = (1 << 48).to_bytes(8, "little")
    with pytest.raises(ValueError, match="0 lists"):
        Frame.of((0).to_bytes(4, "little") + (2).to_bytes(4, "little") + root + bytes(8))


@pytest.mark.parametrize("bits", [8, 11, 16, 33, 63, 64])
def test_fewer_bits_round_to_the_nearest_on_the_torus(words, bits):
    short = truncate(words, bits)
    assert len(short) == truncated_bytes(len(words), bits) < len(words) * bits / 8 + 1
    full = restore(short, len(words), bits)
    error = (full - words).astype(np.int64)  # wraps like the torus
    assert np.abs(error.astype(float)).max() <= 2.0 ** (63 - bits)


def test_a_word_next_to_one_becomes_zero():
    assert not restore(truncate(np.full(64, 2**64 - 1, np.uint64), 16), 64, 16).any()


@pytest.mark.parametrize("cut", [0, 5, 13, 40, 900, -1])
def test_cut_off_data_are_refused(words, cut):
    with pytest.raises(ProtocolError, match="payload bytes, expected"):
        restore(truncate(words, 16)[:cut], len(words), 16)


def test_other_bits_than_agreed_on_are_refused(words):
    """One bit a word would let a stranger fill 64 times the memory that was received."""
    with pytest.raises(ProtocolError, match="payload bytes, expected"):
        restore(truncate(words, 1), len(words), 16)


def test_words_sent_whole_are_counted(words):
    assert np.array_equal(words_of(words.tobytes(), len(words), kind="query"), words)
    for data in (b"", words.tobytes()[:-1], words.tobytes() + b"x"):
        with pytest.raises(ProtocolError, match="query: .* expected"):
            words_of(data, len(words), kind="query")
