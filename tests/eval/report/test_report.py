"""The report, from folds made up so that every figure is known."""

import json
from functools import lru_cache

import numpy as np
import pytest

from hushtune.configs.schema import Config
from hushtune.eval.baselines.landmarks import Landmarks
from hushtune.eval.crossval.crossvalidation import Plan
from hushtune.eval.crossval.fold import Systems
from hushtune.eval.crossval.references import Reference
from hushtune.eval.crossval.results import FheCosts, FoldFacts, write_fold
from hushtune.eval.predictions import PredictionTable, Thresholds
from hushtune.eval.report import build as reports
from hushtune.eval.report.compare import compare
from hushtune.eval.report.markdown import headline, render
from hushtune.eval.report.plots import draw_all
from hushtune.evaluate import BEGIN, END, publish, readme_part, report_schema
from hushtune.support.errors import ConfigError, RunError
from hushtune.training.data.clips import TestClip
from hushtune.training.data.split import Split
from hushtune.training.data.track import Track
from hushtune.training.run import Run

SONGS, STRANGERS, FOLDS = 8, 4, 3
RATIOS = (0.0, 10.0)


def made_up_fold(split: Split, number: int, accuracy: float):
    """At 10 dB every clip is right; at 0 dB `accuracy` of the tracks are."""
    clips, top, score = [], [], []
    for label, track in [*enumerate(split.known), *((SONGS, t) for t in split.unknown_test)]:
        for snr in RATIOS:
            clips.append(TestClip(track, label, snr, len(clips)))
            right = snr > 0 or label < accuracy * SONGS
            best = label if label < SONGS and right else (label + 1) % SONGS
            top.append([best, (best + 1) % SONGS, (best + 2) % SONGS])
            score.append(2.0 if label < SONGS else (0.5 if snr == 0 else -1.0))
    clips.append(TestClip(split.known[0], 0, 0.0, 99, seconds=3.0))
    clips.append(TestClip(split.known[1], 1, float("nan"), 98, distortion="codec"))
    top += [[0, 1, 2], [1, 2, 3]]
    score += [2.0, 2.0]
    top, score, thresholds = np.array(top), np.array(score), Thresholds(shipped=0.0, strict=1.0)
    table = PredictionTable(clips, SONGS)
    table.add("float", top, score, thresholds)
    table.add("quantized", top, score, thresholds)
    sample = np.array([0, 1, len(clips) - 4])
    flipped = top[sample]
    flipped[0, 0] = 7  # one of three answers differs under FHE
    table.add("fhe", flipped, score[sample], thresholds, places=sample)
    costs = FheCosts(
        clips=3,
        pbs=7,
        key_seconds=1.0,
        encrypt_seconds=0.1,
        compute_seconds=2.0,
        decrypt_seconds=0.2,
        query_bytes=1000,
        response_bytes=2_000_000,
        evaluation_key_bytes=3_000_000,
    )
    facts = FoldFacts(
        songs=SONGS,
        resumed=number == 1,
        train_seconds=60.0 + number,
        seconds=100.0 + number,
        fhe_costs=costs,
        fhe_compute_seconds=[1.0, 2.0, 3.0 + number],
    )
    return table.rows, facts


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """Makes the plan of made-up folds."""
    folder = tmp_path_factory.mktemp("report")
    tracks = [
        Track(f"t{n}", f"Song {n}", "Somebody", folder / f"{n}.wav", "pop") for n in range(20)
    ]
    split = Split(tuple(tracks[:SONGS]), (), tuple(tracks[SONGS : SONGS + STRANGERS]))
    marks = Landmarks(np.arange(50), np.arange(50, dtype=np.int32), np.arange(50, dtype=np.int32))
    reference = Reference(marks, np.zeros((60, 20)), np.zeros((1, 60, 20)), (1,), 30.0, 0.5)

    def make(name, accuracy=0.5):
        config = Config(name=name, runs=folder, catalogue={"kind": "folder", "path": "/x/y"})
        run = Run.create(config)
        split.save(run.path("split.json"))
        run.write_json("catalogue.json", {"usable": 12, "skipped": [{"id": "z", "reason": "?"}]})
        out = folder / name / "evaluation"
        plan = Plan(config, out, ("conditions",), FOLDS, Systems(3, False, False))
        for number, (fold, _) in enumerate(plan.fold_names()):
            write_fold(plan.fold_file(fold), *made_up_fold(split, number, accuracy))
        return plan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reports, "prepare_references", lambda known, *_: [reference] * len(known))
        yield make


@pytest.fixture(scope="module")
def evaluation(folds):
    """Makes the plan and the report of made-up folds, each once."""

    @lru_cache
    def make(name="made-up", accuracy=0.5):
        plan = folds(name, accuracy)
        return plan, reports.make_report(plan, [], "hushtune evaluate made-up")

    return make


def test_every_figure_of_known_folds(evaluation):
    _, report = evaluation()
    (protocol,) = report.protocols
    quantized = {system.name: system for system in protocol.systems}["quantized"]
    assert (quantized.clips_known, quantized.clips_unknown) == (SONGS * 2 * FOLDS, 4 * 2 * FOLDS)
    assert quantized.top1.value == pytest.approx(0.75)
    assert quantized.by_snr_db["0"].value == 0.5 and quantized.by_snr_db["10"].value == 1.0
    assert quantized.top1_folds.folds == [0.75] * FOLDS and quantized.top1_folds.deviation == 0
    assert quantized.by_seconds["3"].value == 1.0 and quantized.by_distortion["codec"].value == 1.0
    assert quantized.track_top1["t0"] == 1.0 and quantized.track_top1["t7"] == 0.5
    rejection = quantized.rejection
    assert rejection.unknown_rejected.value == rejection.unknown_accepted.value == 0.5
    assert rejection.falsely_rejected.value == 0.0
    assert rejection.correctly_identified.value == pytest.approx(0.75)
    assert (
        rejection.dir_1.value == pytest.approx(0.75) and rejection.dir_1_false_alarms.value == 0.0
    )
    assert rejection.auroc.value == 1.0
    assert quantized.top1.low < 0.75 < quantized.top1.high
    (agreement,) = protocol.agreements
    assert agreement.clips == 9 and agreement.same_answer.value == pytest.approx(2 / 3)
    assert protocol.fhe_costs.compute_seconds == 2.0 and protocol.fhe_costs.pbs == 7
    assert protocol.train_seconds == [60.0, 62.0]  # an interrupted fold's time says nothing
    worst = protocol.worst_tracks[0]
    assert worst.top1 == 0.5 and "nearly silent" in " ".join(worst.reasons)
    assert report.duplicates and report.skipped_tracks == 1
    assert report.config["catalogue"]["path"] == "y"


def test_json_comes_back_and_follows_the_schema(evaluation):
    plan, report = evaluation()
    reports.write_json(report, plan.folder)
    assert reports.read_report(plan.folder) == report
    schema = json.loads(report_schema())
    assert set(schema["required"]) == set(json.loads(report.model_dump_json()))


def test_markdown_and_pictures_show_what_was_measured(evaluation, tmp_path):
    _, report = evaluation()
    pictures = draw_all(report, tmp_path / "p")
    assert {f"conditions-{n}.png" for n in ("snr", "dir-far", "models")} == set(pictures)
    assert all((tmp_path / "p" / name).stat().st_size > 5000 for name in pictures)
    text = render(report, pictures, folder="p/")
    assert "75.0 % (" in text and "![Top-1 by noise](p/conditions-snr.png)" in text
    assert "66.7 %" in text and "hushtune evaluate made-up" in text
    fhe = [line for line in text.splitlines() if "real FHE" in line and "|" in line]
    assert fhe and not any("simulated" in line for line in fhe)
    assert str(tmp_path) not in text


def test_publishing_renews_the_readme_between_its_markers(evaluation, tmp_path):
    _, report = evaluation()
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    publish(report, tmp_path / "docs" / "RESULTS.md", readme)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "\nold\n" not in text
    assert readme_part(report, "docs/RESULTS.md") in text and "| top-1 | 75.0% |" in text
    assert headline(report) in (tmp_path / "docs" / "RESULTS.md").read_text()
    assert (tmp_path / "docs" / "results" / "conditions-snr.png").exists()
    publish(report, tmp_path / "docs" / "RESULTS.md", readme)
    assert readme.read_text() == text
    readme.write_text("no markers")
    with pytest.raises(ConfigError, match="expected the two lines"):
        publish(report, tmp_path / "docs" / "RESULTS.md", readme)


def test_comparison_tells_noise_from_a_difference(evaluation):
    first, same, better = (evaluation(*a)[1] for a in ((), ("b",), ("c", 1.0)))
    assert not any(d.exceeds_noise for d in compare(first, same))
    by_name = {(d.system, d.measure): d for d in compare(first, better)}
    top1 = by_name["quantized", "top-1"]
    assert top1.paired and top1.value == pytest.approx(0.25) and top1.exceeds_noise
    assert not by_name["quantized", "unknown rejected"].exceeds_noise


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": "hushtune-report/0"}', "not a report of this version"),
        ("[]", "not a report of this version"),
        ("{", "not a report of this version"),
        (None, "no report can be read here"),
    ],
)
def test_other_reports_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(RunError, match=message):
        reports.read_report(tmp_path)


@pytest.mark.parametrize("name", ["conditions-01.json", "conditions-01.csv.gz"])
def test_a_damaged_fold_is_named(folds, name):
    plan = folds(f"damaged-{name.partition('.')[2].replace('.', '-')}")
    path = plan.folder / "folds" / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=f"{name}: not a fold that can be read"):
        reports.make_report(plan, [], "x")
