"""The tutorial's code runs as it stands, and prints what the page says as far as it must."""

import codeop
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml

from hushtune.configs.loading import PACKAGE_FOLDER, read_yaml

DOCS = Path(__file__).parents[2] / "docs"
TUTORIAL = DOCS / "tutorial" / "recognizer.md"
TEXT = TUTORIAL.read_text("utf-8")
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")
SONG = re.compile(r"[A-Z][a-z]+(?: [A-Z][a-z]+)* \d+ - [A-Z][a-z]+(?: [A-Z][a-z]+)*")
SMALL = {
    "catalogue": {"tracks": 16, "seconds": 40},
    "split": {"unknown_test": 6},
}
"""What the quick run changes in the demo's settings: 10 songs are enrolled instead of 24."""


def script():
    """docs/run_tutorial.py as a module."""
    spec = spec_from_file_location("run_tutorial", DOCS / "run_tutorial.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["small", "whole"])
def ran(request, tmp_path_factory):
    """What each block prints, and the folder it drew into."""
    folder = tmp_path_factory.mktemp("tutorial")
    if request.param == "small":
        settings = read_yaml(PACKAGE_FOLDER / "demo.yaml")
        for key, changes in SMALL.items():
            settings[key].update(changes)
        (folder / "demo").write_text(yaml.safe_dump(settings))  # found before the shipped one
    return script().run_blocks(TEXT, folder), folder


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TEXT, re.S))
def test_blocks_can_be_pasted_at_a_prompt(code):
    """Line by line; Enter ends a loop at the end of a block."""
    complete, lines = codeop.CommandCompiler(), []
    for line in [*code.splitlines(), "", ""]:
        lines.append(line)
        if complete("\n".join(lines), symbol="single") is not None:
            lines.clear()
    assert not lines


def test_every_block_prints_what_the_page_shows(ran, request):
    """Word for word; only figures, which depend on the machine, may differ.

    A smaller catalogue has other songs in these places, so that their names may differ, too.
    """
    printed, _ = ran
    plain = words if "whole" in request.node.callspec.id else lambda text: words(SONG.sub("", text))
    shown = [
        (match["output"] or "").strip("\n")
        for match in re.finditer(
            r"```python\n.*?```\n(?:\n```text\n(?P<output>.*?)```\n)?", TEXT, re.S
        )
    ]
    assert len(shown) == len(printed) > 15
    for here, there in zip(printed, shown, strict=True):
        assert plain(here) == plain(there)


def test_what_the_page_concludes_holds_here_too(ran):
    text = "\n".join(ran[0])
    found, rejected = (
        float(re.search(pattern, text)[1])
        for pattern in (r"quantized right song first.*: ([\d.]+)%", r"songs rejected ([\d.]+)%")
    )
    assert found > 97 and rejected > 90
    right, clips = map(int, re.search(r"(\d+) of (\d+) right under real FHE", text).groups())
    assert right >= clips - 1
    assert 48 < float(re.search(r"equal in both: ([\d.]+)%", text)[1]) < 52


def test_every_picture_it_shows_is_drawn(ran):
    for name in re.findall(r"\((\w+\.png)\)", TEXT):
        assert (ran[1] / name).stat().st_size > 10_000
        assert (TUTORIAL.parent / name).exists()


def test_outputs_are_written_below_their_blocks():
    text = "a\n```python\nprint(1)\n```\n\n```text\nold\n```\nb\n```python\nx = 1\n```\n"
    renewed = script().with_outputs(text, ["new", ""])
    assert renewed == text.replace("old", "new")


def words(text: str) -> str:
    """A text without its figures, and without how they are aligned."""
    text = re.sub(r"(?<=for example )[0-9a-f ]{8,}", "", text)
    return " ".join(NUMBER.sub("#", text).split())
