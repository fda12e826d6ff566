import numpy as np
import pytest

from hushtune.eval.baselines.landmarks import (
    FRAME_SECONDS,
    LandmarkIndex,
    landmarks,
    near_duplicates,
)
from hushtune.training.data.composer import SAMPLE_RATE, compose

SECONDS = 12


def cut(song: np.ndarray, start: float, seconds: float) -> np.ndarray:
    return song[round(start * SAMPLE_RATE) : round((start + seconds) * SAMPLE_RATE)]


def noisy(clip: np.ndarray, snr_db: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(clip))
    level = np.sqrt(np.mean(clip**2) / 10 ** (snr_db / 10))
    return (clip + level * noise).astype(np.float32)


@pytest.fixture(scope="module")
def songs():
    return [compose(5, number, SECONDS) for number in range(6)]


@pytest.fixture(scope="module")
def tracks(songs):
    return [landmarks(song, SAMPLE_RATE) for song in songs]


@pytest.fixture(scope="module")
def index(tracks):
    return LandmarkIndex.build(tracks)


def test_landmarks_follow_the_music_in_time(songs, tracks):
    track = tracks[0]
    assert track.hashes.dtype == np.int64
    assert track.times.dtype == track.ends.dtype == np.int32
    assert len(track.hashes) == len(track.times) == len(track.ends) == len(track)
    assert (np.diff(track.times) >= 0).all() and (track.ends > track.times).all()
    assert SECONDS - 2 < track.ends.max() * FRAME_SECONDS <= SECONDS
    later = landmarks(np.pad(songs[0], (100 * round(FRAME_SECONDS * SAMPLE_RATE), 0)), SAMPLE_RATE)
    assert np.median(later.times) - np.median(track.times) == pytest.approx(100, abs=5)


def test_silence_and_nothing_have_no_landmarks(index):
    for wave in (np.zeros(0, np.float32), np.zeros(5, np.float32), np.zeros(SAMPLE_RATE)):
        nothing = landmarks(wave, SAMPLE_RATE)
        assert len(nothing) == 0
        assert index.match(nothing).tolist() == [0] * 6


@pytest.mark.parametrize("snr_db", [60, 10, 0])
def test_clips_are_found(songs, index, snr_db):
    queries = [landmarks(noisy(cut(song, 3.21, 5), snr_db), SAMPLE_RATE) for song in songs]
    top, score = index.judge(queries)
    assert top.shape == (6, 3) and score.shape == (6,)
    assert top[:, 0].tolist() == list(range(6))


def test_match_counts_hashes_that_agree(tracks, index):
    counts = index.match(tracks[2])
    assert counts.shape == (6,)
    assert counts[2] == len(tracks[2]) > 3 * np.delete(counts, 2).max()


def test_a_song_not_indexed_scores_lower(songs, tracks):
    index = LandmarkIndex.build(tracks[:5])
    queries = [landmarks(noisy(cut(song, 2, 6), 10), SAMPLE_RATE) for song in songs]
    _, score = index.judge(queries)
    assert score[5] < score[:5].min()


def test_a_clip_slightly_too_fast_is_found(songs, index):
    from torch import from_numpy
    from torchaudio.functional import resample

    fast = [resample(from_numpy(song), 101, 100).numpy() for song in songs]
    top, _ = index.judge([landmarks(cut(song, 1, 10), SAMPLE_RATE) for song in fast])
    assert top[:, 0].tolist() == list(range(6))


def test_segments_left_out_are_not_found():
    # noise never repeats, unlike songs
    rng = np.random.default_rng(1)
    song, other = (rng.standard_normal(SECONDS * SAMPLE_RATE).astype(np.float32) for _ in range(2))
    tracks = [landmarks(song, SAMPLE_RATE), landmarks(other, SAMPLE_RATE)]
    index = LandmarkIndex.build(tracks, keep=[[(0.0, 4.0), (8.0, 12.0)], [(0.0, 12.0)]])
    early, middle, late = (landmarks(cut(song, start, 4), SAMPLE_RATE) for start in (0, 4, 8))
    assert index.match(early)[0] > 0.8 * len(early)
    assert index.match(late)[0] > 0.8 * len(late)
    assert index.match(middle)[0] < 0.05 * len(middle)
    kept = index.times[index.owners == 0] * FRAME_SECONDS
    assert len(kept) and not ((kept > 4) & (kept < 8)).any()
    # neither may a landmark reach from a kept segment into one left out
    assert (index.owners == 0).sum() < ((tracks[0].times * FRAME_SECONDS % 8) < 4).sum()
    assert (index.owners == 1).sum() == len(tracks[1])


def test_one_list_of_segments_for_each_track(tracks):
    with pytest.raises(ValueError):
        LandmarkIndex.build(tracks, keep=[[(0.0, 1.0)]])


def test_save_and_load(tracks, index, tmp_path):
    path = tmp_path / "index"
    index.save(path)
    loaded = LandmarkIndex.load(path)
    assert [file.name for file in tmp_path.iterdir()] == ["index"]
    assert loaded.tracks == 6
    for track in tracks:
        assert (loaded.match(track) == index.match(track)).all()


def test_near_duplicates_are_copies_at_another_level(songs, tracks):
    copy = landmarks(noisy(0.3 * cut(songs[1], 1.5, 9), 30), SAMPLE_RATE)
    everything = [*tracks, copy]
    pairs = near_duplicates(everything, LandmarkIndex.build(everything), 0.3)
    assert [pair[:2] for pair in pairs] == [(1, 6)]
    assert 0.3 <= pairs[0][2] <= 1
    assert near_duplicates(tracks, LandmarkIndex.build(tracks), 0.3) == []
