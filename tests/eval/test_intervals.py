import numpy as np
import pytest
from hushtune.eval.intervals import (
    auroc,
    curve_over_tracks,
    open_set_curve,
    oscr,
    share_over_tracks,
    wilson,
)


def test_clips_of_one_track_are_not_independent():
    rng = np.random.default_rng(1)
    easy = rng.random(60) < 0.7
    hits, tracks = np.repeat(easy, 50), np.repeat(np.arange(60), 50)
    together, apart = share_over_tracks(hits, tracks), share_over_tracks(hits, np.arange(3000))
    assert together.value == apart.value == hits.mean()
    assert together.high - together.low > 5 * (apart.high - apart.low)
    assert together.low < 0.7 < together.high


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        hits = rng.random((40, 10)) < rng.beta(4, 2, (40, 1))
        share = share_over_tracks(hits.ravel(), np.repeat(np.arange(40), 10))
        held += share.low <= 4 / 6 <= share.high
    assert 85 <= held <= 100


def test_everything_right_still_leaves_doubt():
    share = share_over_tracks(np.ones(30, bool), np.repeat(np.arange(10), 3))
    assert share.value == share.high == 1.0
    assert 0.6 < share.low < 0.8  # ten tracks, not thirty clips
    assert share_over_tracks(np.zeros(0, bool), np.zeros(0, int)) is None
    assert wilson(9, 10).low == pytest.approx(0.596, abs=0.001)


def test_open_set_curve_against_thresholds_tried_one_by_one():
    rng = np.random.default_rng(2)
    unknown = rng.random(200) < 0.4
    right = ~unknown & (rng.random(200) < 0.8)
    score = np.round(rng.standard_normal(200) + ~unknown, 1)  # with ties
    alarms, found = open_set_curve(right, score, unknown)
    for threshold in np.unique(score):
        passing = score >= threshold
        point = passing[unknown].mean(), (right & passing)[~unknown].mean()
        assert np.min(np.abs(alarms - point[0]) + np.abs(found - point[1])) < 1e-9
    assert alarms[0] == found[0] == 0 and alarms[-1] == 1
    assert found[-1] == pytest.approx(right[~unknown].mean())


def test_oscr_is_auroc_times_accuracy_at_its_extremes():
    unknown = np.array([False] * 50 + [True] * 50)
    score = np.where(unknown, 0.0, 1.0) + np.linspace(0, 0.1, 100)
    assert auroc(score, unknown) == 1.0
    assert oscr(~unknown, score, unknown) == pytest.approx(1.0)
    half = ~unknown & (np.arange(100) % 2 == 0)
    assert oscr(half, score, unknown) == pytest.approx(0.5)
    assert oscr(np.zeros(100, bool), score, unknown) == 0.0


def test_area_intervals_resample_tracks_of_both_sides():
    rng = np.random.default_rng(3)
    known = np.where(np.arange(400) < 200, np.arange(400) // 10, -1)
    unknown = np.where(known < 0, np.arange(400) // 10, -1)
    score = rng.standard_normal(400) + 1.2 * (known >= 0)
    area = curve_over_tracks(lambda places: auroc(score[places], known[places] < 0), known, unknown)
    assert area.value == pytest.approx(auroc(score, known < 0))
    assert area.low < area.value < area.high
    assert 0.02 < area.high - area.low < 0.25
