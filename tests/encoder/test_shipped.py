"""The encoder that comes with Hushtune."""

import numpy as np
import pytest

from hushtune.configs.loading import parse_config
from hushtune.configs.schema import EmbeddingSpectrum, SignalSettings
from hushtune.eval.accuracy import evaluate_run
from hushtune.fhe.client import Client
from hushtune.fhe.export.artifact import export
from hushtune.fhe.server import Server
from hushtune.model.features import embedding, make_front_end
from hushtune.training.data.composer import compose
from hushtune.training.trainer import train

SIGNAL = SignalSettings(bands=64)
FOLDER = embedding.FOLDER / "default"


def test_it_is_small_and_says_where_it_comes_from():
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert set(sizes) == {"encoder.onnx", "encoder.safetensors", "card.md"}
    assert sum(sizes.values()) < 4e6
    card = (FOLDER / "card.md").read_text()
    licences = card.partition("## What it learned from")[2].partition("## How good")[0]
    assert "CC0" in licences and "NC" not in licences.partition("It never heard")[0]


def test_it_finds_songs_that_it_never_heard_in_noise():
    """A dozen composed songs, unlike all that it learned from; nothing is fitted to them."""
    front_end = make_front_end(SIGNAL, EmbeddingSpectrum(kind="embedding"))
    rng = np.random.default_rng(0)
    songs = [compose(3, number, 12) for number in range(12)]
    rows = np.stack([front_end.query_features(song).ravel() for song in songs])
    found = []
    for number, song in enumerate(songs):
        clip = song[32_000 : 32_000 + 80_000]
        noise = rng.standard_normal(len(clip)).astype(np.float32)
        noise *= np.sqrt(np.square(clip).mean() / np.square(noise).mean() / 10**0.5)
        vector = front_end.query_features(clip + noise).ravel()
        found.append((rows @ vector).argmax() == number)
    assert np.mean(found) >= 0.75, "a twelfth would be chance"


@pytest.mark.slow
def test_a_catalogue_is_trained_compiled_and_asked_with_it(tiny_settings, tmp_path):
    settings = tiny_settings(
        name="embedded",
        runs=str(tmp_path),
        signal={"bands": 64, "crop_seconds": 4},
        spectrum={"kind": "embedding"},
        network={"layers": [], "input_bits": 6, "head_bits": 6},
    )
    run = train(parse_config(settings, name="embedded", folder=tmp_path))
    result = evaluate_run(run)
    assert result["quantized"]["top1_closed"] > 0.8
    artifact = export(run, tmp_path / "artifact")
    client, server = Client(artifact), Server(artifact)
    clip = compose(0, 3, 12), 16_000
    answer = client.decrypt(server.run(client.encrypt(clip)))
    assert client.artifact.manifest.circuit.pbs == 0 and answer.text
