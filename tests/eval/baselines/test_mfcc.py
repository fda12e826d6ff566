from dataclasses import astuple

import numpy as np
import pytest
import torch

from hushtune.eval.baselines.mfcc import COEFFICIENTS, MfccVote, mfcc_windows
from hushtune.training.data.composer import SAMPLE_RATE, compose

CLASSES = [2, 5, 7, 11]
"""Class numbers with gaps."""
CENTRES = np.random.default_rng(0).normal(0, 3, (4, COEFFICIENTS))


def windows(song: int, count: int, seed: int, spread: float = 0.5) -> np.ndarray:
    """Windows of a toy song: float32 [count, 20]."""
    noise = np.random.default_rng([seed, song]).normal(0, spread, (count, COEFFICIENTS))
    return (20 + 10 * (CENTRES[song] + noise)).astype(np.float32)


@pytest.fixture(scope="module")
def features():
    return np.concatenate([windows(song, 60, 1) for song in range(4)])


@pytest.fixture(scope="module")
def vote(features):
    return MfccVote().fit(features, np.repeat(CLASSES, 60))


def test_windows_are_half_seconds(tone):
    features = mfcc_windows(tone, 16_000)
    assert features.shape == (20, COEFFICIENTS) and features.dtype == np.float32
    assert mfcc_windows(tone[:8_000], 16_000).shape == (1, COEFFICIENTS)
    assert mfcc_windows(tone[:15_999], 16_000).shape == (1, COEFFICIENTS)
    assert mfcc_windows(tone[:7_999], 16_000).shape == (0, COEFFICIENTS)
    assert mfcc_windows(tone, 22_050).shape == (14, COEFFICIENTS)


def test_a_window_depends_on_its_half_second_alone(tone):
    features = mfcc_windows(tone, 16_000)
    np.testing.assert_allclose(mfcc_windows(tone[24_000:32_000], 16_000)[0], features[3], atol=1e-3)
    changed = tone.copy()
    changed[24_000:32_000] = 0
    same = np.isclose(mfcc_windows(changed, 16_000), features, atol=1e-3).all(1)
    assert same.tolist() == [i != 3 for i in range(20)]


def test_silence_has_finite_features():
    assert np.isfinite(mfcc_windows(np.zeros(16_000, np.float32), 16_000)).all()


def test_songs_are_learnt_and_named(vote):
    top, score = vote.judge([windows(song, 6, 2) for song in range(4)])
    assert top.shape == (4, 3) and score.shape == (4,)
    assert top[:, 0].tolist() == CLASSES
    assert all(len(set(row)) == 3 and set(row) <= set(CLASSES) for row in top.tolist())
    assert score == pytest.approx(1.0, abs=0.01)


def test_fitting_leaves_the_threads_of_other_training_alone(features, monkeypatch):
    monkeypatch.setattr("psutil.cpu_count", lambda logical=True: 3)
    before = torch.get_num_threads()
    vote = MfccVote().fit(features, np.repeat(CLASSES, 60))
    assert torch.get_num_threads() == before
    vote.compile(features)
    assert torch.get_num_threads() == before


def test_score_is_the_share_of_votes(vote):
    mixed = np.concatenate([windows(0, 3, 3), windows(1, 2, 3), windows(3, 1, 3)])
    top, score = vote.judge([mixed])
    assert top.tolist() == [[CLASSES[0], CLASSES[1], CLASSES[3]]]
    assert score[0] == pytest.approx(3 / 6, abs=0.01)


def test_between_equals_the_more_probable_wins(vote):
    centres = (20 + 10 * CENTRES).astype(np.float32)
    hesitant = 0.55 * centres[2] + 0.45 * centres[0]
    for sure in (0, 1, 3):
        top, score = vote.judge([np.stack([hesitant, centres[sure]])])
        assert top[0, :2].tolist() == [CLASSES[sure], CLASSES[2]]
        assert 0.5 < score[0] < 0.52


def test_composed_songs_in_noise():
    rng = np.random.default_rng(0)
    songs = [compose(5, number, 8) for number in range(5)]

    def noisy(wave: np.ndarray) -> np.ndarray:
        return mfcc_windows(wave + 0.02 * rng.standard_normal(len(wave)), SAMPLE_RATE)

    views = [noisy(song) for song in songs for _ in range(3)]
    vote = MfccVote().fit(np.concatenate(views), np.repeat(range(5), 3 * 16))
    top, score = vote.judge([noisy(song[16_000:80_000]) for song in songs])
    assert top[:, 0].tolist() == list(range(5))
    assert (score > 0.5).all()


def test_real_fhe_agrees(vote, features):
    clips = [windows(1, 2, 4), np.concatenate([windows(3, 1, 4), windows(2, 1, 4)])]
    with pytest.raises(RuntimeError, match="compile"):
        MfccVote().fit(features, np.repeat(CLASSES, 60)).judge_encrypted(clips)
    vote.compile(features)
    encrypted = vote.judge_encrypted(clips)
    clear_top, clear_score = vote.judge(clips)
    assert (encrypted.top == clear_top).all()
    np.testing.assert_allclose(encrypted.score, clear_score, atol=1e-6)
    costs = encrypted.costs
    assert costs.response_bytes > costs.query_bytes > 0
    assert min(astuple(costs)) > 0
    assert encrypted.key_seconds > 0 and encrypted.evaluation_key_bytes > 0


def test_what_cannot_be_judged_is_refused(vote, features):
    with pytest.raises(ValueError, match="songs=2"):
        MfccVote().fit(features[:120], np.repeat(CLASSES[:2], 60))
    with pytest.raises(ValueError, match="clip 1: windows=0"):
        vote.judge([windows(0, 1, 1), windows(0, 0, 1)])
    top, score = vote.judge([])
    assert top.shape == (0, 3) and score.shape == (0,)
