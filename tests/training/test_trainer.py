import json
import shutil
import subprocess
import sys
import time

import pytest
import torch

from hushtune.configs.loading import dump_config
from hushtune.configs.schema import SplitSettings
from hushtune.support.errors import CatalogueError, RunError
from hushtune.training.run import Run
from hushtune.training.trainer import train


def test_run_folder_holds_what_it_promises(tiny_run):
    for name in (
        "config.yaml",
        "catalogue.json",
        "split.json",
        "metrics.jsonl",
        "curve.png",
        "opened.json",
        "statistics.npy",
        "float.pt",
        "quantized.pt",
        "result.json",
    ):
        assert tiny_run.path(name).stat().st_size > 0, name
    lines = [json.loads(text) for text in tiny_run.path("metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["phase"] == "quantized"][-1] == 200
    assert not tiny_run.path("checkpoint.pt").exists()


def test_training_learns(tiny_run):
    result = tiny_run.read_json("result.json")
    assert result["float"]["top1_closed"] > 0.8
    assert result["quantized"]["top1_closed"] > 0.7


def test_training_twice_does_nothing_more(tiny_run):
    before = tiny_run.path("quantized.pt").stat().st_mtime_ns
    messages = []
    train(tiny_run.config, announce=messages.append)
    assert "already trained" in messages[-1]
    assert tiny_run.path("quantized.pt").stat().st_mtime_ns == before


def test_another_configuration_in_the_same_folder_is_refused(tiny_run):
    training = tiny_run.config.training.model_copy(update={"float_steps": 7})
    with pytest.raises(RunError, match="training differ"):
        train(tiny_run.config.model_copy(update={"training": training}))


def test_missing_run_names_its_neighbours(tiny_run):
    with pytest.raises(RunError, match="Runs beside it: .*tiny"):
        Run.open(tiny_run.folder.parent / "nothing")


def test_unfinished_run_says_how_to_go_on(tmp_path, tiny_config):
    run = Run.create(tiny_config.model_copy(update={"runs": tmp_path}))
    (run.folder / "split.json").write_bytes(
        (tiny_config.runs / tiny_config.name / "split.json").read_bytes()
    )
    with pytest.raises(RunError, match="hushtune train"):
        run.network(quantized=True)


@pytest.mark.parametrize("signal", ["SIGINT", "SIGKILL"])
def test_a_killed_training_resumes_to_the_same_weights(tiny_run, tmp_path, signal):
    config = tiny_run.config.model_copy(update={"runs": tmp_path, "name": "killed"})
    (tmp_path / ".cache").symlink_to(tiny_run.cache)
    path = tmp_path / "killed.yaml"
    path.write_text(dump_config(config))
    command = [sys.executable, "-m", "hushtune", "train", str(path)]
    metrics = tmp_path / "killed" / "metrics.jsonl"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        if any('"quantized"' in line and '"step": 75' in line for line in lines):
            break
        time.sleep(0.02)
    assert process.poll() is None, process.stderr.read().decode()
    import signal as signals

    process.send_signal(getattr(signals, signal))
    errors = process.communicate()[1].decode()
    assert process.returncode == (130 if signal == "SIGINT" else -9), errors
    assert (tmp_path / "killed" / "checkpoint.pt").exists()
    assert not (tmp_path / "killed" / "quantized.pt").exists()
    resumed = train(config)
    for phase in (False, True):
        expected, got = (run.network(quantized=phase).state_dict() for run in (tiny_run, resumed))
        assert expected.keys() == got.keys()
        differing = [key for key in expected if not torch.equal(expected[key], got[key])]
        assert not differing, f"{differing} differ after {'quantized' if phase else 'float'} steps"
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == [*range(25, 201, 25)] * 2


def test_a_first_attempt_that_failed_does_not_block_the_corrected_one(tiny_config, tmp_path):
    wrong = tiny_config.model_copy(
        update={"runs": tmp_path, "split": SplitSettings(known_unknowns=90, unknown_test=4)}
    )
    with pytest.raises(CatalogueError, match="14 usable tracks"):
        train(wrong)
    assert Run.create(wrong.model_copy(update={"split": tiny_config.split}))


def test_fhe_settings_may_change_after_training_and_a_run_may_move(tiny_run, tmp_path):
    fhe = tiny_run.config.fhe.model_copy(update={"p_error": 0.001})
    moved = tmp_path / "moved"
    shutil.copytree(tiny_run.folder, moved)
    config = tiny_run.config.model_copy(update={"fhe": fhe, "runs": tmp_path, "name": "moved"})
    train(config)
    assert Run.open(moved).config.fhe.p_error == 0.001
    assert Run.open(moved).config.runs == tmp_path
