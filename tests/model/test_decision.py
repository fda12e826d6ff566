import numpy as np
import pytest

from hushtune.model.decision import Decision, logit_features

DECISION = Decision((2.0, 1.0, -1.0, -0.5), -3.0, 0.5)
LOGITS = np.random.default_rng(0).standard_normal((50, 9))


def test_probabilities_sum_to_one_and_follow_the_verdict():
    probabilities = DECISION.probabilities(LOGITS)
    assert probabilities.sum(1) == pytest.approx(np.ones(50))
    unknown = probabilities[:, -1] > 0.5
    assert (DECISION.classes(LOGITS) == 8).tolist() == unknown.tolist()
    assert 0 < unknown.sum() < 50


def test_features_are_best_gap_unknown_and_spread():
    row = logit_features(np.array([[1.0, 5.0, 2.0, 0.0, -3.0]]))[0]
    assert row == pytest.approx([5, 3, -3, np.std([1, 5, 2, 0])])


def test_a_song_that_stands_out_is_more_surely_known():
    louder = LOGITS.copy()
    louder[:, 3] += 9
    assert (DECISION.score(louder) > DECISION.score(LOGITS)).all()
    assert (louder[:, :-1].argmax(1) == 3).all()


def test_one_song_is_enough():
    assert np.isfinite(DECISION.probabilities(np.array([[1.0, 0.0]]))).all()


def test_parameters_travel_as_json():
    assert Decision.from_json(DECISION.to_json()) == DECISION
