import numpy as np
import pandas as pd
import pytest

from hushtune.eval.metrics import (
    auroc,
    dir_at,
    hits,
    open_set_curve,
    oscr,
    ranked,
    rates,
    summary,
    top1_by,
)
from hushtune.model.decision import Decision

# four known songs and "unknown"; clips: two right, one second best, one faint; two unknown ones
LOGITS = np.array(
    [
        [9.0, 1, 0, 0, 2],
        [0.0, 8, 1, 0, 1],
        [5.0, 0, 4, 0, 1],
        [0.0, 0, 0, 3, 6],
        [0.0, 1, 0, 0, 7],
        [4.0, 0, 0, 0, 3],
    ]
)
LABELS = np.array([0, 1, 2, 3, 4, 4])
SNR = np.array([0.0, 10, 0, 10, 0, 10])
UNKNOWN = LABELS == 4
RIGHT = LOGITS[:, :-1].argmax(1) == LABELS


def test_songs_are_ranked_without_the_unknown_class():
    assert (ranked(LOGITS)[:, 0] == LABELS).tolist() == [True, True, False, True, False, False]
    assert (ranked(LOGITS)[:4] == LABELS[:4, None]).any(1).all()
    assert ranked(LOGITS).shape == (6, 3) and ranked(LOGITS[:, :3]).shape == (6, 2)
    assert ranked(np.zeros((1, 5))).tolist() == [[0, 1, 2]], "the first enrolled of equals"


def test_every_rate_is_over_its_own_clips():
    clips = pd.DataFrame(
        {
            "known": [True, True, True, True, False, False],
            "correct": [True, True, False, True, False, False],
            "in_top3": [True, True, True, True, False, False],
            "accepted": [True, True, True, False, False, True],
            "accepted_at_1_percent": [True, False, False, False, False, False],
            "snr_db": [0.0, 10, 0, 10, 0, 10],
        }
    )
    assert rates(clips) == {
        "top1": 3 / 4,
        "top3": 1.0,
        "correctly_identified": 2 / 4,
        "falsely_rejected": 1 / 4,
        "unknown_rejected": 1 / 2,
        "unknown_accepted": 1 / 2,
        "dir_1": 1 / 4,
        "dir_1_false_alarms": 0.0,
    }
    assert {name: len(values) for name, values in hits(clips).items()} == {
        name: 2 if name in ("unknown_rejected", "unknown_accepted", "dir_1_false_alarms") else 4
        for name in hits(clips)
    }
    assert top1_by(clips, "snr_db") == {"0": 1 / 2, "10": 1.0}


def test_detection_needs_identity_and_acceptance():
    score = np.array([7.0, 7, 4, -3, -6, 1])
    strict, half = dir_at(RIGHT, score, UNKNOWN, np.array([0.01, 0.5]))
    assert strict == pytest.approx(2 / 4)
    # with half of the unknown clips accepted, the faint one is identified, too
    assert half == pytest.approx(3 / 4)


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


def test_summary():
    # looks at the unknown logit alone: accepted where it lies under 2.5
    decision = Decision((0.0, 0.0, -1.0, 0.0), 2.5, 1.0)
    result = summary(LOGITS, LABELS, SNR, decision)
    assert result["clips_known"] == 4 and result["clips_unknown"] == 2
    assert result["top1_closed"] == pytest.approx(3 / 4)
    assert result["top1_closed_by_snr_db"] == {"0": 0.5, "10": 1.0}
    assert result["top1"] == pytest.approx(2 / 4)
    assert result["falsely_rejected"] == pytest.approx(1 / 4)
    assert result["unknown_rejected"] == 1.0
    assert result["auroc"] == pytest.approx(1 - 2 / 8, abs=0.13)


def test_shuffled_labels_give_chance():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((4000, 11))
    labels = rng.integers(11, size=4000)
    result = summary(logits, labels, np.zeros(4000), Decision((1.0, 0.0, 0.0, 0.0), -1.0, 1.0))
    assert result["top1_closed"] == pytest.approx(1 / 10, abs=0.02)
    assert result["auroc"] == pytest.approx(0.5, abs=0.06)
