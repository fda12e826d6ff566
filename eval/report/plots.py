"""The plots of an evaluation: each system has its own marker, line and grey value, and colour."""

from pathlib import Path

import matplotlib

from ..intervals import Interval
from ..predictions import ENCRYPTED, FLOAT, LANDMARKS, MFCC, QUANTIZED, SIMULATED
from .schema import ProtocolResult, Report, System

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import LogLocator  # noqa: E402

STYLES = {
    FLOAT: ("#555555", "s", ":"),
    QUANTIZED: ("#0b3c5d", "o", "-"),
    SIMULATED: ("#7aa6c2", "v", "-."),
    ENCRYPTED: ("#d1495b", "D", "-"),
    MFCC: ("#e0a030", "^", "--"),
    LANDMARKS: ("#66a182", "x", "-."),
}
"""Colour, marker and line; their luminance differs, too."""
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
                save(figure, folder / names[-1])
    if any(row.error is None for row in report.costs):
        names.append("cost.png")
        save(_cost(report), folder / names[-1])
    return names


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _shown(protocol: ProtocolResult, names: tuple[str, ...]) -> list[System]:
    systems = {system.name: system for system in protocol.systems}
    return [systems[name] for name in names if name in systems]


def _title(protocol: ProtocolResult, what: str) -> str:
    folds = f"{protocol.folds} folds" if protocol.folds > 1 else "one fold"
    return f"{what}: {PROTOCOL_TITLES[protocol.name]} ({folds})"


def _error_bars(shares: list[Interval]) -> list[list[float]]:
    """Percent below and above each value, as matplotlib wants them."""
    return [
        [100 * max(0.0, share.value - share.low) for share in shares],
        [100 * max(0.0, share.high - share.value) for share in shares],
    ]


def _by_snr(protocol: ProtocolResult) -> Figure:
    figure, axis = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    systems = _shown(protocol, (FLOAT, QUANTIZED, MFCC, LANDMARKS))
    for place, system in enumerate(systems):
        points = sorted((float(snr), share) for snr, share in system.by_snr_db.items())
        colour, marker, line = STYLES[system.name]
        nudge = 0.25 * (place - (len(systems) - 1) / 2)
        axis.errorbar(
            [snr + nudge for snr, _ in points],
            [100 * share.value for _, share in points],
            yerr=_error_bars([share for _, share in points]),
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


def _dir_far(protocol: ProtocolResult) -> Figure | None:
    systems = [s for s in _shown(protocol, (FLOAT, QUANTIZED, MFCC, LANDMARKS)) if s.curve]
    if not systems:
        return None
    figure, axis = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    for system in systems:
        colour, marker, line = STYLES[system.name]
        axis.plot(
            [100 * point.false_alarms for point in system.curve],
            [100 * point.identified for point in system.curve],
            color=colour,
            marker=marker,
            markevery=10,
            linestyle=line,
            label=system.title,
        )
    axis.set(
        title=_title(protocol, "Identification rate against false alarms"),
        xlabel="unknown clips accepted (%)",
        ylabel="known clips correctly identified (%)",
        xscale="log",
        xlim=(0.1, 100),
        ylim=(0, 102),
        xticks=[0.1, 1, 5, 10, 100],
    )
    axis.set_xticklabels(["0.1", "1", "5", "10", "100"])
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    return figure


def _models(protocol: ProtocolResult) -> Figure | None:
    systems = _shown(protocol, (FLOAT, QUANTIZED, SIMULATED, ENCRYPTED))
    if len(systems) < 2:
        return None
    figure, axis = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    groups = ["top-1", "top-3", "correctly\nidentified", "unknown\nrejected"]
    width = 0.8 / len(systems)
    for place, system in enumerate(systems):
        shares = [system.top1, system.top3]
        if system.rejection is not None:
            shares += [system.rejection.correctly_identified, system.rejection.unknown_rejected]
        centres = [n + width * (place - (len(systems) - 1) / 2) for n in range(len(shares))]
        axis.bar(
            centres,
            [100 * share.value for share in shares],
            width,
            yerr=_error_bars(shares),
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


def _cost(report: Report) -> Figure:
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
        [(r.encrypt_seconds or 0) + (r.decrypt_seconds or 0) for r in rows],
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
