"""A load test on the loopback: a server of its own, clients with keys of their own, real FHE."""

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from hushtune.client import AsyncRemoteClient
from hushtune.support.errors import ServiceError

NOISE_SECONDS, NOISE_RATE_HZ = 10, 16_000
SAMPLE_EVERY = 0.2
START_SECONDS = 300


@dataclass(frozen=True)
class LoadRow:
    """What a number of clients at once gave.

    Attributes:
        clients: that asked one query after another.
        queries: answered, of all clients together; warm-up queries excluded.
        queries_a_minute: of all clients together.
        p50_seconds: half of the queries were answered faster, from the clip to the answer.
        p95_seconds: 95 % of them.
        compute_seconds: median that the server computed on one.
        server_bytes: resident memory of the server process, its highest.
        worker_bytes: resident memory of all workers together, its highest.
        growth_bytes: by how much both together, at their lowest (a computation's scratch memory
            comes and goes), grew from the second quarter to the last; the first one warms up.
    """

    clients: int
    queries: int
    queries_a_minute: float
    p50_seconds: float
    p95_seconds: float
    compute_seconds: float
    server_bytes: int
    worker_bytes: int
    growth_bytes: int


def measure_load(
    artifact: Path,
    *,
    clients: Sequence[int] = (1, 2, 8),
    queries: int = 5,
    options: Sequence[str] = (),
    announce: Callable[[str], None] = print,
) -> list[LoadRow]:
    """Serve an artifact on the loopback and let clients ask at once.

    Every client has keys of its own and asks about noise: what a query costs does not depend on
    what it holds.

    Args:
        artifact: its folder, with client and server part.
        clients: how many at once, one row each.
        queries: of each client, after one that warms up.
        options: of ``hushtune serve``.
        announce: told in one line each what happens.

    Raises:
        ServiceError: the server did not start, or a query failed.
    """
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(NOISE_SECONDS * NOISE_RATE_HZ).astype(np.float32) / 8
    rows = []
    with tempfile.TemporaryDirectory(prefix="hushtune-load-") as name:
        folder = Path(name)
        with _serving(artifact, folder / "service", options) as (url, process):
            for count in clients:
                announce(f"{count} client{'s' * (count > 1)}, {queries} queries each ...")
                rows.append(
                    asyncio.run(_measure(url, process, folder, count, queries, (noise, 16_000)))
                )
    return rows


async def _measure(
    url: str,
    process: psutil.Process,
    folder: Path,
    count: int,
    queries: int,
    clip: tuple[NDArray[np.float32], int],
) -> LoadRow:
    async with AsyncExitStack() as stack:
        remotes = [
            await stack.enter_async_context(AsyncRemoteClient(url, folder=folder / f"client-{n}"))
            for n in range(count)
        ]
        for remote in remotes:  # keys are made and opened one after another, as they are in life
            await remote.identify(clip)
        seconds: list[float] = []
        computed: list[float] = []

        async def ask(remote: AsyncRemoteClient) -> None:
            for _ in range(queries):
                started = time.monotonic()
                answer = await remote.identify(clip)
                seconds.append(time.monotonic() - started)
                computed.append(answer.costs.compute_seconds or 0.0)

        with _Memory(process) as memory:
            started = time.monotonic()
            await asyncio.gather(*map(ask, remotes))
            elapsed = time.monotonic() - started
    p50, p95 = np.percentile(seconds, [50, 95])
    return LoadRow(
        clients=count,
        queries=len(seconds),
        queries_a_minute=60 * len(seconds) / elapsed,
        p50_seconds=float(p50),
        p95_seconds=float(p95),
        compute_seconds=float(np.median(computed)),
        server_bytes=max(server for server, _ in memory.samples),
        worker_bytes=max(workers for _, workers in memory.samples),
        growth_bytes=memory.growth(),
    )


class _Memory:
    """Watches a server's resident memory and that of its workers."""

    def __init__(self, process: psutil.Process):
        self.process = process
        self.samples: list[tuple[int, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Memory":
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._sample()

    def growth(self) -> int:
        """Bytes between the lowest of the second and of the last quarter."""
        total = [sum(sample) for sample in self.samples]
        quarter = max(1, len(total) // 4)
        return min(total[-quarter:]) - min(total[quarter : 2 * quarter] or total)

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_EVERY):
            self._sample()

    def _sample(self) -> None:
        workers = 0
        for child in self.process.children(recursive=True):
            try:
                workers += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self.samples.append((self.process.memory_info().rss, workers))


@contextmanager
def _serving(
    artifact: Path, data: Path, options: Sequence[str]
) -> Iterator[tuple[str, psutil.Process]]:
    """A server on a free port of the loopback: its address and its process."""
    command = [sys.executable, "-m", "hushtune", "serve", str(artifact), "--port", "0"]
    server = subprocess.Popen(
        [*command, "--data", str(data), "--queries-per-hour", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log: list[str] = []
    ready = threading.Event()

    assert server.stdout is not None and server.stderr is not None
    output, errors = server.stdout, server.stderr

    def read_log() -> None:
        for line in errors:
            log.append(line)
            if '"worker ready"' in line:
                ready.set()
        ready.set()

    threading.Thread(target=read_log, daemon=True).start()
    try:
        words = output.readline().split()
        if not words or not ready.wait(START_SECONDS) or server.poll() is not None:
            raise ServiceError(f"The server did not start: {_last_message(log)}")
        yield words[-1], psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


def _last_message(log: list[str]) -> str:
    for line in reversed(log):
        try:
            event = json.loads(line)
        except ValueError:
            return line.strip()
        return str(event.get("why") or event.get("event"))
    return "no message"
