"""Reports as Markdown: the templates beside this module, and what they may call."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ...support.errors import ConfigError
from ...support.files import write_atomically
from ...support.units import readable_bytes
from ..intervals import Interval
from ..predictions import ENCRYPTED, FLOAT, LANDMARKS, MFCC, QUANTIZED
from .schema import TITLES, ProtocolResult, Report, System

SHORT = {
    FLOAT: "floating point",
    QUANTIZED: "quantized",
    ENCRYPTED: "real FHE",
    MFCC: "MFCC + LR",
    LANDMARKS: "landmarks",
}
"""The headline's systems, in order, as columns are titled."""


def render(report: Report, pictures: Collection[str], *, folder: str = "") -> str:
    """The whole report.

    Args:
        report: what to render.
        pictures: names of the PNG files drawn.
        folder: where they lie, relative to the Markdown file, with its slash.
    """

    def picture(name: str, title: str) -> str:
        return f"![{title}]({folder}{name})\n\n" if name in pictures else ""

    return render_template(
        "report.md.j2", **_glance(report), picture=picture, trained_ratio=_trained_ratio(report)
    )


def headline(report: Report) -> str:
    """The table of a report's main figures."""
    return render_template("headline.md.j2", **_glance(report))


def readme_part(report: Report, link: str) -> str:
    """The headline's main figures, with a line on where they come from."""
    return render_template("readme.md.j2", **_glance(report), link=link)


def render_template(name: str, **context: object) -> str:
    """A template of this package: single blank lines, one newline at the end."""
    text = _environment().get_template(name).render(context)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hushtune.eval.report"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        autoescape=False,  # Markdown, not HTML
    )
    filters: dict[str, Callable[..., Any]] = {
        "bytes": readable_bytes,
        "cell": _cell,
        "count": "{:,}".format,
        "interval": _interval,
        "percent": _percent,
        "short": SHORT.__getitem__,
        "sort_numbers": _sort_numbers,
        "title_of": TITLES.__getitem__,
    }
    environment.filters.update(filters)
    environment.globals |= {"query_cost": _query_cost, "nan": float("nan")}
    return environment


def _glance(report: Report) -> dict[str, object]:
    """What every template on a report needs: the headline is of its first protocol."""
    protocol = report.protocols[0]
    systems = {system.name: system for system in protocol.systems}
    columns: Sequence[System] = [systems[name] for name in SHORT if name in systems]
    return {"report": report, "protocol": protocol, "columns": columns}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _percent(share: float, digits: int = 1) -> str:
    return f"{share:.{digits}%}"


def _interval(share: Interval | None) -> str:
    return share.text if share is not None else "-"


def _sort_numbers(keys: Iterable[str]) -> list[str]:
    """Sorted by value where all are numbers; else as they are."""
    keys = list(keys)
    try:
        return sorted(keys, key=float)
    except ValueError:
        return keys


def _query_cost(protocol: ProtocolResult, system: str, name: str) -> str:
    """What a query costs: of what runs encrypted, under real FHE."""
    costs = {ENCRYPTED: protocol.fhe_costs, MFCC: protocol.mfcc_costs}.get(system)
    seconds = name == "compute_seconds"
    if costs is not None:
        value = getattr(costs, name)
        text = f"{value:.2g} s" if seconds else readable_bytes(value)
        return text if system == ENCRYPTED else f"{text} (FHE)"
    if system == LANDMARKS and seconds and protocol.landmark_seconds is not None:
        return f"{protocol.landmark_seconds:.2g} s (clear)"
    return "-"


def _trained_ratio(report: Report) -> float | None:
    """How much larger the response of trained weights is than that of random ones."""
    protocol = report.protocols[0]
    for row in report.costs:
        if protocol.fhe_costs and row.response_bytes and row.songs == protocol.known_tracks:
            return protocol.fhe_costs.response_bytes / row.response_bytes
    return None


def replace_part(file: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between two markers of a file.

    Args:
        file: UTF-8 text in which each marker stands once.
        begin: the first marker.
        end: the second one.
        text: whole lines.

    Raises:
        ConfigError: the file cannot be read or lacks the markers.
    """
    try:
        whole = file.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from error
    if whole.count(begin) != 1 or whole.count(end) != 1:
        raise ConfigError(
            f"{file}: expected the two lines '{begin}' and '{end}', between which the table goes."
        )
    before, rest = whole.split(begin)
    after = rest.split(end)[1]
    write_atomically(file, f"{before}{begin}\n{text}{end}{after}".encode())
