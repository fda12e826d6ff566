import pytest

from hushtune.configs.schema import Config, FoldSettings
from hushtune.support.errors import CatalogueError
from hushtune.training.data.segments import RING_SECONDS, clip_seconds, held_out, training_spans


def config(protocol=None, number=0, of=10):
    fold = FoldSettings(protocol=protocol, number=number, of=of) if protocol else None
    return Config(name="x", catalogue={"kind": "composed"}, fold=fold)


@pytest.mark.parametrize("settings", [config(), config("conditions", 3)])
def test_nothing_is_held_out_where_folds_hold_out_conditions_alone(settings):
    assert held_out(settings, 30.0) is None
    assert training_spans(settings, 30.0) == [(0.0, 30.0)]
    assert clip_seconds(settings, 30.0) == 10.0


def test_tenths_cover_a_track_and_are_guarded_by_a_clip_on_both_sides():
    ends = 0.0
    for number in range(10):
        settings = config("segments", number)
        start, end = held_out(settings, 30.0)
        assert start == pytest.approx(ends) and end - start == pytest.approx(3.0)
        ends = end
        assert clip_seconds(settings, 30.0) == pytest.approx(3.0)
        for first, last in training_spans(settings, 30.0):
            assert last <= start - 3.0 + 1e-9 or first >= end + 3.0 - 1e-9
    assert ends == pytest.approx(30.0)


def test_a_long_segment_is_tested_and_guarded_by_whole_crops():
    settings = config("segments", 4)
    assert clip_seconds(settings, 240.0) == 10.0
    assert training_spans(settings, 240.0) == [(0.0, 86.0), (130.0, 240.0)]


def test_halves_are_the_winners_two_cases_without_a_guard():
    last, first = config("halves", 0, 2), config("halves", 1, 2)
    assert held_out(last, 30.0) == (15.0, 30.0)
    assert training_spans(last, 30.0) == [(0.0, 15.0)]
    assert held_out(first, 30.0) == (0.0, 15.0)
    # what a room lets ring on of the held-out half is not trained on
    assert training_spans(first, 30.0) == [(15.0 + RING_SECONDS, 30.0)]


def test_too_short_tracks_are_refused():
    with pytest.raises(CatalogueError, match="segments of only 0.80 s in 10 folds"):
        clip_seconds(config("segments"), 8.0)
    with pytest.raises(CatalogueError, match="nothing left to train on in fold 1 of 3"):
        training_spans(config("segments", 1, 3), 6.0)


def test_folds_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="number=10 must be less than of=10"):
        FoldSettings(protocol="segments", number=10, of=10)
    with pytest.raises(ValueError, match="'halves' has two folds"):
        FoldSettings(protocol="halves", number=0, of=3)
