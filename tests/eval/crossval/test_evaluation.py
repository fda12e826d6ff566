"""Whole evaluations of a tiny catalogue: real training, real FHE, real interruptions.

Folds have a network without PBS, as the shipped configurations; one test has a convolution.
"""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from hushtune.configs.loading import dump_config, parse_config
from hushtune.configs.schema import FoldSettings
from hushtune.eval.baselines.landmarks import LandmarkIndex, near_duplicates
from hushtune.eval.crossval.fold import check_for_leaks
from hushtune.eval.crossval.references import prepare_references
from hushtune.eval.crossval.sample import encrypted_sample, fold_clips
from hushtune.eval.predictions import is_main
from hushtune.eval.report.build import read_report
from hushtune.evaluate import evaluate
from hushtune.model import audio
from hushtune.support.errors import CatalogueError, ConfigError, RunError
from hushtune.training import trainer
from hushtune.training.data.clips import ClipRenderer
from hushtune.training.data.sounds import split_sounds
from hushtune.training.data.track import Track
from hushtune.training.linear import train as linear
from hushtune.training.linear.crops import TrackCrops
from hushtune.training.run import Run

FOLDS = 3


@pytest.fixture(scope="module")
def config(linear_run, tmp_path_factory):
    """A tiny configuration in a folder of its own, with the composed songs already there."""
    runs = tmp_path_factory.mktemp("evaluation")
    (runs / ".cache").symlink_to(linear_run.cache)
    fast = {"quantized_steps": 100, "decision_clips": 60}
    training = linear_run.config.training.model_copy(update=fast)
    changes = {"runs": runs, "name": "tiny", "training": training}
    return linear_run.config.model_copy(update=changes)


@pytest.fixture(scope="module")
def evaluated(config):
    """A finished evaluation: its folder and its report."""
    report = evaluate(
        config, folds=FOLDS, protocols=["conditions", "halves"], fhe_clips=2, cost_songs=None
    )
    return config.runs / config.name / "evaluation", report


@pytest.mark.slow
def test_one_call_gives_everything(evaluated):
    folder, report = evaluated
    assert read_report(folder) == report
    assert (folder / "report.md").read_text().startswith("# Results: tiny")
    assert len(list(folder.glob("*.png"))) == 6
    assert len(list((folder / "folds").glob("*.json"))) == FOLDS + 2
    conditions, halves = report.protocols
    for protocol in (conditions, halves):
        names = {system.name for system in protocol.systems}
        assert names == {
            "float", "quantized", "simulated", "fhe", "mfcc", "mfcc_fhe", "landmarks",
        }  # fmt: skip
        assert protocol.fhe_costs.clips == 2 * protocol.folds
        assert protocol.fhe_costs.compute_seconds > 0.001 and protocol.fhe_costs.pbs == 0
    by_name = {system.name: system for system in conditions.systems}
    assert by_name["quantized"].top1.value > 0.6 > 0.05 > 0
    assert by_name["landmarks"].top1.value > 0.8
    assert set(by_name["quantized"].by_seconds) == {"3", "5", "20"}
    assert "codec" in by_name["quantized"].by_distortion
    assert all(agreement.same_answer.value > 0.5 for agreement in conditions.agreements)


@pytest.mark.slow
def test_going_on_with_a_finished_evaluation_changes_nothing(evaluated, config):
    folder, report = evaluated
    before = {path: path.stat().st_mtime_ns for path in (folder / "folds").iterdir()}
    again = evaluate(
        config, folds=FOLDS, protocols=["conditions", "halves"], fhe_clips=2, cost_songs=None
    )
    assert {path: path.stat().st_mtime_ns for path in (folder / "folds").iterdir()} == before
    assert again.protocols == report.protocols
    alone = evaluate(config, folds=FOLDS, protocols=["halves"], fhe_clips=2, cost_songs=None)
    assert alone.protocols == report.protocols[1:], "a protocol's folds are there for other plans"


@pytest.mark.slow
def test_another_evaluation_in_the_same_folder_is_refused(evaluated, config):
    with pytest.raises(ConfigError, match="encrypted_clips differ"):
        evaluate(config, folds=FOLDS, protocols=["conditions", "halves"], fhe_clips=1)


@pytest.mark.slow
def test_a_trained_run_is_evaluated_as_it_is(tiny_run, tmp_path):
    before = tiny_run.path("quantized.pt").stat().st_mtime_ns
    report = evaluate(
        tiny_run.config, folder=tmp_path, protocols=["trained"], fhe_clips=2, cost_songs=None
    )
    (protocol,) = report.protocols
    assert protocol.folds == 1 and protocol.fhe_costs.clips == 2
    assert protocol.fhe_costs.compute_seconds > 0.01 and protocol.fhe_costs.pbs == 18
    measured = tiny_run.read_json("result.json")["quantized"]["top1_closed"]
    (quantized,) = (system for system in protocol.systems if system.name == "quantized")
    assert quantized.top1.value == pytest.approx(measured)
    assert tiny_run.path("quantized.pt").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_to_the_same_report(evaluated, config, tmp_path):
    path = tmp_path / "killed.yaml"
    path.write_text(dump_config(config))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "hushtune", "evaluate", str(path), "--out", str(out)]
    command += ["--folds", str(FOLDS), "--fhe-clips", "0", "--protocol", "conditions", "--no-cost"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 240
    metrics = out / "work" / "conditions-01" / "metrics.jsonl"
    while time.monotonic() < deadline and process.poll() is None and not metrics.exists():
        time.sleep(0.02)
    assert process.poll() is None, process.stderr.read().decode()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert sorted(p.name for p in (out / "folds").iterdir()) == [
        "conditions-00.csv.gz",
        "conditions-00.json",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = read_report(out)
    assert report.protocols[0].fhe_costs is None
    straight = evaluated[1].protocols[0]
    for system in report.protocols[0].systems:
        (same,) = (other for other in straight.systems if other.name == system.name)
        assert system == same


@pytest.mark.slow
def test_training_opens_nothing_that_is_held_out(tmp_path, monkeypatch, tone, tiny_settings):
    """Watches the audio decoder itself, beside what the loaders record."""
    for number in range(6):
        soundfile.write(tmp_path / f"noise{number}.wav", np.roll(tone, 1000 * number), 16_000)
        soundfile.write(tmp_path / f"room{number}.wav", tone[:800] * 0.9**number, 16_000)
    for kind in ("noise", "room"):
        rows = [f"{kind}{n}.wav" for n in range(6)]
        (tmp_path / f"{kind}.csv").write_text("path\n" + "\n".join(rows))
    settings = tiny_settings(runs=str(tmp_path / "runs"))
    settings["augment"] = settings["augment"] | {
        "noise": "noise.csv", "impulse_responses": "room.csv", "reverb": 1.0, "noisy": 1.0,
    }  # fmt: skip
    settings["training"] = settings["training"] | {
        "workers": 1, "float_steps": 50, "quantized_steps": 50, "examples": 1000,
        "decision_clips": 20,
    }  # fmt: skip
    settings["fold"] = {"protocol": "conditions", "number": 1, "of": 3}
    config = parse_config(settings, name="leaks", folder=tmp_path)
    opened = []
    real = audio.decode

    def watched(path, *args, **kwargs):
        opened.append(str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(audio, "decode", watched)
    run = Run.create(config)
    trainer.prepare_split(run, print)
    opened.clear()  # checking the catalogue decodes every track, to see whether it can be
    trainer.train(config)
    held = {str(track.path) for track in run.split().unknown_test}
    test = split_sounds(config).test
    held |= {str(tmp_path / name.rsplit("/", 1)[-1]) for name in test.names}
    assert len(held) == 4 + 2 + 2
    assert not held & set(opened)
    recorded = {name for names in run.read_json("opened.json").values() for name in names}
    assert recorded == set(opened) and len(recorded) > 12
    check_for_leaks(run)
    clips = fold_clips(config, run.split())
    render = ClipRenderer(config)
    opened.clear()
    for clip in clips:
        render(clip)
    assert held & set(opened)  # so the test side does open them
    leaky = run.read_json("opened.json")
    leaky["noise"].append(test.noise.names[0])
    run.write_json("opened.json", leaky)
    with pytest.raises(RunError, match="held out for testing, the first: .*noise"):
        check_for_leaks(run)


def test_shuffled_labels_give_chance(config, tmp_path, monkeypatch):
    real = linear.gather

    def shuffled(split, files, parts, row_seconds):
        every = np.concatenate([TrackCrops.load(path).crops for path in files])
        rng = np.random.default_rng(0)

        def any_crops(path):
            mine = load(path)
            return replace(mine, crops=every[rng.integers(len(every), size=len(mine.crops))])

        load = TrackCrops.load
        with monkeypatch.context() as patch:
            patch.setattr(TrackCrops, "load", any_crops)
            return real(split, files, parts, row_seconds)

    monkeypatch.setattr(linear, "gather", shuffled)
    chance = config.model_copy(update={"name": "shuffled"})
    report = evaluate(
        chance, folds=2, protocols=["conditions"], fhe_clips=0, baselines=[], cost_songs=None
    )
    (protocol,) = report.protocols
    for system in protocol.systems:
        assert system.top1.low < 1 / 6 + 0.1 and system.top1.value < 0.5, system.name
        auroc = system.rejection.auroc
        assert auroc.low < 0.75 and auroc.high > 0.25, system.name


def test_a_track_that_appears_twice_is_reported(tiny_run, tmp_path):
    first, other = tiny_run.split().known[:2]
    samples, rate = soundfile.read(first.path)
    soundfile.write(tmp_path / "again.mp3", 0.3 * samples, rate)
    again = Track("again", "Another name", "", tmp_path / "again.mp3")
    references = prepare_references((first, other, again), tiny_run.config, tmp_path)
    marks = [reference.landmarks for reference in references]
    ((i, j, share),) = near_duplicates(marks, LandmarkIndex.build(marks), 0.1)
    assert (i, j) == (0, 2) and share > 0.3


def test_every_track_is_tested_in_every_fold_and_at_every_ratio_over_all(tiny_run):
    split = tiny_run.split()
    seen: dict[tuple, int] = {}
    for number in range(10):
        fold = FoldSettings(protocol="conditions", number=number, of=10)
        config = tiny_run.config.model_copy(update={"fold": fold})
        clips = [clip for clip in fold_clips(config, split) if is_main(clip)]
        assert {clip.track.id for clip in clips} == {
            track.id for track in (*split.known, *split.unknown_test)
        }
        for clip in clips:
            seen[clip.track.id, clip.snr_db] = seen.get((clip.track.id, clip.snr_db), 0) + 1
        sample = encrypted_sample(config, clips, split.unknown_class, 8)
        labels = [clips[place].label for place in sample]
        assert len(set(sample.tolist())) == 8 and labels.count(split.unknown_class) == 2
    known = {seen[track.id, snr] for track in split.known for snr in (10.0, 20.0)}
    assert known == {10} and len(seen) == 2 * (len(split.known) + len(split.unknown_test))


@pytest.mark.parametrize(
    ("changes", "arguments", "error", "message"),
    [
        ({}, {"folds": 9}, ConfigError, "folds=9: the catalogue has only 6 known tracks"),
        ({}, {"folds": 1}, ConfigError, "folds=1: from 2 to 50"),
        ({}, {"fhe_clips": -1}, ConfigError, "fhe_clips=-1"),
        ({}, {"folds": 6, "protocols": ["segments"], "short": True}, CatalogueError, "segments of"),
        ({"noise": 2}, {"folds": 3}, CatalogueError, r"2 recording\(s\) found; at least 3"),
        ({}, {"protocols": ["trained"]}, RunError, "not trained"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_at_once(
    config, tmp_path, tone, changes, arguments, error, message
):
    arguments = dict(arguments)
    wrong = config.model_copy(update={"name": "wrong"})
    if "noise" in changes:
        for number in range(changes["noise"]):
            (tmp_path / "noise").mkdir(exist_ok=True)
            soundfile.write(tmp_path / "noise" / f"{number}.wav", tone, 16_000)
        augment = wrong.augment.model_copy(update={"noise": tmp_path / "noise"})
        wrong = wrong.model_copy(update={"augment": augment})
    if arguments.pop("short", False):
        signal_settings = wrong.signal.model_copy(update={"crop_seconds": 2.0})
        catalogue = {"kind": "folder", "path": str(tmp_path / "short")}
        (tmp_path / "short").mkdir()
        for number in range(14):
            noise = np.random.default_rng(number).standard_normal(16_000 * 5) * 0.1
            soundfile.write(tmp_path / "short" / f"{number} - x.wav", noise, 16_000)
        wrong = parse_config(
            {**json.loads(wrong.model_dump_json(exclude_none=True)), "catalogue": catalogue},
            name="wrong",
            folder=tmp_path,
        ).model_copy(update={"signal": signal_settings})
    wrong = wrong.model_copy(update={"runs": tmp_path / "runs"})
    settings = {"protocols": ["conditions"], "folds": 3, "cost_songs": None} | arguments
    with pytest.raises(error, match=message):
        evaluate(wrong, **settings)
