"""From a ciphertext to a response: what stands between the endpoints, the store and the workers."""

import asyncio
import contextlib
import logging
import sqlite3
import time
from pathlib import Path

from hushtune.fhe.artifact import Artifact
from hushtune.fhe.envelope import DIGEST, HEADER_BYTES, KEY_ID
from hushtune.fhe.envelope import digest_of as digest_of_envelope
from hushtune.service.clients import Client
from hushtune.service.errors import Refusal, disk_full, keys_needed, keys_not_used
from hushtune.service.logs import note
from hushtune.service.metrics import Metrics
from hushtune.service.records import KeyRecord, QueryRecord, StoreLimits, digest_of
from hushtune.service.settings import ServiceSettings
from hushtune.service.store import Store
from hushtune.service.worker import CheckKeys, Failure, RunQuery, WorkerSettings
from hushtune.service.workers import Workers, threads_per_worker
from hushtune.support.errors import ServiceError

LINGER_SECONDS = CLOSING_SECONDS = 10.0


class Queries:
    """Checks keys and computes queries with one artifact.

    Args:
        artifact: its client and server parts.
        settings: the service's.

    Raises:
        ServiceError: the data folder or the artifact cannot be used.
    """

    def __init__(self, artifact: Artifact, settings: ServiceSettings):
        self.artifact, self.settings = artifact, settings
        self.metrics = Metrics()
        if artifact.manifest.costs is None:
            raise ServiceError(
                f"{artifact.folder}: what a query costs was never measured. Export it again with "
                "'hushtune compile'."
            )
        self.costs = artifact.manifest.costs
        self.expected_seconds = self.costs.compute_seconds
        self.keyless = artifact.manifest.circuit.pbs == 0
        """Whether queries are computed without evaluation keys; then none are taken."""
        self.stopping = False
        limits = StoreLimits(
            bytes=settings.store_bytes,
            keys=settings.keys,
            keys_per_client=settings.keys_per_client,
            key_seconds=86_400 * settings.key_days,
            retention=settings.retention,
            queue=settings.queue,
            queue_per_client=settings.queue_per_client,
            queries_per_hour=settings.queries_per_hour,
        )
        self.store = Store(settings.data, artifact.id.hex(), limits)
        self.workers = Workers(
            WorkerSettings(
                artifact=artifact.folder.resolve(),
                layout=settings.data / f"layout-{artifact.id.hex()[:32]}.json",
                threads=threads_per_worker(settings.workers),
                keys_in_memory=settings.keys_in_memory,
                scratch=self.store.instance.folder,
            ),
            settings.workers,
            settings.query_timeout,
            settings.longest_wait,
        )
        self._running: set[asyncio.Task[None]] = set()
        self._unfetched: set[str] = set()
        """Queries that were done in the last `LINGER_SECONDS` and whose response nobody fetched."""
        self._sweeper: asyncio.Task[None] | None = None
        self._measured = False

    def start(self) -> None:
        """Start the workers and the periodic sweep."""
        self.workers.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def drain(self) -> None:
        """Take nothing new, fail what waits, let what runs end within the grace time."""
        self.stopping = True
        await self.workers.stop(self.settings.grace)
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSING_SECONDS)

    async def linger(self) -> None:
        """Wait a little for the clients of the responses that came last to fetch them."""
        while await asyncio.to_thread(self.store.any_left, list(self._unfetched)):
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        """Drain, and end the use of the store."""
        await self.drain()
        if self._sweeper:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        self.store.close()

    def require_ready(self) -> None:
        """Refuse while nothing can be computed."""
        if self.stopping:
            raise Refusal(503, "stopping", "The server is stopping. Try again later.", 30)
        if self.workers.ready == 0:
            why = " A worker could not be started: see the log." if self.workers.failure else ""
            raise Refusal(503, "not_ready", f"No worker is ready yet.{why}", 5)

    def require_keys(self, uploaded: bool) -> None:
        """Refuse keys where none are needed, and queries without keys where some are."""
        if uploaded and self.keyless:
            raise keys_not_used()
        if not uploaded and not self.keyless:
            raise keys_needed()

    async def require_room(self) -> None:
        """Refuse while the queue is full; what was deleted counts until it has left the queue."""
        waiting = len(self.workers.queue.queries())
        if max(waiting, await asyncio.to_thread(self.store.waiting)) >= self.settings.queue:
            raise Refusal(
                503,
                "queue_full",
                f"{self.settings.queue} queries wait already.",
                self.expected_seconds,
            )

    async def check_keys(self, path: Path, client: Client) -> bytes:
        """Open uploaded keys in a worker.

        Returns:
            The key set's id.

        Raises:
            Refusal: not this artifact's keys, or they could not be checked.
        """
        outcome = await self.workers.submit(CheckKeys(path), share=client.share)
        if isinstance(outcome, bytes):
            return outcome
        if not isinstance(outcome, Failure):
            raise TypeError(f"outcome={outcome!r}")
        if outcome.refused:
            raise Refusal(422, outcome.code, outcome.message)
        if outcome.code == "disk_full":
            raise disk_full()
        raise Refusal(503, outcome.code, f"The keys were not checked. {outcome.message}", 5)

    async def submit(self, client: Client, key: KeyRecord | None, query: bytes) -> tuple[str, int]:
        """Check a query, record and queue it.

        Returns:
            Its id and position.

        Raises:
            Refusal: not a query of these keys, or the queue or the client's share is full.
        """
        words = self.artifact.manifest.encryption.query_words
        check_query(query, key.key_id if key else None, words)
        await self.require_room()
        try:
            identifier, position = await asyncio.to_thread(self.store.add_query, client, key)
        except Refusal as refusal:
            if refusal.code in ("queue_full", "too_many_queries"):
                refusal.retry_after = self.expected_seconds
            raise
        computing = self._compute(digest_of(identifier), client, key, query)
        task = asyncio.create_task(computing)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return identifier, position

    async def delete_query(self, identifier: str, owner: str) -> bool:
        """Remove a query and its response; False where there is none."""
        deleted = await asyncio.to_thread(self.store.delete_query, identifier, owner)
        await self._drop_deleted()
        return deleted

    async def delete_key(self, identifier: str, owner: str) -> bool:
        """Remove keys, their queries and responses; False where there are none."""
        deleted = await asyncio.to_thread(self.store.delete_key, identifier, owner)
        await self._drop_deleted()
        return deleted

    def seconds_until_done(self, position: int) -> float:
        """When a query at this position is likely to be done."""
        rounds = -(-position // self.settings.workers)
        return round(self.expected_seconds * (rounds + (self.workers.busy > 0)), 2)

    def response(self, record: QueryRecord) -> Path:
        """The response's file, for somebody who fetches it.

        Raises:
            Refusal: the query is not done, or failed.
        """
        if record.state == "failed":
            raise Refusal(410, record.error or "failed", record.message or "The query failed.")
        if record.state != "done":
            raise Refusal(409, "not_done", f"The query is {record.state}.", self.expected_seconds)
        self._unfetched.discard(record.digest)
        return self.store.responses / record.digest

    async def metrics_text(self) -> bytes:
        """The metrics, with the gauges as they are now."""
        usage = await asyncio.to_thread(self.store.usage)
        self.metrics.keys.set(usage.keys)
        self.metrics.key_bytes.set(usage.bytes)
        self.metrics.keys_evicted.set(self.store.evicted)
        self.metrics.waiting.set(await asyncio.to_thread(self.store.waiting))
        self.metrics.workers_ready.set(self.workers.ready)
        self.metrics.workers_busy.set(self.workers.busy)
        self.metrics.workers_replaced.set(self.workers.replaced)
        return self.metrics.text()

    async def _compute(
        self, digest: str, client: Client, key: KeyRecord | None, query: bytes
    ) -> None:
        submitted, began = time.monotonic(), 0.0
        partial = self.store.instance.partial("response")

        def begin() -> bool:
            nonlocal began
            began = time.monotonic()
            return self.store.start_query(digest)

        task = RunQuery(query, self.store.keys / key.digest if key else None, partial)
        try:
            outcome = await self.workers.submit(task, begin, digest, client.share)
            seconds = time.monotonic() - began
            result = await self._record(digest, outcome, partial)
            if result == "done":
                self._learn(seconds)
        except (sqlite3.Error, OSError) as error:
            result = "not_recorded"
            note("query not recorded", level=logging.ERROR, why=str(error))
            with contextlib.suppress(sqlite3.Error):
                await asyncio.to_thread(
                    self.store.fail_query, digest, "failed", "The response could not be stored."
                )
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        self.metrics.queries.labels(result).inc()
        if began:
            self.metrics.wait_seconds.observe(began - submitted)
        note(
            "query",
            outcome=result,
            waited=round((began or time.monotonic()) - submitted, 3),
            computed=round(time.monotonic() - began, 3) if began else 0,
        )

    async def _record(self, digest: str, outcome: object, partial: Path) -> str:
        """Keep what came of a query; a word for it."""
        kept = False
        try:
            if outcome is None and partial.exists():
                kept = await asyncio.to_thread(self.store.finish_query, digest, partial)
        except Refusal as refusal:
            outcome = Failure(refusal.code, refusal.message)
        if isinstance(outcome, Failure):
            await asyncio.to_thread(self.store.fail_query, digest, outcome.code, outcome.message)
            return outcome.code
        if not kept:
            return "deleted"
        self._unfetched.add(digest)
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._unfetched.discard, digest)
        return "done"

    async def _drop_deleted(self) -> None:
        """Let go of queries that wait for a worker and were deleted."""
        if names := self.workers.waiting():
            self.workers.drop(await asyncio.to_thread(self.store.not_waiting, names))

    def _learn(self, seconds: float) -> None:
        self.metrics.query_seconds.observe(seconds)
        weight = 0.2 if self._measured else 1.0
        self.expected_seconds += weight * (seconds - self.expected_seconds)
        self._measured = True

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self.settings.sweep_every)
            try:
                await asyncio.to_thread(self.store.sweep)
                await self._drop_deleted()
            except (sqlite3.Error, OSError) as error:
                note("sweep failed", level=logging.ERROR, why=str(error))


def check_query(query: bytes, key_id: bytes | None, words: int) -> None:
    """Refuse what no honest client sends; kind and artifact in the header are checked before.

    Args:
        query: an envelope.
        key_id: of the keys to compute with; None where none are needed.
        words: 64-bit ones, in each of the artifact's queries.
    """
    payload = memoryview(query)[HEADER_BYTES:]
    if len(query) < HEADER_BYTES or digest_of_envelope(query, payload) != query[DIGEST]:
        raise Refusal(422, "unreadable", "query: truncated or damaged (SHA-256 differs).")
    if key_id is not None and query[KEY_ID] != key_id:
        raise Refusal(422, "other_keys", "query: encrypted with other keys than these.")
    if len(payload) != 8 * words:
        raise Refusal(422, "unreadable", "query: not encrypted with this artifact's parameters.")
