"""The README's cheap commands work, and the files it names are there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CHEAP = "hushtune config"


def commands():
    for block in re.findall(r"```(?:sh|console)\n(.*?)```", README, re.S):
        for line in block.splitlines():
            command = line.removeprefix("$ ").split("  #")[0].strip()
            if command.startswith("hushtune "):
                yield command


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_named_exists(command, tmp_path):
    """The command's options are known to its help; cheap commands really run."""
    words = shlex.split(command)[1:]
    name = words[:2] if words[0] in ("config", "report") else words[:1]
    shown = subprocess.run(
        [sys.executable, "-m", "hushtune", *name, "--help"], capture_output=True, text=True
    )
    assert shown.returncode == 0
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
    assert len(set(commands())) >= 5


def test_python_examples_compile():
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r'src="([^"]+)"', README)
    assert len(targets) > 5
    for target in targets:
        assert (ROOT / target).exists(), target


def test_the_api_example_runs(tiny_artifact, tiny_clips, tmp_path, monkeypatch, capsys):
    """The README's Python, with the tiny artifact in the place of the corpus one."""
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", README, re.S) if "Server(" in b]
    (tmp_path / "artifact").symlink_to(tiny_artifact)
    (tmp_path / "clip.wav").symlink_to(tiny_clips[0][1])
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
