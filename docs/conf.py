"""The docs site: `make docs` builds it into build/docs, every warning an error."""

from importlib import metadata

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


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _from_markdown, priority=100)
