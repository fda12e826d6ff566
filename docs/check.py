"""Tell which generated parts of README and docs are stale, and how to renew each.

``python docs/check.py`` renders every part anew within seconds, from code or, where measuring took
hours, from the JSON that is stored beside the report. It ends with 1 where a part differs. Whether
the transcripts of demo and tutorial (`make transcripts`) still hold is found out by running them:
`make test-slow` does.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import hushtune
from hushtune.configs.reference import config_reference
from hushtune.eval.report.build import read_report
from hushtune.eval.report.markdown import render
from hushtune.eval.sweep import frontier
from hushtune.evaluate import BEGIN, END, readme_part, report_schema

ROOT = Path(__file__).parents[1]
REFERENCE = "docs/reference"
PUBLISH = f"hushtune report write {REFERENCE}/results {REFERENCE}/RESULTS.md --readme README.md"


def settings(root: Path) -> bool:
    """Is the settings' reference what the typed models say?"""
    return _text(root, "settings.md") == f"# Settings\n\n{config_reference()}"


def schema(root: Path) -> bool:
    """Is the report's schema that of the typed model?"""
    return _text(root, "report.schema.json") == report_schema()


def results(root: Path) -> bool:
    """Does the page of results show the stored report?"""
    folder = root / REFERENCE / "results"
    pictures = [path.name for path in folder.glob("*.png")]
    shown = render(read_report(folder), pictures, folder=f"{folder.name}/")
    return _text(root, "RESULTS.md") == shown


def readme(root: Path) -> bool:
    """Does README show the stored report?"""
    part = (root / "README.md").read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    report = read_report(root / REFERENCE / "results")
    return part.strip() == readme_part(report, f"{REFERENCE}/RESULTS.md").strip()


def sweep(name: str) -> Callable[[Path], bool]:
    """Does a sweep's page show its stored variants?"""

    def fresh(root: Path) -> bool:
        result = frontier.read_sweep(root / REFERENCE / name)
        picture = f"{Path(name).stem.lower()}/frontier.png"
        return result is not None and _text(root, name) == frontier.render(result, picture)

    return fresh


def api(root: Path) -> bool:
    """Does the Python reference show every public name, and no other?"""
    named = set(re.findall(r":: hushtune\.(\w+)$", _text(root, "api.md"), re.M))
    errors = {name for name in hushtune.__all__ if name.endswith("Error")}  # listed by their module
    return named == set(hushtune.__all__) - errors


PARTS: dict[str, tuple[Callable[[Path], bool], str]] = {
    f"{REFERENCE}/settings.md": (
        settings,
        f"hushtune config reference > {REFERENCE}/settings.md",
    ),
    f"{REFERENCE}/report.schema.json": (
        schema,
        f"hushtune report schema > {REFERENCE}/report.schema.json",
    ),
    f"{REFERENCE}/RESULTS.md": (results, PUBLISH),
    "README.md, results": (readme, PUBLISH),
    f"{REFERENCE}/FRONTIER.md": (
        sweep("FRONTIER.md"),
        f"hushtune sweep configs/sweeps/corpus.yaml --report {REFERENCE}/FRONTIER.md",
    ),
    f"{REFERENCE}/PIPELINES.md": (
        sweep("PIPELINES.md"),
        f"hushtune sweep configs/sweeps/pipelines.yaml --report {REFERENCE}/PIPELINES.md",
    ),
    f"{REFERENCE}/api.md": (api, "name there what hushtune.__all__ has, and nothing else"),
}
"""What is generated: whether it is fresh, and the command that renews it."""


def stale(root: Path = ROOT) -> list[str]:
    """One line for each part that differs from what would be written today."""
    return [
        f"{part} is stale: {renew}" for part, (fresh, renew) in PARTS.items() if not fresh(root)
    ]


def _text(root: Path, name: str) -> str:
    return (root / REFERENCE / name).read_text("utf-8")


if __name__ == "__main__":
    lines = stale()
    print("\n".join(lines) or f"{len(PARTS)} generated parts are fresh.")
    sys.exit(bool(lines))
