"""The published results agree with each other and with the code that reads them."""

from pathlib import Path

from hushtune.eval.markdown import headline, render
from hushtune.eval.report import read_report

from hushtune.evaluate import BEGIN, END, readme_part, report_schema

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "RESULTS.md"


def test_the_readme_shows_the_published_results():
    report = read_report(ROOT / "docs" / "results")
    between = (ROOT / "README.md").read_text("utf-8").split(BEGIN)[1].split(END)[0]
    assert between.strip() == readme_part(report, "docs/RESULTS.md").strip()
    assert headline(report) in RESULTS.read_text("utf-8")


def test_the_page_is_what_the_report_says():
    folder = ROOT / "docs" / "results"
    pictures = [path.name for path in folder.glob("*.png")]
    page = render(read_report(folder), pictures, folder="results/")
    assert page == RESULTS.read_text("utf-8")


def test_the_results_are_of_the_whole_corpus():
    report = read_report(ROOT / "docs" / "results")
    by_name = {protocol.name: protocol for protocol in report.protocols}
    assert {"conditions", "passages"} <= set(by_name)
    for protocol in by_name.values():
        systems = {system.name for system in protocol.systems}
        assert {
            "float",
            "quantized",
            "simulated",
            "fhe",
            "mfcc",
            "mfcc_fhe",
            "landmarks",
        } == systems
        assert protocol.known_tracks + protocol.unknown_tracks > 500
    assert by_name["conditions"].folds == by_name["passages"].folds == 10
    assert by_name["conditions"].fhe_costs.clips >= 80
    assert by_name["halves"].folds == 2
    assert min(row.songs for row in report.costs) == 50
    assert max(row.songs for row in report.costs) == 8000
    assert {row.cores for row in report.costs} >= {1, 2}


def test_the_documented_schema_is_todays():
    assert (ROOT / "docs" / "report.schema.json").read_text("utf-8") == report_schema()


def test_no_path_of_a_machine_is_published():
    for path in (RESULTS, ROOT / "docs" / "results" / "report.json"):
        text = path.read_text("utf-8")
        assert "/home/" not in text and "/tmp/" not in text and str(ROOT) not in text
