import numpy as np
import pytest

from hushtune.model.rows import Rows, row_at, rows_in


def test_a_songs_score_is_that_of_its_best_row():
    rows = Rows((2, 1, 3), 10.0)
    logits = np.array([[1.0, 7.0, 3.0, -1.0, 0.0, -2.0, 9.0]])
    assert rows.scores(logits).tolist() == [[7.0, 3.0, 0.0, 9.0]]
    assert rows.songs.tolist() == [0, 0, 1, 2, 2, 2]


def test_rows_that_were_left_out_do_not_count():
    rows = Rows((2, 2), 10.0)
    some = rows.scores(np.array([[np.nan, 1.0, np.nan, np.nan, 5.0]]))
    assert some[0, 0] == 1 and np.isnan(some[0, 1]) and some[0, 2] == 5


def test_one_row_each_leaves_logits_as_they_are():
    logits = np.arange(8.0).reshape(2, 4)
    assert Rows.one_each(3).scores(logits) is logits
    assert Rows.one_each(3).offset(logits[0], 1) is None


def test_the_best_row_says_where_in_the_song_a_clip_lies():
    rows = Rows((2, 4), 10.0)
    logits = np.array([9.0, 0.0, 1.0, 2.0, 8.0, 3.0, 0.0])
    assert rows.offset(logits, 1) == 25.0
    assert rows.offset(logits, 0) == 5.0


@pytest.mark.parametrize("length", [1.0, 9.9, 10.0, 14.9, 15.0, 31.0, 200.0])
def test_every_moment_of_a_song_has_a_row(length):
    count = rows_in(length, 10.0)
    places = [row_at(moment, length, 10.0) for moment in np.linspace(0, length, 500)]
    assert sorted(set(places)) == list(range(count))
    assert places == sorted(places)
    assert row_at(length / 2, length, None) == 0
    assert Rows.of_lengths([length, 5.0], 10.0).counts == (count, 1)
    assert Rows.of_lengths([length, 5.0], None) == Rows.one_each(2)
