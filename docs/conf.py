"""The docs site: `make docs` builds it into build/docs, every warning an error."""

import pkgutil
import re
from importlib import import_module, metadata

import typer
from brevitas.inject import ExtendedInjector
from typer.cli import get_docs_for_click
from typer.main import get_command

from hushtune.cli import commands

project = "Hushtune"
author = "The Hushtune developers"
copyright = "The Hushtune developers, MIT licence"  # noqa: A001
release = metadata.version("hushtune")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Hushtune {release}"

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

ROOMS = ("support", "configs", "model", "training", "fhe", "eval")


def _from_markdown(app, what, name, item, options, lines):
    """Docstrings' code fences as reStructuredText; bars are bars, not substitutions."""
    result, within = [], False
    for line in lines:
        if line.strip().startswith("```"):
            within = not within
            result += ["", "::", ""] if within else [""]
        else:
            result.append(f"   {line}" if within else line.replace("|", r"\|"))
    lines[:] = result


def _skip_injectors(app, what, name, item, skip, options):
    """Leave Brevitas' injectors out: their attributes cannot be looked at."""
    return True if isinstance(item, type(ExtendedInjector)) else None


def _modules(room):
    """Names of all modules of a room, for example "hushtune.model"."""
    walk = pkgutil.walk_packages(import_module(room).__path__, f"{room}.")
    return sorted(module.name for module in walk)


def _import_all(app):
    """Import every module before any is documented.

    autodoc changes annotations of the models that it documents, and pydantic cannot complete models
    derived from those afterwards.
    """
    for room in ROOMS:
        for module in _modules(f"hushtune.{room}"):
            import_module(module)


def _list_modules(app, name, source):
    """Put every module of a room where a page says `<!-- modules of ROOM -->`.

    The errors are left out: the Python API's page has them.
    """

    def listed(match):
        lines = "".join(
            f".. automodule:: {module}\n   :members:\n"
            for module in _modules(match[1])
            if module != "hushtune.support.errors"
        )
        return f"```{{eval-rst}}\n{lines}```"

    source[0] = re.sub(r"<!-- modules of ([\w.]+) -->", listed, source[0])


def _list_commands(app, name, source):
    """Put every command's help where a page says `<!-- commands -->`."""
    if "<!-- commands -->" not in source[0]:
        return
    command = get_command(commands)
    context = typer.Context(command, info_name="hushtune")
    text = get_docs_for_click(obj=command, ctx=context, name="hushtune").split("\n", 1)[1]
    text = re.sub(r"\[/?bold\]", "`", text)
    source[0] = source[0].replace("<!-- commands -->", text)


def setup(app):
    """Called by Sphinx."""
    app.connect("builder-inited", _import_all)
    app.connect("source-read", _list_modules)
    app.connect("source-read", _list_commands)
    app.connect("autodoc-skip-member", _skip_injectors)
    app.connect("autodoc-process-docstring", _from_markdown, priority=100)
