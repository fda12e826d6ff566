import numpy as np
import pytest
from hushtune.eval.metrics import detection_and_identification, summary, top_k
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


def test_top_k():
    assert top_k(LOGITS, LABELS, 1).tolist() == [True, True, False, False, True, False]
    assert top_k(LOGITS[:4], LABELS[:4], 3).all()
    assert top_k(LOGITS, LABELS, 99).all()


def test_detection_needs_identity_and_acceptance():
    score = np.array([7.0, 7, 4, -3, -6, 1])
    assert detection_and_identification(RIGHT, score, UNKNOWN, 0.01) == pytest.approx(2 / 4)
    # with half of the unknown clips let through, the faint one is found again
    assert detection_and_identification(RIGHT, score, UNKNOWN, 0.5) == pytest.approx(3 / 4)


def test_summary():
    # looks at the unknown logit alone: accepted where it lies under 2.5
    decision = Decision((0.0, 0.0, -1.0, 0.0), 2.5, 1.0)
    result = summary(LOGITS, LABELS, SNR, decision)
    assert result["clips_known"] == 4 and result["clips_unknown"] == 2
    assert result["top1_closed"] == pytest.approx(3 / 4)
    assert result["top1_closed_by_snr_db"] == {"0": 0.5, "10": 1.0}
    assert result["top1"] == pytest.approx(2 / 4)
    assert result["known_lost_as_unknown"] == pytest.approx(1 / 4)
    assert result["unknown_rejected"] == 1.0
    assert result["auroc"] == pytest.approx(1 - 2 / 8, abs=0.13)


def test_shuffled_labels_give_chance():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((4000, 11))
    labels = rng.integers(11, size=4000)
    result = summary(logits, labels, np.zeros(4000), Decision((1.0, 0.0, 0.0, 0.0), -1.0, 1.0))
    assert result["top1_closed"] == pytest.approx(1 / 10, abs=0.02)
    assert result["auroc"] == pytest.approx(0.5, abs=0.06)
