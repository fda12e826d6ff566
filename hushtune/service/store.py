"""What the service keeps: evaluation keys, queries and responses.

```
DATA/store.sqlite3         records
DATA/keys/DIGEST           evaluation keys
DATA/responses/DIGEST      encrypted responses
DATA/instances/ID/         one folder a server process: a lock, and files being written
```

An id is a capability: whoever knows it may use what it names. Neither records nor file names hold
it, only its SHA-256. A file is written in the instance's folder, flushed, and renamed within the
transaction that records it, so a process that dies leaves the old state or the new one. Several
server processes may share a folder on one machine.
"""

import os
import sqlite3
import time
from pathlib import Path

from hushtune.service.clients import Client
from hushtune.service.database import Database
from hushtune.service.errors import Refusal, unknown_key
from hushtune.service.instance import Instance
from hushtune.service.records import (
    KeyRecord,
    QueryRecord,
    StoreLimits,
    Usage,
    bytes_on_disk,
    digest_of,
    new_id,
)
from hushtune.support.errors import ServiceError

HOUR_SECONDS = 3600
_TURNS = """
WITH mine AS (SELECT instance FROM queries WHERE digest = ?),
turns AS (
    SELECT digest, number, ROW_NUMBER() OVER (PARTITION BY share ORDER BY number) AS turn
    FROM queries WHERE state = 'queued' AND instance = (SELECT instance FROM mine)
)
SELECT COUNT(*) FROM turns AS other JOIN turns AS own
ON own.digest = ? AND (other.turn, other.number) <= (own.turn, own.number)
"""
"""How many queries come first, and this one, where clients take turns."""


class Store:
    """The data folder of the service.

    Args:
        folder: made where it does not exist, readable by its owner alone.
        artifact: id of the artifact served; keys of other artifacts are not seen.
        limits: how much is kept.

    Raises:
        ServiceError: the folder cannot be used, or was written by a newer Hushtune.
    """

    def __init__(self, folder: Path, artifact: str, limits: StoreLimits):
        self.folder, self.artifact, self.limits = folder, artifact, limits
        self.keys, self.responses = folder / "keys", folder / "responses"
        self.evicted = 0
        try:
            for path in (folder, self.keys, self.responses, folder / "instances"):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = Database(folder / "store.sqlite3")
            with self._db.changing():
                self.instance = Instance(folder / "instances")
        except (OSError, sqlite3.Error) as error:
            raise ServiceError(f"{folder}: cannot be used as data folder ({error}).") from error
        self.sweep()

    def close(self) -> None:
        """End this process's use of the folder; its unfinished queries fail."""
        with self._db.changing():
            self._fail_queries_of_the_dead(self.instance.sweep() - {self.instance.id})
            self.instance.close()
        self._db.close()

    def add_key(self, partial: Path, client: Client, key_id: bytes) -> tuple[str, KeyRecord]:
        """Keep checked evaluation keys; make room for them.

        Args:
            partial: the flushed file, which is moved.
            client: who sent them.
            key_id: the key set's id in its envelope.

        Returns:
            The id that names them from now on, and their record.

        Raises:
            Refusal: there is no room even without all keys that are not in use.
        """
        identifier, now = new_id(), time.time()
        digest, size, disk = digest_of(identifier), partial.stat().st_size, bytes_on_disk(partial)
        record = KeyRecord(digest, key_id, size, now, now + self.limits.key_seconds)
        with self._db.changing():
            self._expire(now)
            self._evict_own(client)
            self._make_room(client, disk, keys=1)
            self._db.change(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(digest, client.owner, client.share, self.artifact, key_id.hex(), size, disk),
                *(now, record.expires, now),
            )
            _move(partial, self.keys / digest)
        return identifier, record

    def key(self, identifier: str, owner: str) -> KeyRecord | None:
        """A client's keys; None where there are none that live."""
        row = self._db.one(
            "SELECT digest, key_id, bytes, created, expires FROM keys "
            "WHERE digest = ? AND owner = ? AND artifact = ? AND expires > ?",
            *(digest_of(identifier), owner, self.artifact, time.time()),
        )
        return KeyRecord(row[0], bytes.fromhex(row[1]), *row[2:]) if row else None

    def delete_key(self, identifier: str, owner: str) -> bool:
        """Remove keys, their queries and responses; False where there are none."""
        with self._db.changing():
            record = self.key(identifier, owner)
            self._drop_keys([record.digest] if record else [])
        return record is not None

    def add_query(self, client: Client, key: KeyRecord | None) -> tuple[str, int]:
        """Record a query that waits; `key` is None where the artifact needs none.

        Returns:
            Its id and its position.

        Raises:
            Refusal: this process's queue is full, or the client has its share of it or of the
                hour; or the key is gone.
        """
        identifier, now, limits = new_id(), time.time(), self.limits
        digest = digest_of(identifier)
        with self._db.changing():
            if key and not self._db.one("SELECT 1 FROM keys WHERE digest = ?", key.digest):
                raise unknown_key()
            mine = self._count("share = ? AND state IN ('queued', 'running')", client.share)
            if mine >= limits.queue_per_client:
                raise Refusal(
                    429,
                    "too_many_queries",
                    f"{mine} queries of yours wait or run already; {limits.queue_per_client} may.",
                )
            self._check_hour(client, now)
            waiting = self.waiting()
            if waiting >= limits.queue:
                words = f"{waiting} queries wait already; {limits.queue} may."
                raise Refusal(503, "queue_full", words)
            self._db.change(
                "INSERT INTO queries (digest, key, owner, share, artifact, instance, state, "
                "created) VALUES (?, ?, ?, ?, ?, ?, 'queued', ?)",
                *(digest, key.digest if key else None, client.owner, client.share),
                *(self.artifact, self.instance.id, now),
            )
            self._db.change("INSERT INTO asked VALUES (?, ?)", client.share, now)
            if key:
                self._db.change("UPDATE keys SET used = ? WHERE digest = ?", now, key.digest)
            return identifier, self._position(digest)

    def query(self, identifier: str, owner: str) -> QueryRecord | None:
        """A client's query; None where there is none."""
        digest = digest_of(identifier)
        row = self._db.one(
            "SELECT state, created, started, ended, response_bytes, error, message FROM queries "
            "WHERE digest = ? AND owner = ? AND artifact = ?",
            *(digest, owner, self.artifact),
        )
        return QueryRecord(digest, row[0], self._position(digest), *row[1:]) if row else None

    def start_query(self, digest: str) -> bool:
        """Note that a query runs; False if it was deleted meanwhile."""
        with self._db.changing():
            started = self._db.change(
                "UPDATE queries SET state = 'running', started = ? "
                "WHERE digest = ? AND state = 'queued'",
                *(time.time(), digest),
            )
        return bool(started)

    def finish_query(self, digest: str, partial: Path) -> bool:
        """Keep a query's response, make room for it; False if the query was deleted meanwhile.

        Raises:
            Refusal: there is no room even without all keys that are not in use.
        """
        size, disk = partial.stat().st_size, bytes_on_disk(partial)
        with self._db.changing():
            found = self._db.one(
                "SELECT owner, share FROM queries WHERE digest = ? AND state = 'running'", digest
            )
            if found:
                self._make_room(Client(*found), disk, keys=0)
                self._db.change(
                    "UPDATE queries SET state = 'done', ended = ?, response_bytes = ?, disk = ? "
                    "WHERE digest = ?",
                    *(time.time(), size, disk, digest),
                )
                _move(partial, self.responses / digest)
        partial.unlink(missing_ok=True)
        return bool(found)

    def fail_query(self, digest: str, error: str, message: str) -> None:
        """Note that a query ended without a response, and why."""
        with self._db.changing():
            self._db.change(
                "UPDATE queries SET state = 'failed', ended = ?, error = ?, message = ? "
                "WHERE digest = ? AND state IN ('queued', 'running')",
                *(time.time(), error, message, digest),
            )

    def delete_query(self, identifier: str, owner: str) -> bool:
        """Remove a query and its response; False where there is none."""
        with self._db.changing():
            record = self.query(identifier, owner)
            self._drop_queries([record.digest] if record else [])
        return record is not None

    def waiting(self) -> int:
        """How many queries wait in this process."""
        return self._count("instance = ? AND state = 'queued'", self.instance.id)

    def not_waiting(self, digests: set[str]) -> set[str]:
        """Those of some queries that do not wait in this process, or are gone."""
        here = "SELECT digest FROM queries WHERE instance = ? AND state = 'queued'"
        return digests - set(self._db.column(here, self.instance.id))

    def any_left(self, digests: list[str]) -> bool:
        """Whether any of some queries is not gone."""
        return any(self._count("digest = ?", digest) for digest in digests)

    def usage(self) -> Usage:
        """What is stored, for all artifacts."""
        return Usage(*self._db.one("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM keys"))

    def _count(self, condition: str, *values: object) -> int:
        return self._db.number(f"SELECT COUNT(*) FROM queries WHERE {condition}", *values)

    def _position(self, digest: str) -> int:
        return self._db.number(_TURNS, digest, digest)

    def _check_hour(self, client: Client, now: float) -> None:
        limit = self.limits.queries_per_hour
        count, first = self._db.one(
            "SELECT COUNT(*), MIN(at) FROM asked WHERE share = ? AND at > ?",
            *(client.share, now - HOUR_SECONDS),
        )
        if limit and count >= limit:
            words = f"{count} queries of yours came within an hour; {limit} may."
            raise Refusal(429, "hour_is_full", words, first + HOUR_SECONDS - now)

    def sweep(self) -> None:
        """Remove what is expired, what no record names, and what dead processes left."""
        with self._db.changing():
            self._expire(time.time())
            self._fail_queries_of_the_dead(self.instance.sweep())
            for folder, table in ((self.keys, "keys"), (self.responses, "queries")):
                named = set(self._db.column(f"SELECT digest FROM {table}"))
                self._db.remove(*(path for path in folder.iterdir() if path.name not in named))
            stored = self._db.column("SELECT digest FROM keys")
            self._drop_keys([one for one in stored if not (self.keys / one).is_file()])

    def _fail_queries_of_the_dead(self, alive: set[str]) -> None:
        marks = ", ".join("?" * len(alive))
        self._db.change(
            "UPDATE queries SET state = 'failed', ended = ?, error = 'server_stopped', message = ? "
            f"WHERE state IN ('queued', 'running') AND instance NOT IN ({marks})",
            time.time(),
            "The server process stopped before it had computed the query. Send it again.",
            *alive,
        )

    def _expire(self, now: float) -> None:
        old = now - self.limits.retention
        self._drop_keys(self._db.column("SELECT digest FROM keys WHERE expires <= ?", now))
        self._drop_queries(self._db.column("SELECT digest FROM queries WHERE ended <= ?", old))
        self._db.change("DELETE FROM asked WHERE at <= ?", now - HOUR_SECONDS)

    def _evict_own(self, client: Client) -> None:
        """Remove what a client has too much, as it is about to have one key set more."""
        limit, idle = self.limits.keys_per_client, self._idle("share = ?", client.share)
        mine = self._db.number("SELECT COUNT(*) FROM keys WHERE share = ?", client.share)
        surplus = max(0, mine + 1 - limit)
        if surplus > len(idle):
            words = f"{limit} key sets of yours are in use; no more may be."
            raise Refusal(429, "too_many_keys", words)
        self._evict([digest for digest, _ in idle[:surplus]])

    def _make_room(self, client: Client, disk: int, *, keys: int) -> None:
        """Make room for a client: by its own keys first, only then by others'."""
        number, used = self._db.one("SELECT COUNT(*), COALESCE(SUM(disk), 0) FROM keys")
        used += self._db.number("SELECT COALESCE(SUM(disk), 0) FROM queries")
        chosen: list[str] = []
        idle = [*self._idle("share = ?", client.share), *self._idle("share != ?", client.share)]
        for digest, size in idle:
            if self._fits(number + keys, used + disk):
                break
            chosen.append(digest)
            number, used = number - 1, used - size
        if not self._fits(number + keys, used + disk):
            words = "All stored keys are in use and there is no room for more."
            raise Refusal(507, "store_full", words, 30)
        self._evict(chosen)

    def _fits(self, number: int, used: int) -> bool:
        return number <= self.limits.keys and used <= self.limits.bytes

    def _idle(self, condition: str, *values: object) -> list[tuple[str, int]]:
        """(digest, bytes with responses) of keys no query waits for, least recently used first."""
        rows = self._db.rows(
            "SELECT digest, disk + (SELECT COALESCE(SUM(disk), 0) FROM queries "
            f"WHERE key = k.digest) FROM keys AS k WHERE {condition} AND NOT EXISTS "
            "(SELECT 1 FROM queries WHERE key = k.digest AND state IN ('queued', 'running')) "
            "ORDER BY used",
            *values,
        )
        return [(digest, disk) for digest, disk in rows]

    def _evict(self, digests: list[str]) -> None:
        self._drop_keys(digests)
        self.evicted += len(digests)

    def _drop_keys(self, digests: list[str]) -> None:
        for digest in digests:
            self._drop_queries(self._db.column("SELECT digest FROM queries WHERE key = ?", digest))
            self._db.change("DELETE FROM keys WHERE digest = ?", digest)
            self._db.remove(self.keys / digest)

    def _drop_queries(self, digests: list[str]) -> None:
        for digest in digests:
            self._db.change("DELETE FROM queries WHERE digest = ?", digest)
            self._db.remove(self.responses / digest)


def _move(partial: Path, path: Path) -> None:
    os.replace(partial, path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
