"""The song's number, computed in the clear."""

import numpy as np
import pytest

from hushtune.fhe.number import BASE, TOP, Number, classes_of, numbers_of


def plain_number(songs: int, *, l1_norm: bool = False) -> Number:
    """Levels begin at logits 1, 2, ...; accepted from level 3."""
    weights = tuple(level - 3 for level in range(TOP + 1))
    return Number(songs, 0.5, 0, 0, tuple(range(1, TOP + 1)), weights, 0, l1_norm)


@pytest.mark.parametrize("songs", [1, 2, 3, 7, 50, 63, 64, 300])
def test_the_highest_song_wins_wherever_it_stands(songs):
    number = plain_number(songs)
    logits = np.zeros((songs, songs + 1))
    logits[np.arange(songs), np.arange(songs)] = 5.0
    assert number.numbers(logits).tolist() == list(range(1, songs + 1))
    assert BASE ** (number.digits - 1) <= songs + 1 <= BASE**number.digits or songs < BASE


def test_the_song_enrolled_first_wins_a_tie():
    logits = np.zeros((1, 12))
    for songs in ([4, 9], [2, 3], [0, 10], [5, 6, 7, 8]):
        logits[:] = 0
        logits[0, songs] = 6.0
        assert plain_number(11).numbers(logits)[0] == songs[0] + 1


def test_below_the_threshold_the_number_is_zero():
    logits = np.zeros((3, 6))
    logits[0, 2], logits[1, 2], logits[2] = 2.5, 3.0, -4.0
    assert plain_number(5).numbers(logits).tolist() == [0, 3, 0]


def test_a_large_norm_asks_for_more():
    """The same best logit among songs that all resemble the clip a little is no match."""
    logits = np.zeros((2, 41))
    logits[:, 3] = 6.0
    logits[1, 4:40] = 1.5
    assert plain_number(40, l1_norm=True).numbers(logits).tolist() == [0, 0], "6.0 adds 7 itself"
    number = Number(40, 0.5, 0, 0, tuple(range(1, TOP + 1)), (-1, *range(20, 50, 2)), 0, True)
    assert number.numbers(logits).tolist() == [4, 0]


def test_the_logit_of_unknown_speaks_against_all_songs():
    number = Number(5, 0.5, 0, 0, tuple(range(1, TOP + 1)), tuple(range(-3, TOP - 2)), 0, False, 1)
    logits = np.zeros((3, 6))
    logits[:, 2] = 6.0
    logits[:, 5] = -4.0, 3.0, 4.0
    assert number.numbers(logits).tolist() == [3, 3, 0]


def test_numbers_that_no_song_has_are_unknown():
    assert classes_of(np.array([0, 1, 5, 6, 9]), 5).tolist() == [5, 0, 4, 5, 5]
    assert numbers_of(np.array([[7, 1], [0, 2]])).tolist() == [15, 16]
