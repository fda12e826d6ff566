"""What the points of a sweep achieve and cost, and the page that shows it."""

from collections import Counter
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ...configs.schema import FheSettings
from ...support.files import write_atomically
from ...support.units import readable_bytes
from ..bench.cores import extrapolated
from ..crossval.results import STRICT_RATE, Clips, dir_on_test
from ..report.markdown import replace_part
from ..report.plots import draw_frontier
from ..report.schema import Machine

BEGIN, END = "<!-- sweep: written by 'hushtune sweep --table' -->", "<!-- end of sweep -->"
AGREEING = 1 - FheSettings().tolerance
"""The share of encrypted clips with the answer in the clear that a point on the frontier needs:
what an export asks for by default."""
FAR_CORES = 128
"""Of the machine that the bounty named."""


class Figures(BaseModel):
    """Shares between 0 and 1 on the main test's clips."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    top1: float
    """Right song first, of clips of known songs."""
    top1_by_snr_db: dict[str, float]
    """The same by signal-to-noise ratio."""
    top1_by_seconds: dict[str, float]
    """The same for clips of other lengths."""
    rejected: float
    """Unknown clips rejected at the shipped threshold."""
    lost: float
    """Known clips then lost."""
    found: float
    """Known clips named rightly then."""
    dir: float
    """Known clips found and accepted at the threshold fixed for 1 % false alarms."""
    dir_false_alarms: float
    """The share of unknown clips which that threshold in fact let through."""
    dir_on_test: float
    """The same where the threshold lets 1 % of the test's own unknown clips through: to compare
    variants at equal false alarms."""


class PointResult(BaseModel):
    """What one point of a sweep achieves and costs."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str
    note: str
    answer: str
    """What the client decrypts: ``logits``, or a ``number``, whose quantized figures at the shipped
    threshold are the circuit's; the others are its network's."""
    digest: str
    """Of the configuration and of what was measured."""
    created: str
    machine: Machine
    """Where; only seconds of the same one can stand side by side."""
    songs: int
    known_clips: int
    unknown_clips: int
    image_values: int
    """Values encrypted of each clip."""
    float_figures: Figures
    quantized_figures: Figures
    encrypted_clips: int
    encrypted_agrees: float
    """Share of those clips with the answer in the clear."""
    encrypted_right: float
    """Share of those clips whose answer, a song or "unknown", is right."""
    pbs: int
    widest_bits: int
    train_seconds: float | None
    """Without what the cache held; None where the training was done before."""
    compute_seconds: float
    """Server, median over the encrypted clips."""
    seconds_by_cores: dict[int, float] = {}
    """The same on numbers of cores, where asked for."""
    query_bytes: int
    response_bytes: int
    evaluation_key_bytes: int


class Frontier(BaseModel):
    """All finished points of a sweep."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    title: str
    command: str
    created: str
    points: list[PointResult]
    failed: dict[str, str] = {}
    """Points that do not compile, and why."""


def figures(clips: Clips) -> Figures:
    """The figures of one system on all clips it judged."""
    main = clips.where(clips.main)
    first, known = main.first, main.known
    lengths = {}
    for seconds in np.unique(clips.seconds[~np.isnan(clips.seconds)]):
        some = clips.where((clips.seconds == seconds) & clips.known)
        lengths[f"{seconds:g}"] = float(some.first.mean())
    shipped, strict = main.accepted(main.shipped_rate), main.accepted(STRICT_RATE)
    return Figures(
        top1=float(first[known].mean()),
        top1_by_snr_db={
            f"{snr:g}": float(first[known & (main.snr_db == snr)].mean())
            for snr in np.unique(main.snr_db)
        },
        top1_by_seconds=lengths,
        rejected=float((~shipped)[~known].mean()),
        lost=float((~shipped)[known].mean()),
        found=float((first & shipped)[known].mean()),
        dir=float((first & strict)[known].mean()),
        dir_false_alarms=float(strict[~known].mean()),
        dir_on_test=dir_on_test(main, STRICT_RATE),
    )


def summary(point: PointResult) -> str:
    """One line on a point."""
    q = point.quantized_figures
    return (
        f"{point.name}: top-1 {q.top1:.1%}, DIR {q.dir:.1%}, {point.pbs} PBS, "
        f"{point.compute_seconds:.2f} s, response {readable_bytes(point.response_bytes)}, "
        f"keys {readable_bytes(point.evaluation_key_bytes)}."
    )


def machines(points: list[PointResult]) -> list[Machine]:
    """Where points were measured, the one that measured most of them first."""
    counts = Counter(point.machine for point in points)
    return [machine for machine, _ in counts.most_common()]


def best(points: list[PointResult]) -> set[str]:
    """The frontier: no other point has a higher DIR at equal false alarms in as few seconds.

    Only points from the machine that measured most of them are compared, and only those with the
    same number of songs: fewer are found more easily, in fewer seconds. Those whose encrypted
    answers are not the ones in the clear, of which the DIR is, and those that answer with a
    number, which have none, are left out.
    """
    main = machines(points)[0]
    points = [
        point
        for point in points
        if point.machine == main and point.encrypted_agrees >= AGREEING and point.answer == "logits"
    ]
    return {
        point.name
        for point in points
        if not any(
            other.quantized_figures.dir_on_test >= point.quantized_figures.dir_on_test
            and other.compute_seconds <= point.compute_seconds
            and other.songs == point.songs
            and other is not point
            for other in points
        )
    }


def render(frontier: Frontier, picture: str) -> str:
    """The sweep as a page of Markdown.

    Args:
        frontier: all finished points.
        picture: path of the plot, relative to the page.
    """
    if not frontier.points:
        return f"# {frontier.title}\n\nNo point is measured yet.\n"
    first, where = frontier.points[0], machines(frontier.points)
    days = sorted({point.created[:10] for point in frontier.points})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    elsewhere = _elsewhere(where)
    lines = [
        f"# {frontier.title}",
        "",
        f"Made by `{frontier.command}` on {when} ({where[0].hardware}). "
        f"One training of each variant; {first.known_clips:,} clips of known songs and "
        f"{first.unknown_clips:,} of unknown ones "
        f"under noise and rooms unseen in training, {first.encrypted_clips} of them in real FHE "
        "(the first variant's counts). "
        "Thresholds come from other unknown songs. These are the clips that choices were made by: "
        "the cross-validation in [RESULTS.md](RESULTS.md) is the cleaner figure. Variants on the "
        "frontier, that none of as many songs beats in DIR at equal false alarms without taking "
        "longer, are set in bold. Those whose answers in real FHE agree with the clear ones on "
        f"less than {AGREEING:.0%} are not on it, nor in the plot. Seconds differ by half with "
        "what else the machine does."
        + (f"{elsewhere} They cannot be on the frontier." if elsewhere else ""),
        "",
        f"![Accuracy against seconds, table look-ups and bytes]({picture})",
        "",
        "| variant | songs | values | PBS | top-1 | twin | 0 dB | 3 s | DIR 1 % | its alarms "
        "| DIR on test | rejected | lost | found | FHE agrees | FHE right | server | query "
        "| response | keys | training |",
        "| --- | ---: " + "| ---: " * 19 + "|",
    ]
    frontier_names = best(frontier.points)
    for p in frontier.points:
        q, twin = p.quantized_figures, p.float_figures
        logits = p.answer == "logits"
        name = f"**{p.name}**" if p.name in frontier_names else p.name
        name += _mark(p, where)
        lines.append(
            f"| {name} | {p.songs:,} | {p.image_values:,} | {p.pbs:,} | "
            + (
                f"{q.top1:.1%} | {twin.top1:.1%} | "
                f"{q.top1_by_snr_db.get('0', float('nan')):.1%} | "
                f"{q.top1_by_seconds.get('3', float('nan')):.1%} | {q.dir:.1%} | "
                f"{q.dir_false_alarms:.1%} | {q.dir_on_test:.1%} | "
                if logits
                else 7 * "- | "
            )
            + f"{q.rejected:.1%} | {q.lost:.1%} | {q.found:.1%} | "
            f"{p.encrypted_agrees:.0%} | {p.encrypted_right:.0%} | "
            f"{p.compute_seconds:.2f} s | "
            f"{readable_bytes(p.query_bytes)} | {readable_bytes(p.response_bytes)} | "
            f"{readable_bytes(p.evaluation_key_bytes)} | "
            + ("- |" if p.train_seconds is None else f"{p.train_seconds / 60:.1f} min |")
        )
    lines += [
        "",
        "*values*: encrypted numbers a clip; *twin*: top-1 in floating point; *0 dB*, *3 s*: top-1 "
        "of clips in that noise, of that length; *DIR 1 %*: found and accepted at the threshold "
        "for 1 % false alarms; *its alarms*: those it then gave; *DIR on test*: where it gives "
        "1 %; *rejected*, *lost*, *found*: unknown and known clips called unknown, and known ones "
        "named rightly, at the shipped threshold; *FHE agrees*: with the same circuit in the "
        "clear; *FHE right*: right answers of these few clips, known and unknown; *server*: median "
        "seconds a query on all cores; *keys*: evaluation keys, uploaded once; *training*: without "
        "renderings or images that were cached."
        + (
            " A variant that answers with a song's number ranks and scores nothing, so it has no "
            "top-1 and no DIR."
            if any(p.answer != "logits" for p in frontier.points)
            else ""
        ),
        "",
        *_cores(frontier.points, where),
        "## What each variant is",
        "",
    ]
    lines += [f"- **{p.name}**: {p.note or 'the base configuration'}." for p in frontier.points]
    lines += [f"- {name}: does not compile. {why}" for name, why in frontier.failed.items()]
    return "\n".join(lines) + "\n"


def _mark(point: PointResult, where: list[Machine]) -> str:
    """What stands beside the name of a point from another machine than most."""
    place = where.index(point.machine)
    return f" [{place}]" if place else ""


def _elsewhere(where: list[Machine]) -> str:
    """A sentence on the machines that `_mark` numbers; empty where there are none."""
    others = "; ".join(f"[{place}] {one.hardware}" for place, one in enumerate(where) if place)
    return others and f" Seconds of numbered variants come from other machines: {others}."


def _cores(points: list[PointResult], where: list[Machine]) -> list[str]:
    """The table of seconds by cores, of the points where they were measured."""
    timed = [point for point in points if len(point.seconds_by_cores) > 1]
    if not timed:
        return []
    cores = sorted(timed[0].seconds_by_cores)
    few, many = cores[0], cores[-1]
    head = [f"{count} core{'s' * (count > 1)}" for count in cores]
    lines = [
        "## Seconds on more cores",
        "",
        f"| variant | {' | '.join(head)} | {FAR_CORES} cores, extrapolated |",
        "| --- " + "| ---: " * (len(cores) + 1) + "|",
    ]
    for point in timed:
        seconds = point.seconds_by_cores
        measured = " | ".join(f"{seconds[count]:.2f} s" for count in cores)
        name = point.name + _mark(point, where)
        lines.append(f"| {name} | {measured} | {extrapolated(seconds, FAR_CORES):.2f} s |")
    return [
        *lines,
        "",
        f"The last column is not measured: it is s + p / {FAR_CORES}, with p = "
        f"(t({few}) - t({many})) / (1/{few} - 1/{many}) and s = t({few}) - p / {few}, neither "
        "below 0 (Amdahl's law), and knows nothing of memory bandwidth.",
        "",
    ]


def compact(frontier: Frontier) -> str:
    """The sweep as one small table, in words."""
    where = machines(frontier.points)
    lines = [
        "| variant | top-1 | found | unknown rejected | DIR at equal alarms | FHE agrees | PBS "
        "| server | query | response | keys |",
        "| --- " + "| ---: " * 10 + "|",
    ]
    for p in frontier.points:
        q = p.quantized_figures
        top1, dir_on_test = (
            (f"{q.top1:.1%}", f"{q.dir_on_test:.1%}") if p.answer == "logits" else ("-", "-")
        )
        lines.append(
            f"| {p.note or p.name} (`{p.name}`){_mark(p, where)} | {top1} | {q.found:.1%} | "
            f"{q.rejected:.1%} | {dir_on_test} | {p.encrypted_agrees:.0%} | "
            f"{p.pbs:,} | {p.compute_seconds:.2f} s | "
            f"{readable_bytes(p.query_bytes)} | {readable_bytes(p.response_bytes)} | "
            f"{readable_bytes(p.evaluation_key_bytes)} |"
        )
    first = frontier.points[0]
    return "\n".join(lines) + (
        f"\n\n{first.known_clips:,} and {first.unknown_clips:,} clips of known and unknown songs "
        f"of the first variant, {first.encrypted_clips} of them in real FHE; "
        f"{frontier.created[:10]}, {where[0].cores} cores ({where[0].processor}); made by "
        f"`{frontier.command}`.{_elsewhere(where)}\n"
    )


def write_table(frontier: Frontier, file: Path) -> None:
    """Write the small table between the two markers of a file.

    Raises:
        ConfigError: the file lacks them.
    """
    replace_part(file, BEGIN, END, compact(frontier))


def read_frontier(page: Path) -> Frontier | None:
    """What a sweep's page was made of, from the JSON beside it; None where there is none."""
    try:
        return Frontier.model_validate_json((_folder(page) / "frontier.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _folder(page: Path) -> Path:
    return page.with_suffix("").with_name(page.stem.lower())


def write_frontier(frontier: Frontier, page: Path) -> None:
    """Write a sweep's page; its plot and JSON go to a folder of its name beside it."""
    folder = _folder(page)
    folder.mkdir(parents=True, exist_ok=True)
    if frontier.points:
        main = machines(frontier.points)[0]
        elsewhere = {point.name for point in frontier.points if point.machine != main}
        sound = [point for point in frontier.points if point.encrypted_agrees >= AGREEING]
        sound = sound or frontier.points
        draw_frontier(sound, folder / "frontier.png", elsewhere)
    text = frontier.model_dump_json(indent=1) + "\n"
    write_atomically(folder / "frontier.json", text.encode())
    write_atomically(page, render(frontier, f"{folder.name}/frontier.png").encode())
