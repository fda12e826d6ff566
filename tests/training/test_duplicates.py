"""The same recording twice in a catalogue: found, merged, and no harm to the decision."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
import torchaudio.functional as F

from hushtune.configs.loading import parse_config
from hushtune.fhe.export.artifact import _songs
from hushtune.model.audio import read_audio
from hushtune.model.rows import Rows
from hushtune.support.errors import CatalogueError
from hushtune.training.data.augment import change_speed, mp3
from hushtune.training.data.catalogue import list_tracks
from hushtune.training.data.split import Split
from hushtune.training.linear.changes import compare, enrol, remove
from hushtune.training.linear.duplicates import merged
from hushtune.training.linear.sums import Sums
from hushtune.training.trainer import train

RATE = 16_000
SONGS = 10


def equalised(wave):
    lows = F.bass_biquad(torch.from_numpy(wave), RATE, 6.0, 120.0)
    out = F.treble_biquad(lows, RATE, -6.0, 4500.0).numpy()
    return 0.7 * out / np.abs(out).max()


def variants(wave, other):
    """The same recording as libraries hold it again."""
    return {
        "lossy": mp3(torch.from_numpy(0.7 * wave), RATE, 0.9).numpy(),
        "cut": wave[: round(0.6 * len(wave))],
        "equalised": equalised(wave),
        "quiet": 0.1 * wave,
        "intro": np.concatenate([other[: 7 * RATE], wave]),
        "one-channel": np.stack([wave, 0 * wave], axis=1),
        "slower": change_speed(torch.from_numpy(wave), -0.5).numpy(),
    }


@pytest.fixture(scope="module")
def music(tiny_run, tmp_path_factory):
    """A folder of songs of one to two artists, one of them there twice, and variants beside it."""
    folder = tmp_path_factory.mktemp("music")
    settings = tiny_run.config.catalogue.model_copy(update={"tracks": SONGS, "seconds": 40.0})
    songs = [read_audio(t.path, RATE) for t in list_tracks(settings, folder / "cache")]
    (folder / "library").mkdir()
    (folder / "variants").mkdir()
    for number, wave in enumerate(songs):
        name = f"Artist {number % 5} - Song {number}.wav"
        soundfile.write(folder / "library" / name, wave, RATE)
    for number, (kind, wave) in enumerate(variants(songs[3], songs[4]).items()):
        soundfile.write(folder / "variants" / f"{number} {kind}.wav", wave, RATE)
    shutil.copy(folder / "variants" / "0 lossy.wav", folder / "library" / "Song three again.wav")
    return folder


@pytest.fixture(scope="module")
def settings(linear_run, music):
    whole = linear_run.config.model_dump(mode="json")
    return {
        **whole,
        "catalogue": {"kind": "folder", "path": str(music / "library")},
        "split": {},
        "name": "doubles",
        "runs": str(music / "runs"),
        "network": {**whole["network"], "inputs": 512},
        "enrolment": {"row_seconds": 8},
    }


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def run(settings, music, told):
    config = parse_config(settings, name="doubles", folder=music)
    return train(config, announce=told.append)


def test_the_same_recording_twice_becomes_one_song(run, told):
    split = run.split()
    assert len(split.known) == SONGS
    (double,) = split.merged
    assert {double.title, double.same_as} == {"Song three again", "Artist 3 - Song 3.wav"}
    assert any("1 songs merged" in line and "Song 3" in line for line in told)
    (song,) = (song for song in _songs(split) if song.aliases)
    assert song.title == "Song 3" and song.aliases == ("Song three again",)
    assert not compare(run), "what was merged is not new"


def test_a_double_does_not_move_the_threshold(run, settings, music):
    """As if it had never been there; kept as a song of its own, nobody takes it for unknown."""
    judged, scores = run.calibration(quantized=True)
    known = judged.labels < SONGS
    decision = run.decisions(quantized=True)
    correct = (scores[:, :-1].argmax(1) == judged.labels) & (
        decision.score(scores, judged.seconds) > 0
    )
    longest = judged.seconds == judged.seconds.max()
    assert correct[known & longest].mean() > 0.9
    kept = train(
        parse_config(
            {**settings, "name": "kept", "enrolment": {"row_seconds": 8, "duplicates": "keep"}},
            name="kept",
            folder=music,
        ),
        announce=lambda line: None,
    )
    assert len(kept.split().known) == SONGS + 1
    judged, scores = kept.calibration(quantized=True)
    strangers = judged.labels == SONGS + 1
    doubles = [n for n, t in enumerate(kept.split().known) if "3" in t.title or "three" in t.title]
    assert len(doubles) == 2
    best = np.nanmax(scores[strangers & (judged.seconds == judged.seconds.max()), :-1], axis=1)
    own = scores[~strangers & (judged.seconds == judged.seconds.max())]
    assert np.quantile(best, 0.99) < np.quantile(own[:, :-1].max(1), 0.2)


def test_doubles_may_be_an_error(settings, music):
    config = parse_config(
        {**settings, "name": "strict", "enrolment": {"row_seconds": 8, "duplicates": "error"}},
        name="strict",
        folder=music,
    )
    with pytest.raises(CatalogueError, match=r"same recordings as others:\n.*Song"):
        train(config, announce=lambda line: None)


def test_variants_are_merged_when_they_come_and_other_songs_are_not(run, music):
    files = sorted((music / "variants").iterdir())
    enrol(run, files, announce=lambda line: None)
    split = run.split()
    joined = {track.id for track in split.merged}
    assert len(split.known) == SONGS, f"only {sorted(joined)} were merged"
    # "0 lossy" has the content of a file that is there already
    assert len(joined) == len(files)
    others = [track for track in split.known if track.title.startswith("Song")]
    assert len(others) >= SONGS - 1, "no other song of an artist was merged"


def test_a_merged_song_comes_back_when_its_other_one_goes(run):
    split = run.split()
    kept = next(track for track in split.known if track.id == split.merged[0].same_as)
    remove(run, [kept.id], announce=lambda line: None)
    after = run.split()
    assert kept.id not in {track.id for track in (*after.known, *after.merged)}
    assert len(after.known) == SONGS, "another of the same recordings took its place"
    assert len(after.merged) == len(split.merged) - 1
    gone = after.merged[0]
    remove(run, [gone.id], announce=lambda line: None)
    assert gone.id not in {track.id for track in run.split().merged}
    assert isinstance(json.loads(run.path("split.json").read_text())["merged"], list)
    assert Split.load(run.path("split.json")) == run.split()


def test_songs_of_a_mix_stay_songs(run, music):
    """A part of a long mix is no double of it; an excerpt of a song is."""
    split = run.split()
    totals = replace(
        Sums.load(run.path("sums.npz")), rows=Rows((5, 5, 5, 100), 8.0), ids=("a", "b", "c", "d")
    )
    four = split.known[:4]
    assert merged(four, [(0, 3), (1, 3)], totals) == []
    short = replace(totals, rows=Rows((5, 5, 5, 60), 8.0))
    (one,) = merged(four, [(0, 3)], short)
    assert one.id == four[0].id and one.same_as == four[3].id
    chain = merged(four, [(0, 1), (1, 2)], replace(totals, rows=Rows((5, 7, 6, 100), 8.0)))
    assert {(t.id, t.same_as) for t in chain} == {
        (four[0].id, four[1].id),
        (four[2].id, four[1].id),
    }
