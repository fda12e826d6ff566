"""The front end that runs a trained encoder at the client."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from hushtune.configs.schema import EmbeddingSpectrum, SignalSettings
from hushtune.model.features import embedding, make_front_end
from hushtune.support.errors import ConfigError

SIGNAL = SignalSettings(bands=32)
SPECTRUM = EmbeddingSpectrum(kind="embedding", encoder="tiny")


@pytest.fixture
def shipped(encoder_run, tmp_path, monkeypatch):
    """The tiny encoder among the shipped ones."""
    (tmp_path / "tiny").mkdir()
    for name in ("encoder.onnx", "encoder.safetensors"):
        shutil.copy(encoder_run.folder / name, tmp_path / "tiny" / name)
    monkeypatch.setattr(embedding, "FOLDER", tmp_path)
    return tmp_path


def music(seconds, seed=0):
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    notes = [np.sin(2 * np.pi * f * time) for f in rng.uniform(80, 3000, 12)]
    swells = [np.sin(2 * np.pi * r * time + p) ** 2 for r, p in rng.uniform(0.3, 4, (12, 2))]
    return (0.05 * np.sum(np.multiply(notes, swells), 0)).astype(np.float32)


@pytest.mark.parametrize("seconds", [1, 3, 3.3, 10, 20])
def test_every_length_gives_one_embedding(shipped, seconds):
    front_end = make_front_end(SIGNAL, SPECTRUM)
    features = front_end.query_features(music(seconds))
    assert features.shape == front_end.feature_shape == (64, 1, 1)
    assert np.square(features).mean() == pytest.approx(1, abs=1e-3)


def test_a_clip_in_noise_resembles_itself_more_than_another(shipped):
    front_end = make_front_end(SIGNAL, SPECTRUM)
    clips = [music(8, seed) for seed in range(6)]
    noise = 0.02 * np.random.default_rng(9).standard_normal(len(clips[0])).astype(np.float32)
    clean = np.stack([front_end.query_features(clip).ravel() for clip in clips])
    noisy = np.stack([front_end.query_features(clip + noise).ravel() for clip in clips])
    assert ((noisy @ clean.T).argmax(1) == np.arange(6)).sum() >= 5, "one would be chance"


def test_padding_does_not_matter(shipped):
    front_end = make_front_end(SIGNAL, SPECTRUM)
    power = front_end.analyse(music(5))
    frames = power.shape[1]
    padded = np.pad(power, ((0, 0), (0, 40)))
    both = front_end.features(np.stack([padded, padded]), np.array([frames, frames - 50]))
    alone = front_end.features(power[None])
    np.testing.assert_allclose(both[0], alone[0], atol=1e-4)
    assert not np.allclose(both[1], alone[0], atol=1e-2)


def test_a_clips_crops_are_pooled(shipped):
    front_end = make_front_end(SIGNAL, SPECTRUM)
    encoder = embedding.OnnxEncoder(shipped / "tiny" / embedding.GRAPH)
    embedded = encoder(encoder.crops(front_end.analyse(music(3.2)), 16))
    assert len(embedded) == 2
    given = front_end.query_features(music(3.2)).ravel()
    unit = embedded.mean(0) / np.sqrt(np.square(embedded.mean(0)).mean())
    np.testing.assert_allclose(given, unit, atol=1e-4)


def test_what_it_was_not_trained_for_is_refused(shipped):
    with pytest.raises(ConfigError, match="signal.bands=64: encoder tiny was trained with 32"):
        make_front_end(SignalSettings(bands=64), SPECTRUM).query_features(music(4))
    unknown = EmbeddingSpectrum(kind="embedding", encoder="none")
    with pytest.raises(ConfigError, match="spectrum.encoder=none: expected one of tiny"):
        _ = make_front_end(SIGNAL, unknown).full_shape


def test_a_client_needs_no_torch(shipped):
    code = (
        "import sys, numpy as np; from pathlib import Path; "
        "from hushtune.configs.schema import EmbeddingSpectrum, SignalSettings; "
        "from hushtune.model.features import embedding, make_front_end; "
        f"embedding.FOLDER = Path({str(shipped)!r}); "
        "s = EmbeddingSpectrum(kind='embedding', encoder='tiny'); "
        "f = make_front_end(SignalSettings(bands=32), s); "
        "f.query_features(np.random.default_rng(0).standard_normal(64000).astype('f')); "
        "print(sorted({'torch', 'brevitas', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
