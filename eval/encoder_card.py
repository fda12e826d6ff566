"""The card of a trained encoder: what it learned from, under which licences, and how good it is."""

from collections import Counter
from datetime import date

from ..support.machine import this_machine
from ..training.data.track import Track
from ..training.encoder.run import EncoderRun
from .encoder import EncoderReport


def encoder_card(run: EncoderRun, report: EncoderReport) -> str:
    """A card in Markdown.

    Args:
        run: of the training.
        report: of `evaluate_encoder`.
    """
    learned, held = run.learned(), run.held_out()
    training, network = run.config.training, run.config.network
    sources = sorted({track.genre for track in held})
    lines = [
        f"# Encoder: {run.config.name}",
        "",
        f"Makes of {run.config.signal.crop_seconds:g} s of music {network.values} values that "
        "noise and rooms change little (docs/explanation/encoder.md). Trained with "
        f"`hushtune encoder train`, {training.steps:,} steps of {training.pairs} pairs; judged "
        f"with `hushtune encoder evaluate` on {this_machine().hardware}, {date.today()}.",
        "",
        "## What it learned from",
        "",
        f"{len(learned)} tracks:",
        "",
        *_licences(learned),
        "",
        f"It never heard {len(held)} tracks of {', '.join(sources)}.",
        "",
        "## How good it is",
        "",
        f"{report.songs} whole songs enrolled, nothing fitted to them; clips of the "
        f"{report.judged} that training never heard, under noise and rooms that it never heard, "
        f"0 to 20 dB; {report.unknown} more such songs are unknown. DIR: the right song, at the "
        "threshold at which one clip of unknown songs in a hundred is named (set on these clips).",
        "",
        "| row | rows a minute | clips | top-1 | DIR at 1 % | position within 10 s |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for way in report.ways:
        for rates in way.rates:
            speed = f", +-{rates.speed_percent:g} % speed" if rates.speed_percent else ""
            lines.append(
                f"| {way.row_seconds:g} s every {way.step_seconds:g} s | {way.rows_a_minute:.0f} | "
                f"{rates.seconds:g} s{speed} | {rates.top1:.1%} | {rates.dir_1:.1%} | "
                f"{rates.located:.1%} |"
            )
    return "\n".join(lines) + "\n"


def _licences(tracks: list[Track]) -> list[str]:
    counts = Counter(track.license or "not stated" for track in tracks)
    rows = [f"| {name} | {count} |" for name, count in counts.most_common()]
    return ["| licence | tracks |", "| --- | ---: |", *rows]
