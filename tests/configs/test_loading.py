from pathlib import Path
from typing import get_args

import pytest

from hushtune.configs.loading import (
    _models_in,
    dump_config,
    load_config,
    parse_config,
    shipped_configs,
)
from hushtune.configs.renames import RENAMED
from hushtune.configs.schema import Config
from hushtune.fhe.artifact import ArtifactConfig
from hushtune.support.errors import ConfigError


@pytest.mark.parametrize("path", shipped_configs(), ids=lambda path: path.stem)
def test_shipped_config_loads(path):
    config = load_config(path)
    assert config.name == path.stem
    assert config.runs.is_absolute()


def test_shipped_configs_include_the_promised_ones():
    assert {"demo", "corpus", "fma_small"} <= {path.stem for path in shipped_configs()}


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ncatalogue: {kind: folder, path: music}\n" + text)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "training: {batch_sise: 3}",
            "training.batch_sise: unknown key. Did you mean 'batch_size'?",
        ),
        ("traning: {}", "traning: unknown key. Did you mean 'training'?"),
        ("spectrum: {kind: mel, frame: 3}", "spectrum.frame: unknown key. Did you mean 'frames'?"),
        ("training: {batch_size: many}", "training.batch_size='many': "),
        (
            "training: {batch_size: 1}",
            "training.batch_size=1: should be greater than or equal to 8",
        ),
        (
            "spectrum: {kind: wavelet}",
            "spectrum.kind='wavelet': expected one of embedding, mel, modulation, samples",
        ),
        (
            "spectrum: {bins: 4}",
            "spectrum.kind=None: expected one of embedding, mel, modulation, samples",
        ),
        ("seed: true", "seed=True: should be a valid integer"),
        ("training: {float_steps: '300'}", "training.float_steps='300': should be a valid integer"),
        (
            "training: {known_unknown_share: 0.6, synthetic_negative_share: 0.5}",
            "known_unknown_share + synthetic_negative_share",
        ),
        ("spectrum: {kind: modulation, bins: 60}", "spectrum.bins=60: a window of 2.5 s"),
        ("spectrum: {kind: modulation, distances: [300]}", "must be smaller than signal.bands"),
        (
            "network: {layers: [{kind: conv, channels: 4}]}",
            "network.layers.0.kernel: this setting is required",
        ),
        ("signal: {f_min_hz: 7000}", "f_min_hz=7000.0"),
        ("augment: {snr_db: [20, 0]}", "snr_db=[20.0, 0.0]"),
        ("training: [", "not valid YAML"),
    ],
)
def test_mistakes_name_file_key_value_and_what_is_allowed(tmp_path, text, expected):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert expected in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_says_the_new_one(old, new):
    path, _, value = old.partition("=")
    section, key = path.split(".")
    with pytest.raises(ConfigError) as error:
        parse_config({section: {key: value or 3}}, name="mine.yaml", folder=Path())
    assert str(error.value) == f"mine.yaml: {old}: was renamed to {new}."


@pytest.mark.parametrize("new", RENAMED.values())
def test_a_new_name_is_a_setting(new):
    path, _, value = new.partition("=")
    section, key = path.split(".")
    models = list(_models_in(Config.model_fields[section].annotation))
    fields = [model.model_fields[key] for model in models if key in model.model_fields]
    assert fields
    assert not value or any(value in get_args(field.annotation) for field in fields)


@pytest.mark.parametrize("data", [{"split": 3}, {"split": None}, {"spectrum": {"kind": []}}])
def test_malformed_sections_are_not_taken_for_old_names(data):
    with pytest.raises(ConfigError) as error:
        parse_config(data, name="mine.yaml", folder=Path())
    assert "renamed" not in str(error.value)


def test_all_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as error:
        load_config(write(tmp_path, "sed: 3\ntraining: {views: 0}"))
    assert len(str(error.value).splitlines()) == 2


def test_missing_file_lists_the_shipped_ones(tmp_path):
    with pytest.raises(ConfigError, match="corpus, demo"):
        load_config(tmp_path / "nothing.yaml")


def test_paths_are_relative_to_the_file_and_runs_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = load_config(write(tmp_path, "runs: out"))
    assert config.catalogue.path == tmp_path / "music"
    assert config.runs == tmp_path / "elsewhere" / "out"


def test_dumped_config_reads_back_equal(tmp_path):
    config = load_config("demo")
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_every_setting_is_documented():
    def check(model):
        for name, field in model.model_fields.items():
            inner = field.annotation
            nested = isinstance(inner, type) and hasattr(inner, "model_fields")
            if nested:
                check(inner)
            elif name not in ("kind", "path", "catalogue", "spectrum"):
                assert field.description, f"{model.__name__}.{name}"

    check(Config)


def test_no_path_can_travel_in_an_artifact():
    schema = ArtifactConfig.model_json_schema()
    assert '"format": "path"' not in str(schema).replace("'", '"')
