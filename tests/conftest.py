"""A tiny catalogue, run and artifact that the tests share: real parts, small sizes."""

import os
from pathlib import Path

import numpy as np
import pytest
from hushtune.configs.loading import parse_config

TINY = {
    "name": "tiny",
    "seed": 3,
    "catalogue": {"kind": "composed", "tracks": 14, "seconds": 12},
    "split": {"known_unknowns": 4, "unknown_test": 4},
    "signal": {"crop_seconds": 4, "bands": 32, "f_min_hz": 150},
    "spectrum": {"kind": "modulation", "window_seconds": 2, "bins": 4, "distances": [1]},
    "augment": {"speed_percent": 0.5, "reverb": 0.3, "codec": 0.1, "test_snr_db": [10, 20]},
    "network": {
        "layers": [{"kind": "conv", "channels": 6, "kernel": [16, 4], "stride": [4, 1]}],
        "input_bits": 4,
        "head_bits": 3,
        "rounding_bits": 5,
    },
    "training": {
        "views": 3,
        "view_seconds": 12,
        "float_steps": 200,
        "quantized_steps": 200,
        "quantized_learning_rate": 1e-3,
        "batch_size": 32,
        "checkpoint_every": 50,
        "examples": 3000,
        "short_clip_share": 0.0,
        "false_alarm_rate": 0.02,
    },
    "fhe": {"calibration_clips": 50, "check_clips": 4, "tolerance": 0.5},
}


def tiny_settings(**changes: object) -> dict:
    """The tiny configuration as YAML would give it, with some keys changed."""
    return {**TINY, **changes}


@pytest.fixture(scope="session", name="tiny_settings")
def _tiny_settings():
    """Makes the tiny configuration's settings, with some keys changed."""
    return tiny_settings


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return parse_config(tiny_settings(runs=str(folder / "runs")), name="tiny", folder=folder)


@pytest.fixture(scope="session")
def tiny_run(tiny_config):
    """A trained run."""
    from hushtune.eval.accuracy import evaluate_run
    from hushtune.training.trainer import train

    run = train(tiny_config)
    evaluate_run(run)
    return run


@pytest.fixture(scope="session")
def linear_run(tiny_run):
    """A trained run without hidden layers, as the shipped configurations are."""
    from hushtune.eval.accuracy import evaluate_run
    from hushtune.training.trainer import train

    network = {"layers": (), "inputs": 200, "input_bits": 6, "head_bits": 6}
    config = tiny_run.config.model_copy(
        update={"name": "linear", "network": tiny_run.config.network.model_copy(update=network)}
    )
    run = train(config)
    evaluate_run(run)
    return run


@pytest.fixture(scope="session")
def tiny_artifact(tiny_run) -> Path:
    """A compiled, proved artifact."""
    from hushtune.fhe.export.compile import export

    return export(tiny_run, tiny_run.path("artifact"))


@pytest.fixture(scope="session")
def tiny_clips(tiny_run, tmp_path_factory):
    """(expected name or "unknown", path) of some noisy clips."""
    from hushtune.training.data.clips import write_clips

    folder = tmp_path_factory.mktemp("clips")
    written = write_clips(tiny_run, folder, known=3, unknown=1)
    unknown = tiny_run.split().unknown_class
    return [(c.track.name if c.label != unknown else "unknown", path) for c, path in written]


@pytest.fixture(autouse=True)
def _own_key_folder(tmp_path_factory, monkeypatch):
    """Keys made by a test never land in the developer's own data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))


@pytest.fixture
def tone():
    """Ten seconds of a chord with a beat at 16 kHz: float32 [160000]."""
    time = np.arange(160_000) / 16_000
    chord = sum(np.sin(2 * np.pi * f * time) for f in (220, 277, 330, 880, 1500))
    return (0.1 * chord * (1 + np.sin(2 * np.pi * 1.7 * time))).astype(np.float32)


def pytest_report_header() -> str:
    """Say whether the real corpus is there."""
    corpus = Path(__file__).parents[1] / "../shared/corpus"
    state = "present" if corpus.is_dir() else "absent: its tests are skipped"
    return f"real corpus: {state}; cores: {os.cpu_count()}"
