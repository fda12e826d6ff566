"""The service's settings: each one documented and checked, each one an option of `serve`."""

import os
from pathlib import Path
from typing import Annotated

from hushtune.configs.schema import Settings
from pydantic import Field

from hushtune.folders import data_folder

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[int, Field(strict=True, ge=1)]


def default_data_folder() -> Path:
    """The service's folder in the user's data folder."""
    return data_folder() / "service"


def default_workers() -> int:
    """One worker for two cores: a query computes on several cores at once."""
    return max(1, len(os.sched_getaffinity(0)) // 2)


class ServiceSettings(Settings):
    """How the service listens, computes, stores and forgets."""

    host: str = "127.0.0.1"
    """Address to listen on. The default is this machine alone."""
    port: Annotated[int, Field(strict=True, ge=0, le=65535)] = 8714
    """Port to listen on; 0 for any free one."""
    tokens: Path | None = None
    """File with a line ``name:SHA-256 of the token`` for each client; without it anyone may ask."""

    workers: Number = Field(default_factory=default_workers)
    """Processes that compute. Default: one for two cores."""
    queue: Number = 32
    """Queries that may wait; more are refused with 503."""
    queue_per_key: Number = 8
    """Queries of one key set, or with tokens of one client, that may wait or run; more are refused
    with 429."""
    keys_in_memory: Number = 2
    """Opened evaluation keys that each worker keeps (hundreds of MB each)."""
    query_timeout: Seconds = 300
    """Seconds a query may compute; then its worker is replaced and the query fails."""
    longest_wait: Seconds = 900
    """Seconds a query or uploaded keys may wait for a worker; then they fail."""
    grace: Annotated[float, Field(ge=0)] = 60
    """Seconds that running queries are given to end when the service is told to stop."""

    data: Path = Field(default_factory=default_data_folder)
    """Folder for evaluation keys, responses and records; in your data folder where not given.
    Server processes may share it."""
    store_bytes: Bytes = 20_000_000_000
    """Bytes that keys and responses may take; the keys least recently used go first, with tokens
    those of the client that needs the room."""
    reserve_bytes: Annotated[int, Field(strict=True, ge=0)] = 64_000_000
    """Bytes of the disk that are left free; uploads that would take them are refused with 507."""
    keys_per_client: Number = 8
    """Key sets of one token; a further upload removes the one least recently used."""
    key_days: Annotated[float, Field(gt=0)] = 30
    """Days after which evaluation keys are removed, used or not."""
    retention: Seconds = 900
    """Seconds for which an ended query and its response are kept."""
    sweep_every: Seconds = 30
    """Seconds between two rounds that remove what is expired or orphaned."""

    largest_upload: Annotated[int | None, Field(ge=1)] = None
    """Largest evaluation keys in bytes; twice what the artifact's take where not given."""
    uploads: Number = 4
    """Uploads of keys at once; more are refused with 503. With tokens a client may have half of
    them, two at most and one at least; more are refused with 429."""
    idle_timeout: Seconds = 20
    """Seconds without a byte after which an upload, or a request's head, is given up."""
    slowest_upload: Annotated[float, Field(ge=0)] = 16_000
    """Bytes a second that an upload must reach on average, after its first `idle_timeout`."""
    connections: Number = 512
    """Requests at once; more are refused with 503, but for /healthz."""
