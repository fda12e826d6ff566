"""The whole pipeline in real FHE, small: encrypted samples in, the song's number out."""

import numpy as np
import pytest

from hushtune.configs.loading import parse_config
from hushtune.fhe.client import Client
from hushtune.fhe.diagram import LEFT, draw_pipeline
from hushtune.fhe.export.artifact import export
from hushtune.model.audio import read_clip
from hushtune.model.network import network_logits
from hushtune.training.data.clips import clip_images, list_test_clips
from hushtune.training.trainer import train

pytestmark = pytest.mark.slow
SETTINGS = {
    "name": "audio",
    "spectrum": {"kind": "samples", "rate_hz": 2000, "block": 200},
    "network": {
        "layers": [
            {"kind": "filterbank", "filters": 10, "f_max_hz": 900},
            {"kind": "conv", "channels": 24, "kernel": [12, 1], "stride": [9, 1]},
            {"kind": "pool"},
        ],
        "input_bits": 5,
        "weight_bits": 3,
        "activation_bits": 3,
        "head_bits": 3,
        "rounding_bits": 4,
    },
    "fhe": {
        "answer": "number",
        "parameter_strategy": "precision",  # found sooner than the default
        "calibration_clips": 50,
        "check_clips": 2,
        "tolerance": 0.5,
    },
}


@pytest.fixture(scope="module")
def run(tiny_settings, tiny_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    (folder / "runs").mkdir()
    (tiny_config.runs / ".cache").mkdir(parents=True, exist_ok=True)
    (folder / "runs" / ".cache").symlink_to(tiny_config.runs / ".cache")
    settings = tiny_settings(runs=str(folder / "runs"), **SETTINGS)
    settings["training"] = {
        **settings["training"],
        "float_steps": 800,
        "quantized_steps": 200,
        "quantized_learning_rate": 3e-4,
        "weight_decay": 0.1,
        "false_alarm_rate": 0.1,
    }
    return train(parse_config(settings, name="audio", folder=folder))


@pytest.fixture(scope="module")
def artifact(run):
    return export(run, run.path("artifact"))


def test_the_client_only_resamples_and_scales(artifact, tiny_clips):
    client = Client(artifact)
    assert client.artifact.front_end().feature_shape == (1, 40, 200)
    image, _ = client.features(tiny_clips[0][1])
    wave, _ = read_clip(tiny_clips[0][1], 2000)
    assert np.corrcoef(image.ravel()[: len(wave)], wave[: image.size])[0, 1] > 0.98


def test_encrypted_audio_gives_the_song_number(sides, run):
    client, server, keys = sides
    split = run.split()
    clips = list_test_clips(run.config, split)
    images = clip_images(clips, run.config, run.front_end()).images
    logits = network_logits(run.network(quantized=True), images)
    wanted = client.artifact.manifest.number.numbers(logits)
    labels = np.array([clip.label for clip in clips])
    known = labels < split.unknown_class
    songs = logits[known, : split.unknown_class].argmax(1)
    assert (songs == labels[known]).mean() >= 0.6, "a sixth would be chance"
    named = wanted[known] > 0  # how many depends on a threshold set on few clips
    assert named.sum() >= 3
    assert (wanted[known] == labels[known] + 1)[named].mean() >= 0.6
    some = slice(None, None, 4)
    responses = [server.run(client.encrypt_features(image), keys) for image in images[some].numpy()]
    given = np.array([client.decrypt_number(response) for response in responses])
    assert (given == wanted[some]).mean() >= 0.7, (given, wanted[some])
    assert max(map(len, responses)) < 20_000


def test_the_drawing_says_who_does_what(artifact):
    drawing = draw_pipeline(Client(artifact).artifact.manifest)
    lines = drawing.splitlines()
    first = next(place for place, line in enumerate(lines) if "encrypt" in line)
    assert all(not line[LEFT:].strip() for line in lines[1:first]), "the server is not asked yet"
    for words in ("8,000 samples of 5 bits", "filter bank: 10 x 40", "24 x 4 x 1", "digits of one"):
        assert words in drawing
