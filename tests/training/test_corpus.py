"""The real corpus, where it lies beside the project."""

import pytest

from hushtune.configs.loading import load_config
from hushtune.model.audio import read_audio
from hushtune.training.data.catalogue import list_tracks
from hushtune.training.data.sounds import split_sounds
from hushtune.training.data.split import split_tracks

CONFIG = load_config("corpus")

pytestmark = pytest.mark.skipif(
    not CONFIG.catalogue.path.is_file(), reason=f"no corpus at {CONFIG.catalogue.path}"
)


def test_split_of_the_corpus_is_of_the_promised_size(tmp_path):
    tracks = list_tracks(CONFIG.catalogue, tmp_path)
    split = split_tracks(tracks, CONFIG.split, CONFIG.seed)
    assert 55 <= len(split.known_unknowns) <= 60
    assert 55 <= len(split.unknown_test) <= 60
    assert len(split.known) > 440
    assert 15 <= len(split.calibrating) <= 30
    assert not {t.artist for t in split.teaching} & {t.artist for t in split.calibrating}


def test_tracks_and_sounds_decode(tmp_path):
    for track in list_tracks(CONFIG.catalogue, tmp_path)[::100]:
        assert 25 * 16_000 < len(read_audio(track.path, 16_000)) < 31 * 16_000
    sounds = split_sounds(CONFIG)
    (train,), test = sounds.training, sounds.test
    assert not set(train.noise.names) & set(test.noise.names)
    assert not set(train.rooms.names) & set(test.rooms.names)
    assert len(test.noise.names) > 40 and len(test.rooms.names) >= 10
