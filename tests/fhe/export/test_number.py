"""Circuits that end in the song's number: in the clear, and all in real FHE."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from hushtune.fhe.envelope import Envelope
from hushtune.fhe.export.artifact import export
from hushtune.fhe.export.number import NumberCircuit, fit_number
from hushtune.fhe.number import BASE, TOP, Number, classes_of, numbers_of
from hushtune.model.network import network_logits
from hushtune.recognizer import Recognizer
from hushtune.service.layout import Layout
from hushtune.support.errors import ProtocolError
from hushtune.training.data.clips import clip_images, list_test_clips
from hushtune.training.run import Run


@pytest.mark.parametrize("l1_norm", [False, True], ids=["", "norm"])
@pytest.mark.parametrize("unknown", [0.0, 1.5], ids=["", "unknown"])
@pytest.mark.parametrize("songs", [1, 2, 3, 7, 50, 63, 64, 300])
def test_the_circuit_computes_what_the_number_says(songs, unknown, l1_norm):
    """Levels of 16 values make ties frequent, and the low bits are rounded away."""
    rng = np.random.default_rng(songs)
    weights = tuple((8 + songs) * (level - 3) for level in range(TOP + 1))
    limits = tuple(range(1, TOP + 1))
    number = Number(songs, 0.125, 3, 2, limits, weights, 2, l1_norm, unknown)
    logits = rng.integers(-40, 80, (200, songs + 1)) * number.step
    logits[::3, :songs] /= 16
    digits = NumberCircuit(number)(np.rint(logits / number.step).astype(np.int64))
    assert digits.shape == (200, number.digits) and digits.min() >= 0 and digits.max() < BASE
    found, wanted = numbers_of(digits), number.numbers(logits)
    np.testing.assert_array_equal(found, wanted)
    assert 0 in found and len(set(found)) > 1


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
    assert number.decision_cut > 0 and number.l1_norm
    exact = replace(number, decision_cut=0)
    integers = np.rint(logits / number.step).astype(np.int64)
    for circuit in (NumberCircuit(number), NumberCircuit(exact)):
        answers = classes_of(numbers_of(circuit(integers)), 30)
        assert (answers == classes).all(), "rounding the sum moves no answer"
    assert TypeAdapter(Number).validate_json(TypeAdapter(Number).dump_json(number)) == number


@pytest.fixture(scope="module")
def number_run(linear_run):
    fhe = linear_run.config.fhe.model_copy(update={"answer": "number"})
    return Run(linear_run.folder, linear_run.config.model_copy(update={"fhe": fhe}))


@pytest.fixture(scope="module")
def artifact(number_run, kept):
    def make(folder):
        export(number_run, folder / "number")

    kept("number-artifact", make, to=number_run.folder, settings=number_run.config)
    return number_run.path("number")


@pytest.mark.slow
def test_real_fhe_gives_the_number_that_the_circuit_gives_in_the_clear(sides, number_run):
    client, server, keys = sides
    split = number_run.split()
    clips = list_test_clips(number_run.config, split)[::3]
    images = clip_images(clips, number_run.config, number_run.front_end()).images
    wanted = client.artifact.manifest.number.numbers(
        network_logits(number_run.network(quantized=True), images)
    )
    given, sizes = [], []
    for image in images.numpy():
        response = server.run(client.encrypt_features(image), keys)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_service_accepts_such_an_artifact(sides, artifact):
    client, _, _ = sides
    keys = Envelope.unpack(client.evaluation_keys(), b"E", client.artifact.id).payload
    assert len(keys) > 1000 and Layout.measure(artifact).fits(keys)
