"""A catalogue that lives: songs come, change and go without a training anew, and the result is that
of one."""

import json
import shutil

import numpy as np
import pytest
import torch

from hushtune.configs.loading import parse_config
from hushtune.configs.schema import Config
from hushtune.support.errors import CatalogueError, RunError
from hushtune.training.linear import changes
from hushtune.training.linear.changes import compare, enrol, finish, remove, synchronise
from hushtune.training.run import Run
from hushtune.training.trainer import train

FIRST = 6
"""Songs at first."""


def song(number):
    return f"Artist {number % 4} - Song {number}.wav"


@pytest.fixture(scope="module")
def songs(linear_run):
    """Files of composed songs."""
    split = linear_run.split()
    return [track.path for track in (*split.known, *split.unknown_test, *split.known_unknowns)]


@pytest.fixture(scope="module")
def first(linear_run, songs, tmp_path_factory):
    """A run over a folder of the first songs."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "music").mkdir()
    for number, path in enumerate(songs[:FIRST]):
        shutil.copy(path, folder / "music" / song(number))
    settings = {
        **linear_run.config.model_dump(mode="json"),
        "catalogue": {"kind": "folder", "path": str(folder / "music")},
        "split": {},
        "name": "library",
        "runs": str(folder / "runs"),
    }
    return train(parse_config(settings, name="library", folder=folder), announce=lambda text: None)


@pytest.fixture
def run(first, tmp_path):
    """A copy of it, with a folder of its own."""
    shutil.copytree(first.folder.parent, tmp_path / "runs", symlinks=True)
    shutil.copytree(first.config.catalogue.path, tmp_path / "music")
    return moved(first.config, tmp_path)


def moved(config: Config, folder) -> Run:
    old, new = str(config.catalogue.path), str(folder / "music")
    catalogue = config.catalogue.model_copy(update={"path": folder / "music"})
    config = config.model_copy(update={"runs": folder / "runs", "catalogue": catalogue})
    for name in ("config.yaml", "split.json"):
        path = config.runs / config.name / name
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    return Run(config.runs / config.name, config)


def same(first: Run, second: Run) -> None:
    """Both runs' networks, rows and decisions are the same."""
    for quantized in (False, True):
        mine, theirs = (r.network(quantized=quantized).state_dict() for r in (first, second))
        assert mine.keys() == theirs.keys()
        for name, values in mine.items():
            assert torch.equal(values, theirs[name]), name
    assert first.rows() == second.rows()
    assert first.read_json("decision.json") == second.read_json("decision.json")


def anew(run: Run, tmp_path) -> Run:
    """A run with the same settled features, fitted from nothing."""
    again = Run(tmp_path / "anew", run.config)
    again.folder.mkdir()
    for name in ("config.yaml", "split.json", "statistics.npy", "selected.npy", "enrolment.json"):
        shutil.copy(run.path(name), again.path(name))
    shutil.copy(run.path("catalogue.json"), again.path("catalogue.json"))
    return train(run.config, run=again, announce=lambda text: None)


def test_everything_is_enrolled_by_default(first):
    assert len(first.split().known) == FIRST
    assert not first.split().known_unknowns and not first.split().unknown_test


def test_a_song_enrolled_later_is_as_if_it_had_been_there(run, songs, tmp_path):
    new = tmp_path / song(FIRST)
    shutil.copy(songs[FIRST], new)
    before = run.network(quantized=True).head.out_features
    (track,) = enrol(run, [new], announce=print)
    assert track.title == f"Song {FIRST}" and track.by_hand
    assert run.split().known[-1] == track
    assert run.network(quantized=True).head.out_features == before + 3
    same(run, anew(run, tmp_path))
    assert not run.path("next").exists() and not run.path("result.json").exists()


def test_a_song_removed_is_as_if_it_had_never_been_there(run, tmp_path):
    gone = run.split().known[2]
    assert remove(run, [gone.id]) == [gone]
    assert gone not in run.split().known and len(run.split().known) == FIRST - 1
    same(run, anew(run, tmp_path))
    assert gone.path.exists()


def test_there_and_back_gives_the_same_weights(run, first, songs, tmp_path):
    new = tmp_path / song(FIRST)
    shutil.copy(songs[FIRST], new)
    (track,) = enrol(run, [new])
    remove(run, [track.id])
    same(run, first)


def test_a_removed_song_whose_file_is_gone_everywhere(run, tmp_path):
    """Its crops cannot be subtracted, so the others' are summed up again."""
    gone = run.split().known[1]
    gone.path.unlink()
    from hushtune.training.linear.enrolment import Enrolment
    from hushtune.training.linear.train import crop_maker

    crop_maker(run).path(Enrolment.load(run).digests[gone.id]).unlink()
    remove(run, [gone.id])
    same(run, anew(run, tmp_path))


def test_sync_brings_a_run_up_to_date(run, songs, tmp_path):
    music = run.config.catalogue.path
    (music / song(0)).unlink()
    shutil.copy(songs[FIRST], music / song(FIRST))  # new
    shutil.copy(songs[FIRST + 1], music / song(1))  # other content under the same name
    (music / "noise.mp3").write_bytes(b"not audio")
    told = []
    found = compare(run)
    assert found.text == "2 new, 1 changed, 1 gone"
    synchronise(run, announce=told.append)
    assert any("noise.mp3" in line and line.startswith("Skipped") for line in told)
    names = [track.title for track in run.split().known]
    assert sorted(names) == [*(f"Song {n}" for n in range(1, FIRST)), f"Song {FIRST}"]
    same(run, anew(run, tmp_path))
    (music / "noise.mp3").unlink()
    assert not compare(run)
    synchronise(run, announce=told.append)
    assert told[-1] == "nothing changed."


def test_what_was_enrolled_by_hand_stays_in_a_sync(run, songs, tmp_path):
    new = tmp_path / song(FIRST)
    shutil.copy(songs[FIRST], new)
    (track,) = enrol(run, [new])
    assert not compare(run)
    assert track in run.split().known


def test_training_says_that_the_folder_has_changed(run, songs):
    shutil.copy(songs[FIRST], run.config.catalogue.path / song(FIRST))
    told = []
    train(run.config, run=run, announce=told.append)
    assert "already trained" in told[0]
    assert "1 new" in told[1] and f"hushtune sync {run.folder}" in told[1]
    assert len(run.split().known) == FIRST, "nothing is changed"


@pytest.mark.parametrize("name", ["split.json", "quantized.pt", "decision.json", "complete"])
def test_an_interrupted_change_is_finished_or_dropped(run, first, songs, tmp_path, name):
    """Killed while the new files take the former ones' places, or before they are complete."""
    complete = name != "complete"
    new = tmp_path / song(FIRST)
    shutil.copy(songs[FIRST], new)
    finished = changes.finish

    def killed(run):
        if (run.path("next") / "complete").exists():
            if not complete:
                (run.path("next") / "complete").unlink()
            else:
                stop = changes.STATE.index(changes.RunFile(name))
                for file in changes.STATE[:stop]:
                    made = run.path("next") / file.value
                    if made.exists():
                        made.replace(run.path(file))
            raise KeyboardInterrupt
        finished(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            enrol(run, [new])
    finish(run)
    assert not run.path("next").exists()
    assert len(run.split().known) == FIRST + complete
    same(run, anew(run, tmp_path) if complete else first)


def test_what_cannot_be_done_is_told(run, tiny_run, songs, tmp_path):
    known = run.split().known
    with pytest.raises(CatalogueError, match="Did you mean Artist 0 - Song 0.wav"):
        remove(run, ["Artist 0 - Song 0.wave"])
    with pytest.raises(CatalogueError, match=r"1 song\(s\) would be left"):
        remove(run, [track.id for track in known[1:]])
    told = []
    assert enrol(run, [known[0].path], announce=told.append) == []
    assert "already enrolled, as Artist 0 - Song 0.wav" in told[0]
    (tmp_path / "text.mp3").write_text("words")
    with pytest.raises(CatalogueError, match="None of these files"):
        enrol(run, [tmp_path / "text.mp3"], announce=told.append)
    with pytest.raises(RunError, match="hidden layers"):
        remove(tiny_run, ["x"])
    run.path("decision.json").unlink()
    with pytest.raises(RunError, match="training has not finished"):
        enrol(run, [songs[FIRST]])


def test_the_command_line(run, songs, tmp_path, capsys):
    from hushtune.cli import commands

    new = tmp_path / song(FIRST)
    shutil.copy(songs[FIRST], new)
    for words in (["enroll", str(run.folder), str(new)], ["sync", "--dry-run", str(run.folder)]):
        commands(words, standalone_mode=False)
    out = capsys.readouterr()
    assert f"{song(FIRST)}: Artist 2 - Song {FIRST}" in out.out
    commands(["remove", str(run.folder), song(FIRST)], standalone_mode=False)
    assert len(run.split().known) == FIRST
    state = json.loads(run.path("enrolment.json").read_text())
    assert song(FIRST) not in state["digests"]
    judged, scores = run.calibration(quantized=True)
    assert scores.shape == (len(judged.labels), FIRST + 1) and np.isfinite(scores[0]).all()
