import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hushtune import cli
from hushtune.cli import encoder as cli_encoder
from hushtune.eval.encoder import evaluate_encoder
from hushtune.eval.encoder_card import encoder_card
from hushtune.support.errors import CatalogueError, RunError


@pytest.fixture(scope="module")
def report(encoder_run):
    return evaluate_encoder(encoder_run, shortest=30, clips=1, ways=((3, 1.5), (10, 5), (10, 10)))


def test_songs_never_heard_are_told_apart(report):
    assert (report.songs, report.judged, report.unknown) == (14 + 5, 5, 3)
    assert report.values == 64
    for way in report.ways:
        by_kind = {(rates.seconds, rates.speed_percent): rates for rates in way.rates}
        assert set(by_kind) == {(3, 0), (5, 0), (10, 0), (10, 2), (10, 4)}
        plain = by_kind[10, 0]
        assert plain.clips == 5 * 5 and set(plain.top1_by_snr_db) == {"0", "5", "10", "15", "20"}
        assert plain.top1 > 0.5, "a nineteenth would be chance"
        assert plain.top1 >= plain.dir_1
    fine = report.ways[0].rates[0]
    assert fine.located > 0.25, "composed songs return to what they played"


def test_rows_cover_a_song_as_asked(report):
    short, long, apart = report.ways
    assert short.rows_a_minute == pytest.approx(60 / 1.5, rel=0.1)
    assert long.rows_a_minute == pytest.approx(7 * 60 / 40, rel=0.1)
    assert apart.rows == 19 * 4


def test_too_few_held_out_tracks_are_refused(encoder_run):
    with pytest.raises(CatalogueError, match="0 of 8 tracks can be judged with"):
        evaluate_encoder(encoder_run, shortest=500)


def test_the_table_names_every_kind_of_clip(report):
    table = cli_encoder.table_of(report)
    assert table.startswith("19 songs enrolled (5 unheard), 3 unknown")
    for kind in ("3 s", "5 s", "10 s", "10 s, +-2 %", "10 s, +-4 %"):
        assert table.count(f"\n{kind} ") == 3
    assert "a row for 10 s every 5 s: 133 rows" in table


def test_the_card_says_what_was_learned_from_and_how_good_it_is(encoder_run, report):
    card = encoder_card(encoder_run, report)
    assert "14 tracks:" in card and "| CC0-1.0 | 14 |" in card
    assert "never heard 8 tracks of https://host.example/kept/apart" in card
    rates = report.ways[0].rates[0]
    assert f"| 3 s every 1.5 s | 39 | 3 s | {rates.top1:.1%} |" in card
    assert card.count("\n| ") == 3 + 2 + 3 * 5


@pytest.mark.slow
def test_the_command_writes_a_report(encoder_run):
    command = [sys.executable, "-m", "hushtune", "encoder", "evaluate", str(encoder_run.folder)]
    done = subprocess.run([*command, "--shortest", "30"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "19 songs enrolled (5 unheard), 3 unknown" in done.stdout
    written = json.loads((encoder_run.folder / "report.json").read_text())
    assert len(written["ways"][0]["rates"]) == 5


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    wrong = CliRunner().invoke(cli.commands, ["encoder", "evaluate", str(tmp_path)])
    assert isinstance(wrong.exception, RunError)
    assert "no encoder's training lies here" in str(wrong.exception)
