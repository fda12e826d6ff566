import numpy as np
import pytest

from hushtune.training.calibration import calibrate


def clips(count, songs=6, seed=0):
    """Logits of known clips, whose song stands out, and of unknown ones; their labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([*range(songs), songs], [count] * songs + [count * songs])
    logits = rng.normal(0, 1, (len(labels), songs + 1))
    known = labels < songs
    logits[np.flatnonzero(known), labels[known]] += 4
    logits[~known, -1] += 1
    return logits, labels


@pytest.mark.parametrize("false_alarms", [0.01, 0.05, 0.2])
def test_the_share_of_false_alarms_is_what_was_asked_for(false_alarms):
    logits, labels = clips(400)
    decision = calibrate(logits, labels, false_alarms)
    unknown = labels == 6
    accepted = decision.score(logits[unknown]) > 0
    assert accepted.mean() == pytest.approx(false_alarms, abs=1 / unknown.sum())
    others, told = clips(400, seed=1)
    assert (decision.classes(others)[told == 6] != 6).mean() == pytest.approx(
        false_alarms, abs=0.02
    )
    assert (decision.classes(others) == told)[told < 6].mean() > 0.8


def test_what_speaks_for_a_song_is_learned():
    decision = calibrate(*clips(400), 0.01)
    best, gap, unknown, _ = decision.weights
    assert best + gap > 0 > unknown


def test_probabilities_say_how_often_the_best_song_is_right():
    logits, labels = clips(600)
    decision = calibrate(logits, labels, 0.01)
    known = labels < 6
    songs = decision.probabilities(logits[known])[:, :-1]
    sure = songs.max(1) / songs.sum(1)
    right = songs.argmax(1) == labels[known]
    assert sure.mean() == pytest.approx(right.mean(), abs=0.02)
