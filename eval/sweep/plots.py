"""The plot of a sweep: what accuracy costs."""

from collections.abc import Collection, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Bbox

from ..report.plots import save
from .schema import VariantResult

LEAST_MISSED = 0.1
"""Percent that a plot of a sweep shows where nothing was missed."""
MISSED_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 90)


def draw_frontier(
    variants: Sequence[VariantResult], picture: Path, elsewhere: Collection[str] = ()
) -> None:
    """Plot a sweep: accuracy against seconds, against PBS and against bytes.

    Accuracy is DIR and top-1; where some answer with a song's number, and so have neither, the
    rates of correct identification and of unknown songs rejected at the shipped threshold.

    Args:
        variants: finished ones.
        picture: PNG to write.
        elsewhere: names of those whose seconds come from another machine, drawn hollow.
    """
    axes_of: tuple[tuple[str, str, list[float]], ...] = (
        ("server seconds a query", "log", [v.compute_seconds for v in variants]),
        ("PBS a query", "symlog", [v.pbs for v in variants]),
        ("response (MB)", "log", [v.response_bytes / 1e6 for v in variants]),
    )
    figures = [v.quantized_accuracy for v in variants]
    if all(v.answer == "logits" for v in variants):
        measures = (
            ("DIR at 1 % false alarms (%)", [q.dir_1 for q in figures]),
            ("top-1 (%)", [q.top1 for q in figures]),
        )
    else:
        measures = (
            ("correctly identified (%)", [q.correctly_identified for q in figures]),
            ("unknown songs rejected (%)", [q.unknown_rejected for q in figures]),
        )
    figure, rows = plt.subplots(
        2, 3, figsize=(14, 8.5), layout="constrained", sharex="col", sharey="row"
    )
    networks = [v.pbs > 0 for v in variants]
    for row, (what, shares) in zip(rows, measures, strict=True):
        misses = _missed(shares)
        for axis, (_, scale, places) in zip(row, axes_of, strict=True):
            for deep, colour, marker, label in (
                (False, "#0b3c5d", "o", "no PBS"),
                (True, "#d1495b", "D", "PBS"),
            ):
                chosen = [i for i, one in enumerate(networks) if one == deep]
                axis.scatter(
                    [places[i] for i in chosen],
                    [misses[i] for i in chosen],
                    edgecolors=colour,
                    facecolors=[
                        "white" if variants[i].name in elsewhere else colour for i in chosen
                    ],
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
    figure.suptitle(f"What accuracy costs: each marker one trained and compiled variant{hollow}")
    figure.draw_without_rendering()  # names are placed when everything else has its place
    for row, (_, shares) in zip(rows, measures, strict=True):
        for axis, (*_, places) in zip(row, axes_of, strict=True):
            _name_variants(axis, [v.name for v in variants], places, _missed(shares))
    save(figure, picture)


def _minor_label(axis: Axes, value: float, _: int) -> str:
    """Of a tick between powers of ten: where there is hardly more than one, 2 and 5 are told."""
    low, high = axis.get_xlim()
    return f"{value:g}" if high < 20 * low and f"{value:e}"[0] in "25" else ""


def _missed(shares: Sequence[float]) -> list[float]:
    return [max(100 * (1 - share), LEAST_MISSED) for share in shares]


def _name_variants(axis: Axes, names: list[str], xs: Sequence[float], ys: Sequence[float]) -> None:
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
