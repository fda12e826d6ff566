"""Two reports side by side: what differs, and whether by more than the noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.stats import bootstrap

from ..intervals import LEVEL, RESAMPLES, Interval
from .schema import ProtocolResult, Report, System

Named = TypeVar("Named", ProtocolResult, System)


@dataclass(frozen=True)
class Difference:
    """A measure in two reports.

    Attributes:
        protocol: of both.
        system: of both.
        measure: what was measured.
        first, second: the values.
        low, high: 95 % interval of second - first.
        paired: whether that interval comes from the same tracks in both, or from the two reports'
            own intervals, taken as independent (wider).
    """

    protocol: str
    system: str
    measure: str
    first: float
    second: float
    low: float
    high: float
    paired: bool

    @property
    def value(self) -> float:
        """Second minus first."""
        return self.second - self.first

    @property
    def exceeds_noise(self) -> bool:
        """Whether the interval leaves out zero."""
        return not self.low <= 0 <= self.high


def compare(first: Report, second: Report) -> list[Difference]:
    """Every share that both reports measured, protocol by protocol and system by system."""
    return [
        difference
        for one, other in _pairs(first.protocols, second.protocols)
        for a, b in _pairs(one.systems, other.systems)
        for difference in _system(one.name, a, b)
    ]


def costs(first: Report, second: Report) -> list[tuple[str, str, float, float]]:
    """(protocol, name, first, second) of every cost of a query that both measured."""
    return [
        (one.name, name, getattr(one.fhe_costs, name), getattr(other.fhe_costs, name))
        for one, other in _pairs(first.protocols, second.protocols)
        if one.fhe_costs and other.fhe_costs
        for name in type(one.fhe_costs).model_fields
        if name != "clips"
    ]


def _pairs(first: Sequence[Named], second: Sequence[Named]) -> Iterator[tuple[Named, Named]]:
    others = {item.name: item for item in second}
    return ((item, others[item.name]) for item in first if item.name in others)


def _system(protocol: str, first: System, second: System) -> Iterator[Difference]:
    yield _top1(protocol, first, second)
    measures = [("top-3", first.top3, second.top3)]
    measures += [
        (f"top-1 at {snr} dB", share, second.by_snr_db[snr])
        for snr, share in first.by_snr_db.items()
        if snr in second.by_snr_db
    ]
    if first.rejection is not None and second.rejection is not None:
        names = {
            "unknown_rejected": "unknown rejected",
            "falsely_rejected": "falsely rejected",
            "auroc": "AUROC",
            "oscr": "OSCR",
            "dir_1": "DIR, 1 %",
            "correctly_identified": "DIR, shipped",
        }
        measures += [
            (text, getattr(first.rejection, name), getattr(second.rejection, name))
            for name, text in names.items()
        ]
    for name, a, b in measures:
        if a is not None and b is not None:
            yield _independent(protocol, first.name, name, a, b)


def _independent(protocol: str, system: str, name: str, a: Interval, b: Interval) -> Difference:
    value = b.value - a.value
    below = np.hypot(b.value - b.low, a.high - a.value)
    above = np.hypot(b.high - b.value, a.value - a.low)
    return Difference(protocol, system, name, a.value, b.value, value - below, value + above, False)


def _top1(protocol: str, first: System, second: System) -> Difference:
    """Top-1, by the differences of single tracks where both reports have the same ones."""
    if set(first.track_top1) != set(second.track_top1) or len(first.track_top1) < 2:
        return _independent(protocol, first.name, "top-1", first.top1, second.top1)
    tracks = sorted(first.track_top1)
    differences = np.array([second.track_top1[t] - first.track_top1[t] for t in tracks])
    low = high = float(differences.mean())
    if differences.std() > 0:
        interval = bootstrap(
            (differences,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=LEVEL,
            method="percentile",
            random_state=np.random.default_rng(0),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Difference(
        protocol,
        first.name,
        "top-1",
        first.top1.value,
        second.top1.value,
        float(low),
        float(high),
        True,
    )
