"""The service's records: one SQLite file that several server processes may share."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hushtune.support.errors import ServiceError

SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE keys (
    digest TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    share TEXT NOT NULL,
    artifact TEXT NOT NULL,
    key_id TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    disk INTEGER NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL,
    used REAL NOT NULL
);
CREATE TABLE queries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL UNIQUE,
    key TEXT REFERENCES keys (digest),
    owner TEXT NOT NULL,
    share TEXT NOT NULL,
    artifact TEXT NOT NULL,
    instance TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    response_bytes INTEGER NOT NULL DEFAULT 0,
    disk INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    message TEXT
);
CREATE TABLE asked (share TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX queries_by_key ON queries (key);
CREATE INDEX queries_by_state ON queries (state);
CREATE INDEX asked_by_share ON asked (share, at);
"""
_OLDER = "DROP TABLE IF EXISTS queries; DROP TABLE IF EXISTS keys"
"""What an older Hushtune kept is forgotten: clients upload their keys again by themselves."""
BUSY_SECONDS = 20


class Database:
    """SQLite, and the files that its records name.

    Args:
        path: made where it does not exist, for its owner alone.

    Raises:
        ServiceError: written by a newer Hushtune.
    """

    def __init__(self, path: Path):
        self._thread = threading.RLock()
        self._doomed: list[Path] = []
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("BEGIN IMMEDIATE")
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found < SCHEMA_VERSION:
            for statement in f"{_OLDER};{_SCHEMA}".split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")
        if found > SCHEMA_VERSION:
            self.close()
            raise ServiceError(
                f"{path}: schema version={found}, expected {SCHEMA_VERSION}. Use the Hushtune that "
                "wrote it, or another data folder."
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of a question."""
        with self._thread:
            return self._db.execute(sql, values).fetchall()

    def one(self, sql: str, *values: object) -> Any:
        """The first row of a question, or None."""
        return next(iter(self.rows(sql, *values)), None)

    def number(self, sql: str, *values: object) -> int:
        """The one number that a question is answered with."""
        return int(self.one(sql, *values)[0])

    def column(self, sql: str, *values: object) -> list[str]:
        """The first column of a question."""
        return [row[0] for row in self.rows(sql, *values)]

    def change(self, sql: str, *values: object) -> int:
        """Change records; how many."""
        return self._db.execute(sql, values).rowcount

    def remove(self, *paths: Path) -> None:
        """Remove files once the transaction has ended well."""
        self._doomed += paths

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A transaction that no other thread or process changes the records beside."""
        with self._thread:
            if self._db.in_transaction:  # within another one's
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._doomed = []
                raise
            doomed, self._doomed = self._doomed, []
        for path in doomed:
            path.unlink(missing_ok=True)
