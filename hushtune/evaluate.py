"""Evaluation from one call: folds, costs, report, pictures."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from hushtune.configs.schema import Config
from hushtune.eval.bench.size import CostRow, measure_costs
from hushtune.eval.crossval.crossvalidation import Plan, Protocol, cross_validate
from hushtune.eval.crossval.fold import Systems
from hushtune.eval.report.build import make_report, write_json
from hushtune.eval.report.markdown import readme_part, render, replace_part
from hushtune.eval.report.plots import draw_all
from hushtune.eval.report.schema import Report
from hushtune.support.errors import ConfigError
from hushtune.support.files import write_atomically
from hushtune.training.run import Run

COST_SONGS = (50, 100, 1000, 3000, 8000)
BEGIN = "<!-- results: written by 'hushtune report write' -->"
END = "<!-- end of results -->"


def evaluate(
    config: Config,
    *,
    folder: Path | None = None,
    protocols: Sequence[Protocol] = ("conditions", "segments"),
    folds: int = 10,
    fhe_clips: int | None = 8,
    baselines: Sequence[str] = ("mfcc", "landmarks"),
    cost_songs: Sequence[int] | None = COST_SONGS,
    command: str = "hushtune.evaluate",
    announce: Callable[[str], None] = print,
) -> Report:
    """Evaluate a configuration, or resume an interrupted evaluation.

    Args:
        config: of the product; every fold trains it anew.
        folder: everything is written here; ``<runs>/<name>/evaluation`` where None.
        protocols: what is held out, see `hushtune.eval.crossval.crossvalidation.Plan`.
        folds: of ``conditions`` and ``segments``.
        fhe_clips: clips of each fold in real FHE; None for all of them, 0 for none.
        baselines: ``mfcc`` and ``landmarks``, or none.
        cost_songs: sizes of catalogues whose cost is measured beside the config's own; None or
            empty for no measurement.
        command: what to state in the report.
        announce: called with one-line progress messages.

    Returns:
        The report, which is also written to the folder with its pictures.

    Raises:
        ConfigError: settings that cannot be evaluated, or a folder of another evaluation.
        CatalogueError: no usable catalogue, or tracks too short for the folds.
        RunError: a damaged fold, or training that opened what is held out.
    """
    if not 2 <= folds <= 50:
        raise ConfigError(f"folds={folds}: from 2 to 50 can be evaluated.")
    if fhe_clips is not None and fhe_clips < 0:
        raise ConfigError(f"fhe_clips={fhe_clips}: give a number from 0, or None for all.")
    if not config.split.unknown_test:
        raise ConfigError(
            "split.unknown_test=0: an evaluation needs songs that are not enrolled. Set it to some "
            "dozens, or a tenth of the catalogue."
        )
    if baselines and not config.split.known_unknowns:
        announce(
            f"Left out: {', '.join(baselines)}. They learn what unknown songs sound like from "
            "split.known_unknowns, which is 0."
        )
        baselines = ()
    folder = folder or config.runs / config.name / "evaluation"
    systems = Systems(fhe_clips, "mfcc" in baselines, "landmarks" in baselines)
    plan = Plan(config, folder, tuple(dict.fromkeys(protocols)), folds, systems)
    cross_validate(plan, announce=announce)
    rows: list[CostRow] = []
    if cost_songs:
        own = len(Run(config.runs / config.name, config).split().known)
        sizes = sorted({*cost_songs, own})
        announce(f"Measuring costs at {', '.join(f'{size:,}' for size in sizes)} songs.")
        rows = measure_costs(config, sizes, folder / "costs", announce=announce)
    announce("Computing intervals and drawing.")
    report = make_report(plan, rows, command)
    write_json(report, folder)
    pictures = draw_all(report, folder)
    write_atomically(folder / "report.md", render(report, pictures).encode())
    return report


def publish(report: Report, page: Path, readme: Path | None = None) -> None:
    """Write a report as a page of the docs, with its pictures and JSON in a folder of its name.

    Args:
        report: what to publish.
        page: Markdown file; pictures go to the folder beside it named like it, in lower case.
        readme: a file whose part between the two markers is replaced by the headline table.

    Raises:
        ConfigError: the readme lacks the markers.
    """
    folder = page.with_suffix("").with_name(page.stem.lower())
    pictures = draw_all(report, folder)
    write_json(report, folder)
    write_atomically(page, render(report, pictures, folder=f"{folder.name}/").encode())
    if readme is None:
        return
    link = os.path.relpath(page, readme.parent)
    replace_part(readme, BEGIN, END, readme_part(report, link))


def report_schema() -> str:
    """The JSON schema of ``report.json``."""
    return json.dumps(Report.model_json_schema(), indent=1) + "\n"
