"""What the service keeps: evaluation keys, queries and responses, in SQLite and files.

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

import hashlib
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hushtune.support.errors import ServiceError

from hushtune.service.errors import Refusal
from hushtune.service.instance import Instance

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE keys (
    digest TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    artifact TEXT NOT NULL,
    key_id TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL,
    used REAL NOT NULL
);
CREATE TABLE queries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL UNIQUE,
    key TEXT NOT NULL REFERENCES keys (digest),
    owner TEXT NOT NULL,
    instance TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    response_bytes INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    message TEXT
);
CREATE INDEX queries_by_key ON queries (key);
CREATE INDEX queries_by_state ON queries (state);
"""
BUSY_SECONDS = 20


@dataclass(frozen=True)
class KeyRecord:
    """A client's evaluation keys as stored."""

    digest: str
    owner: str
    key_id: bytes
    bytes: int
    created: float
    expires: float


@dataclass(frozen=True)
class QueryRecord:
    """A query as stored. `position` is 0 unless it waits; then 1 is next."""

    digest: str
    key: str
    state: str
    position: int
    created: float
    started: float | None
    ended: float | None
    response_bytes: int
    error: str | None
    message: str | None


@dataclass(frozen=True)
class Usage:
    """What the store holds."""

    keys: int
    bytes: int


def new_id() -> str:
    """An id that nobody guesses: 256 random bits."""
    return secrets.token_urlsafe(32)


def digest_of(identifier: str) -> str:
    """What stands for an id in records and file names."""
    return hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()


class Store:
    """The data folder of the service.

    Args:
        folder: made where it does not exist, readable by its owner alone.
        artifact: id of the artifact served; keys of other artifacts are not seen.
        limit: bytes that keys and responses may take.
        keys_per_client: key sets an owner with a name may have.
        key_seconds: how long keys live.
        retention: seconds for which ended queries are kept.

    Raises:
        ServiceError: the folder cannot be used, or was written by a newer Hushtune.
    """

    def __init__(
        self,
        folder: Path,
        artifact: str,
        *,
        limit: int,
        keys_per_client: int,
        key_seconds: float,
        retention: float,
    ):
        self.folder, self.artifact = folder, artifact
        self.limit, self.keys_per_client = limit, keys_per_client
        self.key_seconds, self.retention = key_seconds, retention
        self.keys, self.responses = folder / "keys", folder / "responses"
        self._thread = threading.RLock()
        self._doomed: list[Path] = []
        self.evicted = 0
        try:
            for path in (folder, self.keys, self.responses, folder / "instances"):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = self._open(folder / "store.sqlite3")
            with self._changing():
                self.instance = Instance(folder / "instances")
        except (OSError, sqlite3.Error) as error:
            raise ServiceError(f"{folder}: cannot be used as data folder ({error}).") from error
        self.sweep()

    def close(self) -> None:
        """End this process's use of the folder; its unfinished queries fail."""
        with self._changing():
            self._fail_queries_of_the_dead(self.instance.sweep() - {self.instance.id})
            self.instance.close()
        self._db.close()

    # Keys

    def add_key(self, partial: Path, owner: str, key_id: bytes) -> tuple[str, KeyRecord]:
        """Keep checked evaluation keys; make room for them.

        Args:
            partial: the flushed file, which is moved.
            owner: name of the client, or "".
            key_id: the key set's id in its envelope.

        Returns:
            The id that names them from now on, and their record.

        Raises:
            Refusal: there is no room even without all keys that are not in use.
        """
        identifier, now, size = new_id(), time.time(), partial.stat().st_size
        digest = digest_of(identifier)
        record = KeyRecord(digest, owner, key_id, size, now, now + self.key_seconds)
        with self._changing() as db:
            self._expire(now)
            if owner:
                self._evict(self.keys_per_client - 1, owner=owner)
            self._evict_bytes(self.limit - size, owner)
            db.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (digest, owner, self.artifact, key_id.hex(), size, now, record.expires, now),
            )
            self._move(partial, self.keys / digest)
        return identifier, record

    def key(self, identifier: str, owner: str) -> KeyRecord | None:
        """A client's keys; None where there are none that live."""
        row = self._one(
            "SELECT digest, owner, key_id, bytes, created, expires FROM keys "
            "WHERE digest = ? AND owner = ? AND artifact = ? AND expires > ?",
            digest_of(identifier),
            owner,
            self.artifact,
            time.time(),
        )
        return KeyRecord(row[0], row[1], bytes.fromhex(row[2]), *row[3:]) if row else None

    def delete_key(self, identifier: str, owner: str) -> bool:
        """Remove keys, their queries and responses; False where there are none."""
        with self._changing():
            record = self.key(identifier, owner)
            if record is not None:
                self._drop_keys([record.digest])
        return record is not None

    # Queries

    def add_query(self, key: KeyRecord, *, queue: int, queue_per_key: int) -> tuple[str, int]:
        """Record a query that waits.

        Returns:
            Its id and its position.

        Raises:
            Refusal: this process's queue is full, or the share of it of the key's owner is (of the
                key where owners have no names); or the key is gone.
        """
        identifier, now = new_id(), time.time()
        with self._changing() as db:
            if not self._one("SELECT 1 FROM keys WHERE digest = ?", key.digest):
                raise unknown_key()
            column, value = ("owner", key.owner) if key.owner else ("key", key.digest)
            mine = self._one(
                f"SELECT COUNT(*) FROM queries WHERE {column} = ? "
                "AND state IN ('queued', 'running')",
                value,
            )[0]
            if mine >= queue_per_key:
                raise Refusal(
                    429,
                    "too_many_queries",
                    f"{mine} queries of yours wait or run already; {queue_per_key} may.",
                )
            waiting = self._waiting()
            if waiting >= queue:
                raise Refusal(503, "queue_full", f"{waiting} queries wait already; {queue} may.")
            db.execute(
                "INSERT INTO queries (digest, key, owner, instance, state, created) "
                "VALUES (?, ?, ?, ?, 'queued', ?)",
                (digest_of(identifier), key.digest, key.owner, self.instance.id, now),
            )
            db.execute("UPDATE keys SET used = ? WHERE digest = ?", (now, key.digest))
        return identifier, waiting + 1

    def query(self, identifier: str, owner: str) -> QueryRecord | None:
        """A client's query; None where there is none."""
        row = self._one(
            "SELECT q.digest, q.key, q.state, CASE q.state WHEN 'queued' THEN "
            "(SELECT COUNT(*) FROM queries AS o WHERE o.instance = q.instance "
            "AND o.state = 'queued' AND o.number <= q.number) ELSE 0 END, q.created, q.started, "
            "q.ended, q.response_bytes, q.error, q.message FROM queries AS q "
            "JOIN keys AS k ON k.digest = q.key "
            "WHERE q.digest = ? AND q.owner = ? AND k.artifact = ?",
            digest_of(identifier),
            owner,
            self.artifact,
        )
        return QueryRecord(*row) if row else None

    def start_query(self, digest: str) -> bool:
        """Note that a query runs; False if it was deleted meanwhile."""
        with self._changing() as db:
            return bool(
                db.execute(
                    "UPDATE queries SET state = 'running', started = ? "
                    "WHERE digest = ? AND state = 'queued'",
                    (time.time(), digest),
                ).rowcount
            )

    def finish_query(self, digest: str, partial: Path) -> bool:
        """Keep a query's response, make room for it; False if the query was deleted meanwhile.

        Raises:
            Refusal: there is no room even without all keys that are not in use.
        """
        size = partial.stat().st_size
        with self._changing() as db:
            found = self._one(
                "SELECT owner FROM queries WHERE digest = ? AND state = 'running'", digest
            )
            if found:
                self._evict_bytes(self.limit - size, found[0])
                db.execute(
                    "UPDATE queries SET state = 'done', ended = ?, response_bytes = ? "
                    "WHERE digest = ?",
                    (time.time(), size, digest),
                )
                self._move(partial, self.responses / digest)
        partial.unlink(missing_ok=True)
        return bool(found)

    def fail_query(self, digest: str, error: str, message: str) -> None:
        """Note that a query ended without a response, and why."""
        with self._changing() as db:
            db.execute(
                "UPDATE queries SET state = 'failed', ended = ?, error = ?, message = ? "
                "WHERE digest = ? AND state IN ('queued', 'running')",
                (time.time(), error, message, digest),
            )

    def delete_query(self, identifier: str, owner: str) -> bool:
        """Remove a query and its response; False where there is none."""
        with self._changing():
            record = self.query(identifier, owner)
            if record is not None:
                self._drop_queries([record.digest])
        return record is not None

    def waiting(self) -> int:
        """How many queries wait in this process."""
        with self._thread:
            return self._waiting()

    def not_waiting(self, digests: set[str]) -> set[str]:
        """Those of some queries that do not wait in this process, or are gone."""
        with self._thread:
            return digests - set(
                self._digests(
                    "SELECT digest FROM queries WHERE instance = ? AND state = 'queued'",
                    self.instance.id,
                )
            )

    def any_left(self, digests: list[str]) -> bool:
        """Whether any of some queries is not gone."""
        return any(self._one("SELECT 1 FROM queries WHERE digest = ?", one) for one in digests)

    def usage(self) -> Usage:
        """What is stored, for all artifacts."""
        return Usage(*self._one("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM keys"))

    # Cleaning

    def sweep(self) -> None:
        """Remove what is expired, what no record names, and what dead processes left."""
        with self._changing() as db:
            self._expire(time.time())
            self._fail_queries_of_the_dead(self.instance.sweep())
            for folder, table in ((self.keys, "keys"), (self.responses, "queries")):
                named = {row[0] for row in db.execute(f"SELECT digest FROM {table}")}
                self._doomed += [path for path in folder.iterdir() if path.name not in named]
            lost = [
                row[0]
                for row in db.execute("SELECT digest FROM keys")
                if not (self.keys / row[0]).is_file()
            ]
            self._drop_keys(lost)

    def _fail_queries_of_the_dead(self, alive: set[str]) -> None:
        marks = ", ".join("?" * len(alive))
        self._db.execute(
            "UPDATE queries SET state = 'failed', ended = ?, error = 'server_stopped', message = ? "
            f"WHERE state IN ('queued', 'running') AND instance NOT IN ({marks})",
            (
                time.time(),
                "The server process stopped before it had computed the query. Send it again.",
                *alive,
            ),
        )

    def _expire(self, now: float) -> None:
        self._drop_keys(self._digests("SELECT digest FROM keys WHERE expires <= ?", now))
        self._drop_queries(
            self._digests("SELECT digest FROM queries WHERE ended <= ?", now - self.retention)
        )

    def _evict(self, keep: int, *, owner: str) -> None:
        idle = self._idle("owner = ?", owner)
        surplus = self._one("SELECT COUNT(*) FROM keys WHERE owner = ?", owner)[0] - keep
        if surplus > len(idle):
            raise Refusal(
                429, "too_many_keys", f"{keep + 1} key sets of yours are in use; no more may be."
            )
        self._drop_keys([digest for digest, _ in idle[: max(0, surplus)]])
        self.evicted += max(0, surplus)

    def _evict_bytes(self, allowed: int, owner: str) -> None:
        """Make room for an owner: by its own keys first, only then by others'."""
        used = self._one(
            "SELECT (SELECT COALESCE(SUM(bytes), 0) FROM keys)"
            " + (SELECT COALESCE(SUM(response_bytes), 0) FROM queries)"
        )[0]
        chosen = []
        for digest, size in [*self._idle("owner = ?", owner), *self._idle("owner != ?", owner)]:
            if used <= allowed:
                break
            chosen.append(digest)
            used -= size
        if used > allowed:
            raise Refusal(
                507, "store_full", "All stored keys are in use and there is no room for more.", 30
            )
        self._drop_keys(chosen)
        self.evicted += len(chosen)

    def _idle(self, condition: str, *values: object) -> list[tuple[str, int]]:
        """(digest, bytes with responses) of keys no query waits for, least recently used first."""
        with self._thread:
            return self._db.execute(
                "SELECT digest, bytes + (SELECT COALESCE(SUM(response_bytes), 0) FROM queries "
                f"WHERE key = k.digest) FROM keys AS k WHERE {condition} AND NOT EXISTS "
                "(SELECT 1 FROM queries WHERE key = k.digest AND state IN ('queued', 'running')) "
                "ORDER BY used",
                values,
            ).fetchall()

    def _drop_keys(self, digests: list[str]) -> None:
        for digest in digests:
            self._drop_queries(self._digests("SELECT digest FROM queries WHERE key = ?", digest))
            self._db.execute("DELETE FROM keys WHERE digest = ?", (digest,))
            self._doomed.append(self.keys / digest)

    def _drop_queries(self, digests: list[str]) -> None:
        for digest in digests:
            self._db.execute("DELETE FROM queries WHERE digest = ?", (digest,))
            self._doomed.append(self.responses / digest)

    # SQLite

    def _open(self, path: Path) -> sqlite3.Connection:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.close(descriptor)
        db = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("BEGIN IMMEDIATE")
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
        if found not in (0, SCHEMA_VERSION):
            db.close()
            raise ServiceError(
                f"{path}: schema version={found}, expected {SCHEMA_VERSION}. Use the Hushtune that "
                "wrote it, or another data folder."
            )
        return db

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other thread or process changes the store beside.

        Files dropped within it are removed after it.
        """
        with self._thread:
            if self._db.in_transaction:  # within another one's
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._doomed = []
                raise
            doomed, self._doomed = self._doomed, []
        for path in doomed:
            path.unlink(missing_ok=True)

    def _move(self, partial: Path, path: Path) -> None:
        os.replace(partial, path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _one(self, sql: str, *values: object):
        with self._thread:
            return self._db.execute(sql, values).fetchone()

    def _digests(self, sql: str, *values: object) -> list[str]:
        return [row[0] for row in self._db.execute(sql, values).fetchall()]

    def _waiting(self) -> int:
        return self._one(
            "SELECT COUNT(*) FROM queries WHERE instance = ? AND state = 'queued'", self.instance.id
        )[0]


def unknown_key() -> Refusal:
    """The answer where there are no such keys, or they are another client's."""
    return Refusal(
        404,
        "unknown_key",
        "No evaluation keys have this id: they expired, made room for others, were deleted or "
        "never were. Upload them again.",
    )


def unknown_query() -> Refusal:
    """The answer where there is no such query, or it is another client's."""
    return Refusal(
        404,
        "unknown_query",
        "No query has this id: it was deleted, ended too long ago or never was.",
    )


def free_bytes(folder: Path) -> int:
    """Bytes left on a folder's disk."""
    return shutil.disk_usage(folder).free
