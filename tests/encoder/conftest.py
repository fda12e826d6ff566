"""A tiny encoder, trained on composed songs: 14 to learn from, 8 held out, 2 with a licence that
forbids it, 2 listed twice."""

import csv
from pathlib import Path

import pytest

from hushtune.configs.schema import ComposedCatalogue, SignalSettings
from hushtune.configs.schema.encoder import (
    EncoderConfig,
    EncoderNetworkSettings,
    EncoderTrainingSettings,
)
from hushtune.training.data.composer import compose_catalogue

LEARNED, HELD, FORBIDDEN, TWICE = 14, 8, 2, 2


@pytest.fixture(scope="session")
def encoder_config(tmp_path_factory, kept):
    folder = tmp_path_factory.mktemp("encoder")

    def make(made):
        from hushtune.training.encoder.fitting import train_encoder

        write_music(made)
        train_encoder(config_in(made))

    sources = ("support", "configs", "model", "training")
    kept("encoder", make, to=folder, sources=sources, settings=Path(__file__).read_text())
    return config_in(folder)


def write_music(folder):
    """Songs, and a list of them."""
    songs = ComposedCatalogue(kind="composed", tracks=LEARNED + HELD + FORBIDDEN, seconds=40)
    rows = []
    for number, track in enumerate(compose_catalogue(songs, folder / "songs")):
        source = "https://host.example/kept/apart" if number >= LEARNED + FORBIDDEN else "https://a"
        licence = "CC-BY-NC-4.0" if LEARNED <= number < LEARNED + FORBIDDEN else "CC0-1.0"
        path = track.path.relative_to(folder)
        rows.append([track.id, track.title, track.artist, path, source, licence])
    rows += [["again" + row[0], *row[1:]] for row in rows[:TWICE]]
    with (folder / "music.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "title", "artist", "path", "source", "license"], *rows])


def config_in(folder):
    return EncoderConfig(
        name="tiny",
        seed=3,
        runs=folder / "runs",
        music=({"kind": "csv", "path": folder / "music.csv"},),
        held_out=("*/kept/apart",),
        without_licenses=("*-NC-*",),
        signal=SignalSettings(bands=32, crop_seconds=3),
        network=EncoderNetworkSettings(channels=(8, 16, 16), values=64),
        training=EncoderTrainingSettings(
            steps=120, pairs=12, remembered=48, renderings=2, checkpoint_every=40
        ),
    )


@pytest.fixture(scope="session")
def encoder_run(encoder_config):
    from hushtune.training.encoder.run import EncoderRun

    return EncoderRun.open(encoder_config.runs / encoder_config.name)
