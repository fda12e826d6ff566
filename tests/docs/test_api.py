"""The API reference has every public name, and what each takes and raises is documented."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hushtune

DOCS = Path(__file__).parents[2] / "docs"
ERRORS = {name for name in hushtune.__all__ if name.endswith("Error")}
NAMES = sorted(set(hushtune.__all__) - ERRORS)


def members(thing):
    """A function, or a class and its public methods, with their names."""
    yield thing.__qualname__, thing
    if inspect.isclass(thing):
        for name, member in inspect.getmembers(thing):
            if not name.startswith("_") and (
                inspect.isfunction(member) or isinstance(member, property)
            ):
                yield f"{thing.__qualname__}.{name}", member


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_has_every_public_name(name):
    page = (DOCS / "reference" / "api.md").read_text("utf-8")
    assert f"hushtune.{name}\n" in page


def test_the_reference_has_every_error():
    assert "automodule:: hushtune.support.errors" in (DOCS / "reference" / "api.md").read_text(
        "utf-8"
    )
    for name in ERRORS:
        assert inspect.getdoc(getattr(hushtune, name)).endswith("."), name


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_name_every_argument(name):
    for title, member in members(getattr(hushtune, name)):
        text = inspect.getdoc(member)
        assert text, f"{title} has no docstring"
        if isinstance(member, property):
            continue
        for argument in inspect.signature(member).parameters.values():
            if argument.name == "self" or argument.kind is argument.VAR_POSITIONAL:
                continue
            documented = f"{argument.name}:" in text or f"`{argument.name}`" in text
            assert documented, f"{title}: {argument.name} is not documented"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", DOCS, tmp_path],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "hushtune.Client" in (tmp_path / "reference" / "api.html").read_text("utf-8")
