"""The command line as a user meets it."""

import json
import re
import shutil
import subprocess
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from hushtune import cli
from hushtune.fhe import signing
from hushtune.fhe.artifact import read_manifest
from hushtune.support.errors import ServiceError

COMMANDS = [
    *("identify", "listen", "app", "info"),
    *("demo", "train", "compile", "sign", "clips"),
    *("config show", "config check", "config reference", "encoder train", "encoder evaluate"),
    *("serve", "token"),
    *("load-test", "evaluate", "sweep", "report compare", "report write", "report schema"),
]
PANELS = {"Ask": "identify", "Make": "train", "Serve": "serve", "Measure": "evaluate"}
HEAVY = {"numpy", "torch", "concrete", "httpx", "scipy", "sklearn"}


def hushtune(*arguments, cwd=None):
    """The command line in this process, where the libraries are loaded already."""
    out, err, code = StringIO(), StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["hushtune", *map(str, arguments)])
        patch.chdir(cwd or Path.cwd())
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            code = 1
            traceback.print_exc()
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def in_a_process_of_its_own(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "hushtune", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_explains_its_options(command):
    result = CliRunner().invoke(cli.commands, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.stdout
    text = re.sub(r"\s+", " ", result.stdout.replace("│", " "))
    for option in re.findall(r"--[a-z][a-z-]+", text):
        assert re.search(rf"{option}\b.{{0,60}}?[A-Z]", text), option


def test_no_arguments_shows_the_commands_in_groups():
    shown = in_a_process_of_its_own()
    text = shown.stdout + shown.stderr
    assert all(command.split()[0] in text for command in COMMANDS)
    for panel, command in PANELS.items():
        assert command in text.split(f"─ {panel} ─")[1].split("╰")[0]


def imported_by(*arguments, cwd=None) -> tuple[set[str], str]:
    """Top-level modules that a command has imported when it ends, and what it said."""
    code = (
        "import atexit, sys; "
        "atexit.register(lambda: print('MODULES', *{n.split('.')[0] for n in sys.modules})); "
        f"sys.argv = ['hushtune', *{[str(argument) for argument in arguments]!r}]; "
        "from hushtune.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=cwd
    )
    said, _, modules = done.stdout.rpartition("MODULES")
    return set(modules.split()), said + done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Usage"),
        (("--help",), "Usage"),
        (("identify", "--help"), "Usage"),
        (("identify", "nothing", "x.wav"), "no artifact lies here"),
        (("identify", "there", "x.wav", "y.wav"), "y.wav: no such file"),
        (("identify", "x.wav", "--server", "http://127.0.0.1:9"), "x.wav: no such file"),
        (("identify", "there/manifest.json", "--server", "localhost:9"), "not an address"),
        (("identify", "there", "x.wav", "--server", "http://localhost:9"), "give clips alone"),
        (("listen", "--server", "localhost:9"), "not an address"),
        (("app", "--server", "ftp://x"), "not an address"),
        (("app", "--server", "http://x", "--token", "abc"), "--insecure-http"),
        (("info", "nothing"), "no artifact lies here"),
        (("serve", "nothing"), "no artifact lies here"),
        (("load-test", "nothing"), "no artifact lies here"),
        (("compile", "nothing"), "no run lies here"),
        (("clips", "nothing", "out"), "no run lies here"),
    ],
)
def test_help_and_cheap_refusals_import_nothing_heavy(tmp_path, arguments, told):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "manifest.json").write_text("{}")
    modules, said = imported_by(*arguments, cwd=tmp_path)
    assert told in said and "Traceback" not in said
    assert modules and not modules & HEAVY


@pytest.mark.parametrize("command", ["identify", "listen", "app"])
def test_a_token_is_not_sent_unencrypted_to_another_machine(command, tmp_path):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"")
    arguments = [
        command,
        "--server",
        "http://tunes.example",
        *([str(clip)] * (command == "identify")),
    ]
    refused = CliRunner().invoke(cli.commands, arguments, env={"HUSHTUNE_TOKEN": "s3cret"})
    assert isinstance(refused.exception, ServiceError)
    assert "--insecure-http" in str(refused.exception) and "s3cret" not in str(refused.exception)


def test_a_service_that_is_not_there_is_told_at_once(tmp_path):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"RIFF")
    result = hushtune("identify", "--server", "http://127.0.0.1:9", clip)
    assert result.returncode == 1 and "cannot be reached" in result.stderr
    modules, _ = imported_by("identify", "--server", "http://127.0.0.1:9", clip)
    assert not modules & {"torch", "concrete"}, "the FHE libraries are loaded after it answered"


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", hushtune("--version").stdout)


def test_config_show_and_check(tmp_path):
    assert "catalogue:" in hushtune("config", "show", "demo").stdout
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: x\ncatalogue: {kind: folder, path: .}\nsed: 4\n")
    result = hushtune("config", "check", "demo", bad)
    assert result.returncode == 1
    assert "demo: ok" in result.stdout
    assert "sed: unknown key. Did you mean 'seed'?" in result.stderr


def test_config_check_looks_at_the_music(tmp_path, tone):
    soundfile.write(tmp_path / "Ann - One.wav", tone, 16_000)
    soundfile.write(tmp_path / "Two.wav", tone, 16_000)
    mine, none = tmp_path / "mine.yaml", tmp_path / "none.yaml"
    mine.write_text("name: x\ncatalogue: {kind: folder, path: .}\n")
    none.write_text("name: x\ncatalogue: {kind: folder, path: elsewhere}\n")
    result = hushtune("config", "check", mine, none, "demo")
    assert result.returncode == 1
    assert "2 tracks, 1 artists, about 0.0 hours, 1 without an artist" in result.stdout
    assert "36 songs to compose, 75 s each" in result.stdout
    assert "none.yaml" in result.stderr and "elsewhere: no such folder" in result.stderr


def test_identify_under_real_fhe_as_json_and_as_text(tiny_artifact, tiny_clips, tmp_path):
    paths = [path for _, path in tiny_clips[:2]]
    result = hushtune("identify", tiny_artifact, *paths, "--json", "--keys", tmp_path / "k")
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout)
    assert [answer["clip"] for answer in answers] == [str(path) for path in paths]
    for answer in answers:
        assert answer["mode"] == "execute"
        assert answer["costs"]["query_bytes"] > 1000
        assert answer["costs"]["compute_seconds"] > 0
        assert len(answer["matches"]) == 3
    text = hushtune("identify", tiny_artifact, paths[0], "none.wav", "--keys", tmp_path / "k")
    assert text.returncode == 1, "Concrete's own exit function would make it 0"
    assert "none.wav: no such file" in text.stderr
    assert re.search(r"1\. .+ \d+\.\d%", text.stdout)
    assert "received" in text.stdout
    assert "Made new keys" in result.stderr and "Made new keys" not in text.stderr


@pytest.mark.parametrize("mode", ["clear", "simulate"])
def test_identify_without_encryption(tiny_artifact, tiny_clips, mode):
    expected, path = tiny_clips[0]
    result = hushtune("identify", tiny_artifact, path, "--fhe", mode)
    assert result.returncode == 0, result.stderr
    assert "1. " in result.stdout and "sent" not in result.stdout


def test_what_is_demanded_of_a_services_artifact_is_demanded_of_a_folder(
    tiny_artifact, tiny_clips, tmp_path
):
    clip, mode = tiny_clips[0][1], ("--fhe", "clear")
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    key = Ed25519PrivateKey.generate()
    mine, other = signing.public_key_of(key), "ab" * 32
    unsigned = hushtune("identify", folder, clip, *mode, "--signer", mine)
    assert unsigned.returncode == 1 and "unsigned" in unsigned.stderr
    signing.sign(folder, key)
    assert hushtune("identify", folder, clip, *mode, "--signer", mine).returncode == 0
    foreign = hushtune("identify", folder, clip, *mode, "--signer", other)
    assert foreign.returncode == 1 and "another key" in foreign.stderr
    found = read_manifest(folder).id[:16]
    assert hushtune("identify", folder, clip, *mode, "--artifact-id", found).returncode == 0
    another = hushtune("identify", folder, clip, *mode, "--artifact-id", "0" * 16)
    assert another.returncode == 1 and f"its id is {found}" in another.stderr


def test_bad_clips_are_named_and_the_good_ones_answered(tiny_artifact, tiny_clips, tmp_path, tone):
    (tmp_path / "empty.mp3").write_bytes(b"")
    soundfile.write(tmp_path / "short.wav", tone[:3000], 16000)
    good = tiny_clips[0][1]
    result = hushtune(
        "identify",
        tiny_artifact,
        tmp_path / "no.wav",
        tmp_path / "empty.mp3",
        good,
        tmp_path / "short.wav",
        "--fhe",
        "clear",
    )
    assert result.returncode == 1
    assert "no such file" in result.stderr
    assert "empty" in result.stderr
    assert "too short" in result.stderr
    assert str(good) in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "nothing.yaml"], "no such configuration"),
        (["compile", "nothing"], "no run lies here"),
        (["identify", "nothing", "x.wav"], "no artifact lies here"),
        (["info", "nothing"], "no artifact lies here"),
        (["clips", "nothing", "out"], "no run lies here"),
    ],
)
def test_mistakes_get_one_or_two_lines(tmp_path, arguments, expected):
    result = hushtune(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert expected in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2


def test_a_wrong_option_is_a_usage_error():
    assert hushtune("identify", "a", "b", "--fhe", "magic").returncode == 2


def test_info(tiny_artifact):
    text = hushtune("info", tiny_artifact).stdout
    assert "18 PBS" in text and "6 songs" in text
    manifest = json.loads(hushtune("info", tiny_artifact, "--json").stdout)
    assert manifest["circuit"]["pbs"] == 18


def test_clips_writes_what_it_lists(tiny_run, tmp_path):
    result = hushtune("clips", tiny_run.folder, tmp_path / "out", "--known", 2, "--unknown", 1)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 3
    assert (tmp_path / "out" / "clips.csv").read_text().count("unknown") == 1
    assert soundfile.info(tmp_path / "out" / "clip01.wav").duration == pytest.approx(4, abs=0.1)


def test_evaluation_and_reports_explain_what_is_wrong(tmp_path):
    wrong = hushtune("evaluate", "demo", "--fhe-clips", "some")
    assert wrong.returncode == 1
    assert "--fhe-clips=some: expected a number from 0, or 'all'" in wrong.stderr
    absent = in_a_process_of_its_own("evaluate", tmp_path / "none.yaml")
    assert absent.returncode == 1 and "Error:" in absent.stderr
    no_music = tmp_path / "no_music.yaml"
    no_music.write_text("name: x\ncatalogue: {kind: csv, path: music.csv}\n")
    nobody = hushtune("evaluate", no_music, cwd=tmp_path)
    assert nobody.returncode == 1 and "split.unknown_test=0" in nobody.stderr
    no_music.write_text(no_music.read_text() + "split: {unknown_test: 4}\n")
    missing = hushtune("evaluate", no_music, cwd=tmp_path)
    assert missing.returncode == 1 and "music.csv: no such file" in missing.stderr
    (tmp_path / "report.json").write_text('{"format": "another/7"}')
    other = hushtune("report", "compare", tmp_path, tmp_path)
    assert other.returncode == 1 and "not a report of this version" in other.stderr
    assert not any("Traceback" in r.stderr for r in (wrong, absent, missing, other))


def test_what_a_stranger_wrote_cannot_command_the_terminal(capsys):
    from hushtune.cli.output import console, say

    console.print("a\x1b]52;c;aGk=\x07b\x9b2J\r\nTitel: Für Élise 日本", markup=False)
    say("x\x1b[2Jy")
    shown = capsys.readouterr()
    assert shown.out == "a?]52;c;aGk=?b?2J?\nTitel: Für Élise 日本\n"
    assert shown.err == "x?[2Jy\n"
