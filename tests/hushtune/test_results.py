"""The published results agree with each other and with the code that reads them."""

from pathlib import Path

import pytest

from hushtune.eval.report.build import read_report
from hushtune.eval.report.markdown import headline, render
from hushtune.evaluate import BEGIN, END, readme_part, report_schema

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "reference"
PAGES = ("RESULTS.md",)
SYSTEMS = {"float", "quantized", "simulated", "fhe", "mfcc", "mfcc_fhe", "landmarks"}


def folder_of(page: str) -> Path:
    return DOCS / page.removesuffix(".md").lower()


def test_the_readme_shows_the_published_results():
    report = read_report(DOCS / "results")
    between = (ROOT / "README.md").read_text("utf-8").split(BEGIN)[1].split(END)[0]
    assert between.strip() == readme_part(report, "docs/reference/RESULTS.md").strip()
    assert headline(report) in (DOCS / "RESULTS.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_what_its_report_says(page):
    folder = folder_of(page)
    pictures = [path.name for path in folder.glob("*.png")]
    shown = render(read_report(folder), pictures, folder=f"{folder.name}/")
    assert shown == (DOCS / page).read_text("utf-8")


def test_the_results_are_of_the_whole_corpus():
    protocols, costs = {}, []
    for page in PAGES:
        report = read_report(folder_of(page))
        protocols |= {(page, protocol.name): protocol for protocol in report.protocols}
        costs.append(report.costs)
    for protocol in protocols.values():
        assert {system.name for system in protocol.systems} == SYSTEMS
        assert protocol.known_tracks + protocol.unknown_tracks > 500
    for page in PAGES:
        conditions = protocols[page, "conditions"]
        assert conditions.folds == 10 and conditions.fhe_costs.clips >= 80
    for rows in costs:
        assert min(row.songs for row in rows) == 50
        assert max(row.songs for row in rows) == 8000
        assert {row.cores for row in rows} >= {1, 2}


def test_the_documented_schema_is_todays():
    assert (DOCS / "report.schema.json").read_text("utf-8") == report_schema()


@pytest.mark.parametrize("page", PAGES)
def test_no_path_of_a_machine_is_published(page):
    for path in (DOCS / page, folder_of(page) / "report.json"):
        text = path.read_text("utf-8")
        assert "/home/" not in text and "/tmp/" not in text and str(ROOT) not in text
