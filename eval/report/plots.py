"""The report's pictures. Every system has its own marker, line and grey value beside its colour."""

from collections.abc import Collection
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

from ..crossval.fold import ENCRYPTED, FLOAT, LANDMARKS, MFCC, QUANTIZED, SIMULATED
from .schema import ProtocolResult, Report, System

if TYPE_CHECKING:
    from ..sweep.frontier import PointResult

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import LogLocator, NullLocator  # noqa: E402
from matplotlib.transforms import Bbox  # noqa: E402

STYLES = {
    FLOAT: ("#555555", "s", ":"),
    QUANTIZED: ("#0b3c5d", "o", "-"),
    SIMULATED: ("#7aa6c2", "v", "-."),
    ENCRYPTED: ("#d1495b", "D", "-"),
    MFCC: ("#e0a030", "^", "--"),
    LANDMARKS: ("#66a182", "x", "-."),
}
"""Colour, marker and line; their luminance differs, too."""
LEAST_MISSED = 0.1
"""Percent that a plot of a sweep shows where nothing was missed."""
MISSED_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 90)
HATCHES = {FLOAT: "", QUANTIZED: "//", SIMULATED: "..", ENCRYPTED: "xx"}
PROTOCOL_TITLES = {
    "conditions": "unseen noise and rooms",
    "segments": "held-out segments",
    "halves": "the other half of each track",
    "trained": "the trained run",
}


def draw_all(report: Report, folder: Path) -> list[str]:
    """Draw every picture that the report has figures for.

    Returns:
        The names of the PNG files written to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for protocol in report.protocols:
        for draw, name in ((_by_snr, "snr"), (_dir_far, "dir-far"), (_models, "models")):
            figure = draw(protocol)
            if figure is not None:
                names.append(f"{protocol.name}-{name}.png")
                _save(figure, folder / names[-1])
    if any(row.error is None for row in report.costs):
        names.append("cost.png")
        _save(_cost(report), folder / names[-1])
    return names


def draw_frontier(
    points: "list[PointResult]", picture: Path, elsewhere: Collection[str] = ()
) -> None:
    """Plot a sweep: accuracy against seconds, against table look-ups and against bytes.

    Accuracy is DIR and top-1; where some answer with a song's number, and so have neither, what is
    found and what is rejected at the shipped threshold.

    Args:
        points: finished ones.
        picture: PNG to write.
        elsewhere: names of those whose seconds come from another machine, drawn hollow.
    """
    axes_of = (
        ("server seconds a query", "log", [p.compute_seconds for p in points]),
        ("table look-ups (PBS) a query", "symlog", [p.pbs for p in points]),
        ("response (MB)", "log", [p.response_bytes / 1e6 for p in points]),
    )
    figures = [p.quantized_figures for p in points]
    if all(p.answer == "logits" for p in points):
        measures = (
            ("DIR at 1 % false alarms (%)", [q.dir for q in figures]),
            ("top-1 (%)", [q.top1 for q in figures]),
        )
    else:
        measures = (
            ("found (%)", [q.found for q in figures]),
            ("unknown songs rejected (%)", [q.rejected for q in figures]),
        )
    figure, rows = plt.subplots(
        2, 3, figsize=(14, 8.5), layout="constrained", sharex="col", sharey="row"
    )
    networks = [p.pbs > 0 for p in points]
    for row, (what, shares) in zip(rows, measures, strict=True):
        misses = _missed(shares)
        for axis, (_, scale, places) in zip(row, axes_of, strict=True):
            for deep, colour, marker, label in (
                (False, "#0b3c5d", "o", "no look-ups"),
                (True, "#d1495b", "D", "look-ups"),
            ):
                chosen = [i for i, one in enumerate(networks) if one == deep]
                axis.scatter(
                    [places[i] for i in chosen],
                    [misses[i] for i in chosen],
                    edgecolors=colour,
                    facecolors=["white" if points[i].name in elsewhere else colour for i in chosen],
                    marker=marker,
                    label=label if chosen else None,
                    zorder=3,
                )
            axis.set_xscale(scale)
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            if scale == "log":
                axis.xaxis.set_minor_formatter(partial(_minor_label, axis))
            axis.grid(alpha=0.3)
            axis.margins(x=0.15, y=0.1)
        row[0].set_yscale("log")  # of what is missed: between 98 and 99 % lies half of it
        row[0].set_yticks(MISSED_TICKS, [f"{100 - missed:g}" for missed in MISSED_TICKS])
        row[0].yaxis.set_minor_locator(NullLocator())
        row[0].set_ylim(1.2 * max(misses), min(misses) / 1.2)
        row[0].set_ylabel(what)
    for axis, (against, *_) in zip(rows[1], axes_of, strict=True):
        axis.set_xlabel(against)
    figure.legend(*rows[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    hollow = "; hollow: seconds from another machine" if elsewhere else ""
    figure.suptitle(f"What accuracy costs: each point one trained and compiled variant{hollow}")
    figure.draw_without_rendering()  # names are placed when everything else has its place
    for row, (_, shares) in zip(rows, measures, strict=True):
        for axis, (*_, places) in zip(row, axes_of, strict=True):
            _name_points(axis, [p.name for p in points], places, _missed(shares))
    _save(figure, picture)


def _minor_label(axis, value: float, _: int) -> str:
    """Of a tick between powers of ten: where there is hardly more than one, 2 and 5 are told."""
    low, high = axis.get_xlim()
    return f"{value:g}" if high < 20 * low and f"{value:e}"[0] in "25" else ""


def _missed(shares: list[float]) -> list[float]:
    return [max(100 * (1 - share), LEAST_MISSED) for share in shares]


def _name_points(axis, names: list[str], xs: list[float], ys: list[float]) -> None:
    """Write names beside points, as far as there is room: the first ones first."""
    spots = axis.transData.transform(list(zip(xs, ys, strict=True)))
    taken = [Bbox.from_extents(x - 3, y - 3, x + 3, y + 3) for x, y in spots]
    for name, x, y in zip(names, xs, ys, strict=True):
        for dx, dy in product((6, -6), (-3, 5, -11, 13, -19)):
            text = axis.annotate(
                name,
                (x, y),
                (dx, dy),
                textcoords="offset points",
                fontsize=7,
                ha="left" if dx > 0 else "right",
            )
            box = text.get_window_extent()
            inside = all(axis.bbox.contains(*corner) for corner in (box.min, box.max))
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _save(figure, path: Path) -> None:
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _shown(protocol: ProtocolResult, names: tuple[str, ...]) -> list[System]:
    systems = {system.name: system for system in protocol.systems}
    return [systems[name] for name in names if name in systems]


def _title(protocol: ProtocolResult, what: str) -> str:
    folds = f"{protocol.folds} folds" if protocol.folds > 1 else "one fold"
    return f"{what}: {PROTOCOL_TITLES[protocol.name]} ({folds})"


def _by_snr(protocol: ProtocolResult):
    figure, axis = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    systems = _shown(protocol, (FLOAT, QUANTIZED, MFCC, LANDMARKS))
    for place, system in enumerate(systems):
        points = sorted((float(snr), share) for snr, share in system.by_snr_db.items())
        colour, marker, line = STYLES[system.name]
        nudge = 0.25 * (place - (len(systems) - 1) / 2)
        axis.errorbar(
            [snr + nudge for snr, _ in points],
            [100 * share.value for _, share in points],
            yerr=[
                [100 * max(0.0, share.value - share.low) for _, share in points],
                [100 * max(0.0, share.high - share.value) for _, share in points],
            ],
            color=colour,
            marker=marker,
            linestyle=line,
            capsize=3,
            label=system.title,
        )
    axis.set(
        title=_title(protocol, "Top-1 by noise"),
        xlabel="signal-to-noise ratio (dB)",
        ylabel="right song first (%), 95 % intervals over tracks",
        ylim=(0, 102),
        xticks=sorted(float(snr) for snr in systems[0].by_snr_db),
    )
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def _dir_far(protocol: ProtocolResult):
    systems = [s for s in _shown(protocol, (FLOAT, QUANTIZED, MFCC, LANDMARKS)) if s.curve]
    if not systems:
        return None
    figure, axis = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    for system in systems:
        colour, marker, line = STYLES[system.name]
        axis.plot(
            [100 * point.false_alarms for point in system.curve],
            [100 * point.found for point in system.curve],
            color=colour,
            marker=marker,
            markevery=10,
            linestyle=line,
            label=system.title,
        )
    axis.set(
        title=_title(protocol, "Found and accepted, against false alarms"),
        xlabel="unknown clips taken for a known song (%)",
        ylabel="known clips found and accepted (%)",
        xscale="log",
        xlim=(0.1, 100),
        ylim=(0, 102),
        xticks=[0.1, 1, 5, 10, 100],
    )
    axis.set_xticklabels(["0.1", "1", "5", "10", "100"])
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    return figure


def _models(protocol: ProtocolResult):
    systems = _shown(protocol, (FLOAT, QUANTIZED, SIMULATED, ENCRYPTED))
    if len(systems) < 2:
        return None
    figure, axis = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    groups = ["top-1", "top-3", "found and\naccepted", "unknown\nrejected"]
    width = 0.8 / len(systems)
    for place, system in enumerate(systems):
        shares = [system.top1, system.top3]
        if system.rejection is not None:
            shares += [system.rejection.found_and_accepted, system.rejection.unknown_rejected]
        centres = [n + width * (place - (len(systems) - 1) / 2) for n in range(len(shares))]
        axis.bar(
            centres,
            [100 * share.value for share in shares],
            width,
            yerr=[
                [100 * max(0.0, share.value - share.low) for share in shares],
                [100 * max(0.0, share.high - share.value) for share in shares],
            ],
            capsize=3,
            color=STYLES[system.name][0],
            edgecolor="white",
            ecolor="black",
            hatch=HATCHES[system.name],
            label=f"{system.title} ({system.clips_known + system.clips_unknown:,} clips)",
        )
    axis.set(
        title=_title(protocol, "One network, in the clear and encrypted"),
        ylabel="share of clips (%), 95 % intervals over tracks",
        ylim=(0, 135),
        yticks=range(0, 101, 20),
        xticks=range(len(groups)),
    )
    axis.set_xticklabels(groups)
    axis.grid(alpha=0.3, axis="y")
    axis.legend(loc="upper center", ncols=2, fontsize="small")
    return figure


def _cost(report: Report):
    most = max(row.cores for row in report.costs)
    rows = sorted(
        (row for row in report.costs if row.error is None and row.cores == most),
        key=lambda row: row.songs,
    )
    figure, (time, size) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    songs = [row.songs for row in rows]
    time.plot(songs, [r.compute_seconds for r in rows], "o-", color="#0b3c5d", label="server")
    time.plot(
        songs,
        [r.encrypt_seconds + r.decrypt_seconds for r in rows],
        "s--",
        color="#e0a030",
        label="client (encrypt, decrypt)",
    )
    time.set(
        title=f"Seconds a query ({most} cores)",
        xlabel="songs in the catalogue",
        ylabel="seconds",
        xscale="log",
        yscale="log",
    )
    for name, label, style in (
        ("evaluation_key_bytes", "evaluation keys (once)", "D-."),
        ("response_bytes", "response", "o-"),
        ("query_bytes", "query", "s--"),
    ):
        colours = {"D-.": "#66a182", "o-": "#0b3c5d", "s--": "#e0a030"}
        megabytes = [getattr(row, name) / 1e6 for row in rows]
        size.plot(songs, megabytes, style, color=colours[style], label=label)
    size.set(
        title="Megabytes that cross",
        xlabel="songs in the catalogue",
        ylabel="MB",
        xscale="log",
        yscale="log",
    )
    for axis in (time, size):
        axis.set_xticks(songs, [f"{n:,}" for n in songs])
        axis.minorticks_off()
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if axis is time else (1,)))
        axis.yaxis.set_major_formatter("{x:,g}")
        axis.margins(y=0.1)
        axis.grid(alpha=0.3)
        axis.legend()
    return figure
