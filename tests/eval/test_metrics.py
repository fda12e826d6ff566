import numpy as np
import pytest
from hushtune.eval.metrics import detection_and_identification, summary, top_k

# four known songs and "unknown"; clips: two right, one second best, one lost; two unknown ones
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


def test_top_k():
    assert top_k(LOGITS, LABELS, 1) == pytest.approx(3 / 6)
    assert top_k(LOGITS[:4], LABELS[:4], 3) == 1.0
    assert top_k(LOGITS, LABELS, 99) == 1.0


def test_detection_needs_identity_and_acceptance():
    # scores of unknown clips: -6 and 1; of known ones: 7, 7, 4 (wrong song), -3
    assert detection_and_identification(LOGITS, LABELS, 0.01) == pytest.approx(2 / 4)
    # with half of the unknown clips let through the lost one is right again
    assert detection_and_identification(LOGITS, LABELS, 0.9) == pytest.approx(3 / 4)


def test_summary():
    result = summary(LOGITS, LABELS, SNR)
    assert result["top1"] == pytest.approx(2 / 4)
    assert result["top1_closed"] == pytest.approx(3 / 4)
    assert result["top1_by_snr_db"] == {"0": 0.5, "10": 0.5}
    assert result["known_lost_as_unknown"] == pytest.approx(1 / 4)
    assert result["unknown_rejected"] == pytest.approx(1 / 2)
    assert result["auroc"] == pytest.approx(7 / 8)


def test_shuffled_labels_give_chance():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((4000, 11))
    labels = rng.integers(11, size=4000)
    result = summary(logits, labels, np.zeros(4000))
    assert result["top1"] == pytest.approx(1 / 11, abs=0.02)
    assert result["auroc"] == pytest.approx(0.5, abs=0.06)
