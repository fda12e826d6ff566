"""Generated parts of README and docs are fresh, and a stale one is noticed."""

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECK = script("check")
WORDS = {
    "docs/reference/settings.md": ("Settings", "Setings"),
    "docs/reference/report.schema.json": ('"title"', '"titel"'),
    "docs/reference/RESULTS.md": ("Made by", "Faked by"),
    "README.md, results": ("| top-1 at 0 dB |", "| top-1 at 5 dB |"),
    "docs/reference/FRONTIER.md": ("Made by", "Faked by"),
    "docs/reference/PIPELINES.md": ("Made by", "Faked by"),
    "docs/reference/api.md": (":: hushtune.Client\n", ":: hushtune.Clients\n"),
}


@pytest.mark.parametrize("part", CHECK.PARTS)
def test_every_generated_part_is_fresh(part):
    fresh, renew = CHECK.PARTS[part]
    assert fresh(ROOT), f"{part} is stale: {renew}"


@pytest.mark.parametrize("part", CHECK.PARTS)
def test_a_changed_part_is_told_with_its_command(part, tmp_path):
    shutil.copytree(ROOT / "docs" / "reference", tmp_path / "docs" / "reference")
    shutil.copy(ROOT / "README.md", tmp_path)
    assert not CHECK.stale(tmp_path)
    file, (before, after) = tmp_path / part.partition(",")[0], WORDS[part]
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after), "utf-8")
    (line,) = CHECK.stale(tmp_path)
    assert line == f"{part} is stale: {CHECK.PARTS[part][1]}"


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows(tmp_path):
    """Word for word; only figures, which depend on the machine, may differ."""
    run_demo = script("run_demo")
    shown = run_demo.README.read_text("utf-8").partition(run_demo.BEGIN)[2]
    shown = re.search(r"```\n(.*?)```", shown.partition(run_demo.END)[0], re.S)[1]
    printed = re.search(
        r"```\n(.*?)```", run_demo.transcript(run_demo.run(tmp_path), "today"), re.S
    )[1]
    assert words(printed) == words(shown)


def words(text: str) -> str:
    """A text without its figures, and without how they are aligned or drawn."""
    return " ".join(re.sub("[━─╭╮╰╯│┃┏┓┗┛┡┩┳┻╇]+", " ", NUMBER.sub("#", text)).split())
