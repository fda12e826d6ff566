"""The commands of README, guide and operations exist, the cheap ones work; examples are whole."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from hushtune import cli
from hushtune.configs.loading import parse_config, shipped_configs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
HOW_TO = ROOT / "docs" / "how-to"
CATALOGUE = (HOW_TO / "own-catalogue.md").read_text()
GUIDES = [path.read_text() for path in sorted(HOW_TO.glob("*.md"))]
CHEAP = "hushtune config"


def blocks(languages, texts=(README, *GUIDES)):
    for text in texts:
        yield from re.findall(rf"```(?:{languages})\n(.*?)```", text, re.S)


def commands():
    for block in blocks("sh|console"):
        for line in block.splitlines():
            command = re.split(r"  #| && | > ", line.strip().removeprefix("$ "))[0].strip()
            if command.startswith("hushtune "):
                yield command


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_named_exists(command, tmp_path):
    """The command's options are known to its help; cheap commands really run."""
    words = shlex.split(command)[1:]
    name = words[:2] if words[0] in ("config", "report") else words[:1]
    shown = CliRunner().invoke(cli.commands, [*name, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    for option in re.findall(r"(?<!\S)--[a-z-]+", command):
        assert option in shown.stdout
    if command.startswith(CHEAP):
        (example,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
        (tmp_path / "mine.yaml").write_text(example)
        ran = subprocess.run(
            [sys.executable, "-m", "hushtune", *words], capture_output=True, text=True, cwd=tmp_path
        )
        assert ran.returncode == 0, ran.stderr


def test_there_are_commands():
    assert len(set(commands())) >= 20


def test_python_examples_compile():
    found = list(blocks("python"))
    assert len(found) >= 3
    for block in found:
        compile(block, "README.md", "exec")


@pytest.mark.parametrize("block", blocks("yaml"))
def test_every_part_of_a_configuration_is_right(block, tmp_path):
    whole = {"name": "mine", "catalogue": {"kind": "folder", "path": "/music"}}
    parse_config({**whole, **yaml.safe_load(block)}, name="guide", folder=tmp_path)


def test_the_guides_table_of_points_is_what_is_shipped():
    rows = re.findall(r"^\| `([a-z-]+)` \| ", CATALOGUE, re.M)
    shipped = {path.stem for path in shipped_configs()} - {"demo", "fma_small"}
    assert set(rows) == shipped


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r'src="([^"]+)"', README)
    assert len(targets) > 5
    for target in targets:
        assert (ROOT / target).exists(), target


ASK = (HOW_TO / "ask-from-an-app.md").read_text()


@pytest.mark.parametrize(
    ("text", "kind"),
    [(README, "linear"), (ASK, "linear"), (ASK, "tiny")],
    ids=["readme", "how-to", "how-to-pbs"],
)
def test_the_api_example_runs(text, kind, request, tiny_clips, tmp_path, monkeypatch, capsys):
    """Verbatim, with a small artifact without PBS ("linear") or with some ("tiny")."""
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", text, re.S) if "Server(" in b]
    (tmp_path / "artifact").symlink_to(request.getfixturevalue(f"{kind}_artifact"))
    (tmp_path / "clip.wav").symlink_to(tiny_clips[0][1])
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
