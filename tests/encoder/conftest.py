"""A tiny encoder, trained on composed songs: 14 to learn from, 8 held out, 2 with a licence that
forbids it, 2 listed twice."""

import csv

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
    songs = ComposedCatalogue(kind="composed", tracks=LEARNED + HELD + FORBIDDEN, seconds=40)
    sources = ("training/data", "training/encoder", "model/encoder.py", "support")
    kept(
        "encoder-songs",
        lambda made: compose_catalogue(songs, made),
        to=folder,
        sources=("training/data/composer.py",),
        settings=songs,
    )
    tracks = compose_catalogue(songs, folder)
    rows = []
    for number, track in enumerate(tracks):
        source = "https://host.example/kept/apart" if number >= LEARNED + FORBIDDEN else "https://a"
        licence = "CC-BY-NC-4.0" if LEARNED <= number < LEARNED + FORBIDDEN else "CC0-1.0"
        rows.append([track.id, track.title, track.artist, track.path, source, licence])
    rows += [["again" + row[0], *row[1:]] for row in rows[:TWICE]]
    with (folder / "music.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "title", "artist", "path", "source", "license"], *rows])
    config = EncoderConfig(
        name="tiny",
        seed=3,
        runs=folder / "runs",
        music=({"kind": "csv", "path": folder / "music.csv"},),
        held_out=("*/kept/apart",),
        without_licenses=("*-NC-*",),
        signal=SignalSettings(bands=32, crop_seconds=3),
        network=EncoderNetworkSettings(channels=(8, 16, 16), values=64),
        training=EncoderTrainingSettings(
            steps=120,
            pairs=12,
            remembered=48,
            renderings=2,
            checkpoint_every=40,
        ),
    )

    def make(made):
        from hushtune.training.encoder.fitting import train_encoder

        train_encoder(config.model_copy(update={"runs": made}))

    kept(
        "encoder-run",
        make,
        to=config.runs,
        sources=sources,
        settings=config.model_dump_json(exclude={"runs", "music"}),
    )
    return config


@pytest.fixture(scope="session")
def encoder_run(encoder_config):
    from hushtune.training.encoder.run import EncoderRun

    return EncoderRun.open(encoder_config.runs / encoder_config.name)
