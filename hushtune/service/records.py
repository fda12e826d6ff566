"""What the store answers and is told: records, limits, ids."""

import hashlib
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class StoreLimits:
    """How much is kept; see `ServiceSettings`."""

    bytes: int
    keys: int
    keys_per_client: int
    key_seconds: float
    retention: float
    queue: int
    queue_per_client: int
    queries_per_hour: int


@dataclass(frozen=True)
class KeyRecord:
    """A client's evaluation keys as stored."""

    digest: str
    key_id: bytes
    bytes: int
    created: float
    expires: float


@dataclass(frozen=True)
class QueryRecord:
    """A query as stored. `position` is 0 unless it waits; then 1 is next."""

    digest: str
    state: Literal["queued", "running", "done", "failed"]
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


def bytes_on_disk(path: Path) -> int:
    """What a flushed file takes: whole blocks, however few bytes it has."""
    stat = path.stat()
    return max(stat.st_size, 512 * stat.st_blocks)


def free_bytes(folder: Path) -> int:
    """Bytes left on a folder's disk."""
    return shutil.disk_usage(folder).free
