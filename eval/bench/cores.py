"""Seconds of an artifact's server on fewer cores, and what more cores would bring.

Each number of cores is measured in a process of its own, pinned to them.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...support.errors import RunError
from .cost import run_on

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
    available = len(os.sched_getaffinity(0))
    if not all(1 <= count <= available for count in cores):
        raise RunError(f"cores={list(cores)}: give numbers from 1 to the {available} there are.")
    seconds = {}
    for count in cores:
        done = run_on(count, [sys.executable, "-m", "hushtune.eval.bench.cores", str(artifact)])
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RunError(f"{artifact}: timing it on {count} cores failed: {last}")
        seconds[count] = float(json.loads(done.stdout.splitlines()[-1]))
    return seconds


def extrapolated(seconds: dict[int, float], cores: int) -> float | None:
    """Seconds on more cores than were measured, by Amdahl's law (1967).

    t(n) = s + p / n through the fewest and the most cores measured; an estimate, which knows
    nothing of memory bandwidth or of fewer look-ups at once than cores.

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
    from ...fhe.server import Server
    from ...support.timing import timed

    client, server = Client(artifact), Server(artifact)
    keys = None
    if not client.fresh_keys:
        client.create_keys()
        keys = server.load_keys(client.evaluation_keys())
    images = np.load(artifact / "owner" / "calibration.npy")
    server.run(client.encrypt_features(images[0]), keys)  # the first one prepares circuit and keys
    seconds: list[float] = []
    while len(seconds) < QUERIES and sum(seconds) < ENOUGH_SECONDS:
        query = client.encrypt_features(images[len(seconds)])
        seconds.append(timed(lambda query=query: server.run(query, keys))[1])
    return float(np.median(seconds))


if __name__ == "__main__":
    print(json.dumps(_time(Path(sys.argv[1]))))
