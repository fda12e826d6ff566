"""Seconds of an artifact's server on fewer cores, and what more cores would bring.

Each number of cores is measured in a process of its own, pinned to them.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from ...support.errors import RunError
from ...support.machine import available_cores
from .processes import run_module

QUERIES = 3
ENOUGH_SECONDS = 20.0
"""No further query is timed once they took so long."""


def seconds_by_cores(artifact: Path, cores: Sequence[int]) -> dict[int, float]:
    """Median seconds a query on each number of cores.

    Args:
        artifact: its folder, with the client's, the server's and the owner's part.
        cores: numbers of cores, no more than there are.

    Raises:
        RunError: more cores than there are, or the process failed.
    """
    available = len(available_cores())
    if not all(1 <= count <= available for count in cores):
        raise RunError(f"cores={list(cores)}: give numbers from 1 to the {available} there are.")
    seconds = {}
    for count in cores:
        done = run_module(count, "hushtune.eval.bench.cores", str(artifact))
        if done.reason:
            raise RunError(f"{artifact}: timing it on {count} cores failed: {done.reason}")
        seconds[count] = float(done.output.splitlines()[-1])
    return seconds


def extrapolated(seconds: dict[int, float], cores: int) -> float | None:
    """Seconds on more cores than were measured, by Amdahl's law (1967).

    t(n) = s + p / n through the fewest and the most cores measured; an estimate, which knows
    nothing of memory bandwidth or of fewer PBS at once than cores.

    Args:
        seconds: by number of cores; None comes back where fewer than two were measured.
        cores: how many.
    """
    if len(seconds) < 2:
        return None
    few, many = min(seconds), max(seconds)
    parallel = max(0.0, (seconds[few] - seconds[many]) / (1 / few - 1 / many))
    serial = max(0.0, seconds[few] - parallel / few)
    return serial + parallel / cores


def _time(artifact: Path) -> float:
    from ...fhe.client import Client
    from ...fhe.costs import measure_query
    from ...fhe.server import Server

    client, server = Client(artifact), Server(artifact)
    keys = None
    if not client.fresh_keys:
        client.create_keys()
        keys = server.load_keys(client.evaluation_keys())
    seconds: list[float] = []
    for image in np.load(artifact / "owner" / "calibration.npy"):
        _, costs = measure_query(
            partial(client.encrypt_features, image), lambda query: server.run(query, keys), len
        )
        seconds.append(costs.compute_seconds or 0.0)
        if len(seconds) > QUERIES or sum(seconds[1:]) > ENOUGH_SECONDS:
            break
    return median(seconds[1:])  # the first one prepares circuit and keys


if __name__ == "__main__":
    print(_time(Path(sys.argv[1])))
