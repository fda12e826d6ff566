"""Circuits that end in the song's number: the tournament in the clear, and all in real FHE."""

import numpy as np
import pytest
from hushtune.fhe.export.compile import export
from hushtune.fhe.number import BASE, TOP, Number, classes_of, fit_number, numbers_of
from hushtune.model.network import network_logits
from hushtune.support.errors import ProtocolError
from hushtune.training.data.clips import clip_images, list_test_clips
from hushtune.training.run import Run

from hushtune.client.part import check_client_zip
from hushtune.recognizer import Recognizer
from hushtune.service.layout import Layouts


def plain_number(songs: int, *, spread: bool = False) -> Number:
    """Levels begin at logits 1, 2, ...; accepted from level 3."""
    weights = tuple(level - 3 for level in range(TOP + 1))
    return Number(songs, 0.5, 0, 0, tuple(range(1, TOP + 1)), weights, 0, spread)


@pytest.mark.parametrize("songs", [1, 2, 3, 7, 50, 63, 64, 300])
def test_the_highest_song_wins_wherever_it_stands(songs):
    number = plain_number(songs)
    logits = np.zeros((songs, songs + 1))
    logits[np.arange(songs), np.arange(songs)] = 5.0
    assert number.numbers(logits).tolist() == list(range(1, songs + 1))
    digits = number(np.rint(logits / 0.5).astype(int))
    assert digits.shape == (songs, number.digits) and digits.min() >= 0 and digits.max() < BASE
    assert BASE ** (number.digits - 1) <= songs + 1 <= BASE**number.digits or songs < BASE


def test_the_song_enrolled_first_wins_a_tie():
    logits = np.zeros((1, 12))
    for songs in ([4, 9], [2, 3], [0, 10], [5, 6, 7, 8]):
        logits[:] = 0
        logits[0, songs] = 6.0
        assert plain_number(11).numbers(logits)[0] == songs[0] + 1


def test_below_the_threshold_the_number_is_zero():
    logits = np.zeros((3, 6))
    logits[0, 2], logits[1, 2], logits[2] = 2.5, 3.0, -4.0
    assert plain_number(5).numbers(logits).tolist() == [0, 3, 0]


def test_a_wide_spread_asks_for_more():
    """The same best logit among songs that all resemble the clip a little is no match."""
    logits = np.zeros((2, 41))
    logits[:, 3] = 6.0
    logits[1, 4:40] = 1.5
    assert plain_number(40, spread=True).numbers(logits).tolist() == [0, 0], "6.0 adds 7 itself"
    number = Number(40, 0.5, 0, 0, tuple(range(1, TOP + 1)), (-1, *range(20, 50, 2)), 0, True)
    assert number.numbers(logits).tolist() == [4, 0]


def test_the_logit_of_unknown_speaks_against_all_songs():
    number = Number(5, 0.5, 0, 0, tuple(range(1, TOP + 1)), tuple(range(-3, TOP - 2)), 0, False, 1)
    logits = np.zeros((3, 6))
    logits[:, 2] = 6.0
    logits[:, 5] = -4.0, 3.0, 4.0
    assert number.numbers(logits).tolist() == [3, 3, 0]


def clips_of_30_songs(rng, gain):
    """Logits of 600 clips that resemble their song by `gain`, and of 600 unknown ones."""
    labels = np.repeat([*range(30), 30], [*[20] * 30, 600])
    logits = rng.normal(0, 0.5, (len(labels), 31))
    known = labels < 30
    logits[known, labels[known]] += gain
    return logits, labels, known


def test_fitting_learns_from_the_logit_of_unknown():
    rng = np.random.default_rng(2)
    logits, labels, known = clips_of_30_songs(rng, 2.0)
    logits[~known, rng.integers(0, 30, 600)] += 2.0  # resembles a song as much
    logits[~known, 30] += 3.0
    classes = fit_number(logits, labels, 0.001, (-4.0, 6.0), 0.05).classes(logits)
    assert (classes[~known] < 30).mean() <= 0.05
    assert (classes[known] == labels[known]).mean() > 0.8


@pytest.mark.parametrize("misled", [False, True])
def test_fitting_survives_logits_that_say_nothing(misled):
    """Or the contrary: then more false alarms are no excuse."""
    rng = np.random.default_rng(3)
    labels = np.repeat([*range(5), 5], [*[20] * 5, 100])
    logits = rng.normal(0, 0.5, (200, 6))
    if misled:
        logits[labels == 5, :5] += 2.0
    number = fit_number(logits, labels, 0.001, (-4.0, 6.0), 0.05)
    assert number.unknown >= 0
    assert (number.classes(logits)[labels == 5] < 5).mean() <= 0.05


def test_without_a_match_unknown_cannot_name_a_song():
    rng = np.random.default_rng(4)
    logits, labels, known = clips_of_30_songs(rng, 4.0)
    logits[~known, 30] += 3.0
    number = fit_number(logits, labels, 0.001, (-9.0, 9.0), 0.05)
    assert number.unknown > 0
    extreme = np.full((1, 31), -8.9)
    assert number.numbers(extreme).tolist() == [0]


def test_fitting_keeps_false_alarms_and_rounds_exactly_at_the_threshold():
    rng = np.random.default_rng(1)
    labels = np.repeat([*range(30), 30], [*[20] * 30, 600])
    logits = rng.normal(0, 0.5, (len(labels), 31)) * rng.uniform(0.5, 1.5, (len(labels), 1))
    known = labels < 30
    logits[known, labels[known]] += rng.uniform(1, 8, known.sum())
    number = fit_number(logits, labels, 0.001, (-4.0, 12.0), 0.05)
    classes = number.classes(logits)
    assert (classes[~known] < 30).mean() <= 0.05
    assert (classes[known] == labels[known]).mean() > 0.7
    assert number.verdict_cut > 0 and number.spread
    exact = Number.from_json({**number.to_json(), "verdict_cut": 0})
    assert (exact.classes(logits) == classes).all(), "rounding the sum moves no answer"
    assert Number.from_json(number.to_json()) == number


def test_numbers_that_no_song_has_are_unknown():
    assert classes_of(np.array([0, 1, 5, 6, 9]), 5).tolist() == [5, 0, 4, 5, 5]
    assert numbers_of(np.array([[7, 1], [0, 2]])).tolist() == [15, 16]


@pytest.fixture(scope="module")
def number_run(linear_run):
    fhe = linear_run.config.fhe.model_copy(update={"answer": "number"})
    return Run(linear_run.folder, linear_run.config.model_copy(update={"fhe": fhe}))


@pytest.fixture(scope="module")
def artifact(number_run):
    return export(number_run, number_run.path("number"))


def test_real_fhe_gives_the_number_that_the_circuit_gives_in_the_clear(sides, number_run):
    client, server, keys = sides
    split = number_run.split()
    clips = list_test_clips(number_run.config, split)[::3]
    images = clip_images(clips, number_run.config, number_run.front_end()).images
    wanted = client.artifact.number.numbers(
        network_logits(number_run.network(quantized=True), images)
    )
    given, sizes = [], []
    for image in images.numpy():
        response = server.run(client.encrypt_image(image), keys)
        sizes.append(len(response))
        given.append(client.decrypt_number(response))
    assert (np.array(given) == wanted).mean() >= 0.9
    assert len(set(given)) > 3, "several songs are named"
    labels = np.array([clip.label for clip in clips])
    known = labels < split.unknown_class
    assert (np.array(given)[known] == labels[known] + 1).mean() >= 0.8
    assert max(sizes) < 20_000
    with pytest.raises(ProtocolError, match="answers with a number"):
        client.decrypt_logits(response)


def test_a_client_gets_one_song_and_no_probability(artifact, sides, tiny_clips):
    client, server, keys = sides
    seen = set()
    for mode in ("execute", "simulate", "clear"):
        recognizer = Recognizer(artifact, mode, keys=artifact / "test.keys")
        answer = recognizer.identify(tiny_clips[0][1])
        assert answer.unknown_probability is None
        assert len(answer.matches) == (0 if answer.is_unknown else 1)
        assert all(match.probability is None for match in answer.matches)
        seen.add(answer.text)
    assert len(seen) == 1
    assert answer.to_json()["matches"][0]["probability"] is None


def test_a_service_accepts_such_an_artifact(sides, artifact):
    check_client_zip(artifact / "client" / "client.zip")
    client, _, _ = sides
    layouts = Layouts.measure(artifact)
    assert layouts.query.length > 0 and len(client.evaluation_keys()) > 1000
