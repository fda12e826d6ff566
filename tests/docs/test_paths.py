"""The files and folders that the docs name exist, and README keeps to its length."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FOLDERS = "support|configs|model|training|fhe|eval|hushtune|tests|docs|locks"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_named_in_prose_exist(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M)
    named = re.findall(rf"`((?:{FOLDERS})/[\w/.-]*)`", prose)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= 900
