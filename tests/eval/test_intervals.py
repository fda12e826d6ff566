import numpy as np
import pytest

from hushtune.eval.intervals import curve_over_tracks, share_over_tracks, wilson
from hushtune.eval.metrics import auroc


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


def test_area_intervals_resample_tracks_of_both_sides():
    rng = np.random.default_rng(3)
    known = np.where(np.arange(400) < 200, np.arange(400) // 10, -1)
    unknown = np.where(known < 0, np.arange(400) // 10, -1)
    score = rng.standard_normal(400) + 1.2 * (known >= 0)
    area = curve_over_tracks(lambda places: auroc(score[places], known[places] < 0), known, unknown)
    assert area.value == pytest.approx(auroc(score, known < 0))
    assert area.low < area.value < area.high
    assert 0.02 < area.high - area.low < 0.25
