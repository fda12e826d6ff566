"""The service's settings: each one documented and checked, each one an option of `serve`."""

import ipaddress
import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from hushtune.configs.schema import Settings
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
    """How the service listens, computes, stores and forgets.

    A *client* is whoever has a token of its own; without tokens it is an address (of IPv6 the
    first 64 bits).
    """

    host: str = "127.0.0.1"
    """Address to listen on. The default is this machine alone."""
    port: Annotated[int, Field(strict=True, ge=0, le=65535)] = 8714
    """Port to listen on; 0 for any free one."""
    tokens: Path | None = None
    """File with a line ``name:SHA-256 of the token`` for each client; without it anyone may ask."""
    trusted_proxies: str = ""
    """Addresses and networks of reverse proxies, with commas between them. The client's address is
    then the last one in X-Forwarded-For that is none of theirs. Others' headers are ignored."""

    workers: Number = Field(default_factory=default_workers)
    """Processes that compute. Default: one for two cores."""
    queue: Number = 32
    """Queries that may wait; more are refused with 503. Clients take turns in it."""
    queue_per_client: Number = 8
    """Queries of one client that may wait or run; more are refused with 429."""
    queries_per_hour: Annotated[int, Field(strict=True, ge=0)] = 120
    """Queries that one client may send within an hour, which slows down who wants to learn the
    network from its answers; more are refused with 429. 0 for no limit."""
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
    """Bytes of the disk that keys and responses may take; the keys least recently used go first,
    those of the client that needs the room before others'."""
    reserve_bytes: Annotated[int, Field(strict=True, ge=0)] = 64_000_000
    """Bytes of the disk that are left free; uploads that would take them are refused with 507."""
    keys: Number = 1000
    """Key sets of all clients together; a further upload removes the one least recently used."""
    keys_per_client: Number = 8
    """Key sets of one client; a further upload removes its one least recently used."""
    key_days: Annotated[float, Field(gt=0)] = 30
    """Days after which evaluation keys are removed, used or not."""
    retention: Seconds = 900
    """Seconds for which an ended query and its response are kept."""
    sweep_every: Seconds = 30
    """Seconds between two rounds that remove what is expired or orphaned."""

    largest_upload: Annotated[int | None, Field(ge=1)] = None
    """Largest evaluation keys in bytes; twice what the artifact's take where not given."""
    uploads: Number = 16
    """Uploads of keys at once; more are refused with 503. A client may have half of them, two at
    most and one at least; more are refused with 429."""
    idle_timeout: Seconds = 20
    """Seconds that a client may let the server wait: for a request, for the next byte of an upload,
    for the client to take the next piece of an answer."""
    slowest_upload: Annotated[float, Field(ge=0)] = 16_000
    """Bytes a second at which an upload must come, and an answer be taken, on average, after the
    first `idle_timeout`."""
    requests: Number = 256
    """Requests at once; more are refused with 503, but for /healthz."""
    connections: Number = 512
    """Connections at once, and not more than the process may open files. Beyond it, a new one takes
    the place of the one that lets the server wait longest, of the address with most."""
    connections_per_address: Number = 64
    """Connections of one address at once, trusted proxies excepted; more are refused with 503."""

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        for part in filter(None, map(str.strip, text.split(","))):
            ipaddress.ip_network(part)  # a ValueError names it
        return text
