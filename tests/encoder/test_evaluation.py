import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hushtune import cli
from hushtune.cli import encoder as cli_encoder
from hushtune.eval.encoder import evaluate_encoder
from hushtune.support.errors import CatalogueError, RunError


@pytest.fixture(scope="module")
def report(encoder_run):
    return evaluate_encoder(encoder_run, shortest=30)


def test_songs_never_heard_are_told_apart(report):
    assert (report.songs, report.judged, report.unknown) == (14 + 5, 5, 3)
    assert report.values == 64
    assert report.rows_a_minute == pytest.approx(9, rel=0.2)
    by_kind = {(rates.seconds, rates.speed_percent): rates for rates in report.rates}
    assert set(by_kind) == {(3, 0), (5, 0), (10, 0), (10, 2), (10, 4)}
    plain = by_kind[10, 0]
    assert plain.clips == 5 * 10 and set(plain.top1_by_snr_db) == {"0", "5", "10", "15", "20"}
    assert plain.top1 > 0.5, "a nineteenth would be chance"
    assert plain.top1 >= plain.dir_1
    assert plain.top1_by_snr_db["20"] >= plain.top1_by_snr_db["0"]
    assert plain.located > 0.25, "composed songs return to what they played"


def test_fewer_rows_are_a_setting(encoder_run, report):
    fewer = evaluate_encoder(encoder_run, shortest=30, step_seconds=10)
    assert fewer.rows < 0.7 * report.rows


def test_too_few_held_out_tracks_are_refused(encoder_run):
    with pytest.raises(CatalogueError, match="0 of 8 tracks can be judged with"):
        evaluate_encoder(encoder_run, shortest=500)


def test_the_table_names_every_kind_of_clip(report):
    table = cli_encoder.table_of(report)
    assert table.startswith("19 songs enrolled (5 unheard), 3 unknown")
    for kind in ("3 s", "5 s", "10 s", "10 s, +-2 %", "10 s, +-4 %"):
        assert f"\n{kind} " in table


@pytest.mark.slow
def test_the_command_writes_a_report(encoder_run):
    command = [sys.executable, "-m", "hushtune", "encoder", "evaluate", str(encoder_run.folder)]
    done = subprocess.run([*command, "--shortest", "30"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "19 songs enrolled (5 unheard), 3 unknown" in done.stdout
    written = json.loads((encoder_run.folder / "report.json").read_text())
    assert len(written["rates"]) == 5


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    wrong = CliRunner().invoke(cli.commands, ["encoder", "evaluate", str(tmp_path)])
    assert isinstance(wrong.exception, RunError)
    assert "no encoder's training lies here" in str(wrong.exception)
