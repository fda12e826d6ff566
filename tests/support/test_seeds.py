import numpy as np

from hushtune.support.seeds import Stream


def test_streams_keep_their_numbers():
    """They are part of every published figure."""
    assert [int(stream) for stream in Stream] == [*range(1, 13), *range(14, 24)]
    assert (Stream.SPLIT, Stream.EXAMPLES, Stream.CLIPS, Stream.BATCHES) == (1, 5, 8, 12)


def test_a_stream_counts_as_its_number():
    named, plain = (np.random.default_rng([3, key]).random(4) for key in (Stream.CLIPS, 8))
    assert np.array_equal(named, plain)
