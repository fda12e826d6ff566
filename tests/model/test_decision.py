import numpy as np
import pytest

from hushtune.model.decision import Decision, Decisions, score_features

DECISION = Decision((2.0, 1.0, -1.0, -0.5), -3.0, 0.5)
LOGITS = np.random.default_rng(0).standard_normal((50, 9))


def test_probabilities_sum_to_one_and_follow_the_verdict():
    probabilities = DECISION.probabilities(LOGITS)
    assert probabilities.sum(1) == pytest.approx(np.ones(50))
    unknown = probabilities[:, -1] > 0.5
    assert (DECISION.classes(LOGITS) == 8).tolist() == unknown.tolist()
    assert 0 < unknown.sum() < 50


def test_features_are_best_gap_unknown_and_spread():
    row = score_features(np.array([[1.0, 5.0, 2.0, 0.0, -3.0]]))[0]
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


def test_songs_that_are_left_out_do_not_count():
    scores = np.array([[1.0, 5.0, np.nan, 2.0, np.nan, 0.0, -3.0]])
    without = np.array([[1.0, 5.0, 2.0, 0.0, -3.0]])
    assert score_features(scores) == pytest.approx(score_features(without))


def test_a_clip_gets_the_decision_of_its_length():
    short, long = (Decision((w, 1.0, 0.0, 0.0), -w, w) for w in (1.0, 4.0))
    decisions = Decisions((3.0, 12.0), (short, long))
    assert decisions.at(1.0) == decisions.at(3.0) == short
    assert decisions.at(20.0) == long
    between = decisions.at(6.0)  # half-way by the logarithm of the length
    assert between.weights[0] == pytest.approx(2.5)
    assert between.intercept == pytest.approx(-2.5)
    assert between.temperature == pytest.approx(2.0)
    assert Decisions.from_json(decisions.to_json()) == decisions
    scores = np.random.default_rng(0).normal(size=(3, 5))
    mixed = decisions.score(scores, np.array([3.0, 12.0, 3.0]))
    assert mixed[1] == long.score(scores)[1]
    assert (mixed[[0, 2]] == short.score(scores)[[0, 2]]).all()
