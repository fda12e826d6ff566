"""Connections, with bounds for every state: how many, how many bytes, how many seconds.

| state | what the server waits for | bound |
| --- | --- | --- |
| waiting | a request's head | `idle` seconds since the last answer; 16 KiB |
| receiving | a request's body | the endpoint's: see `bodies`; 64 KiB in memory |
| computing | its own answer | the endpoint's |
| stalled | the client to take bytes | `idle` seconds and `CHUNK_BYTES / slowest` for each chunk |
| unread | the rest of a body, after the answer | `DRAIN_SECONDS`, `DRAIN_BYTES` |
| closing | the client to take the last bytes | as stalled |

uvicorn by itself bounds only the silence between two requests.
"""

import asyncio
import resource
import time
from collections import Counter
from dataclasses import dataclass, field

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hushtune.service.clients import Proxies, network_of

CHUNK_BYTES = 1 << 18
"""Most bytes that an endpoint sends at once."""
DRAIN_SECONDS = 2.0
DRAIN_BYTES = 16_000_000
"""What a client may still send after its answer: it reads the answer only when it has sent all."""
OTHER_DESCRIPTORS = 128
"""Kept for files, workers, and connections on their way in or out."""
BACKLOG = 64
_FULL_BODY = b'{"error":{"code":"too_many_connections","message":"Too many connections are open."}}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_FULL_BODY)
) + _FULL_BODY


@dataclass
class Limits:
    """Bounds of connections.

    Attributes:
        number: connections at once. When it is reached, a new one takes the place of the oldest
            that makes the server wait, of the address that has most.
        per_address: connections of one address; more are refused. Trusted proxies have no such
            bound.
        idle: seconds that a client may make the server wait.
        slowest: bytes a second that a client must take.
        proxies: the trusted ones.
    """

    number: int
    per_address: int
    idle: float
    slowest: float
    proxies: Proxies
    open: "dict[Bounded, str]" = field(default_factory=dict)
    """Connections and their addresses."""

    def admit(self, newcomer: "Bounded", host: str) -> bool:
        """Whether a new connection may stay; another one may have to go for it."""
        address = "" if host in self.proxies else network_of(host)
        counts = Counter(self.open.values())
        if address and counts[address] >= self.per_address:
            return False
        if len(self.open) >= self.number:
            victim = min(
                (one for one in self.open if one.state()[0] != "computing"),
                key=lambda one: (-counts[self.open[one]], one.since),
                default=None,
            )
            if victim is None:
                return False
            victim.end()
        self.open[newcomer] = address
        return True


def allowed_connections(wanted: int) -> int:
    """As many connections as are wanted, or fewer if the process may not open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(1, min(wanted, max(soft, hard) - OTHER_DESCRIPTORS))


class Bounded(H11Protocol):
    """uvicorn's HTTP/1.1 within `Limits`."""

    limits: Limits
    _resumed = _unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit a connection and start to watch it, or refuse it."""
        super().connection_made(transport)
        self.since, self._seen = time.monotonic(), self.state()
        self._watch()
        if not self.limits.admit(self, self.client[0] if self.client else ""):
            transport.write(_FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to watch."""
        super().connection_lost(exc)
        self.limits.open.pop(self, None)
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless they are too many for a body that nobody reads."""
        if self.state()[0] == "unread":
            self._unread += len(data)
            if self._unread > DRAIN_BYTES:
                self.end()
                return
        super().data_received(data)

    def resume_writing(self) -> None:
        """Note that the client took a chunk."""
        self._resumed += 1
        super().resume_writing()

    def state(self) -> tuple[str, object, int]:
        """The state of the table above, the request, and how many chunks the client took."""
        answered = self.cycle is None or self.cycle.response_complete
        if self.transport.is_closing():
            name = "closing"
        elif self.flow.write_paused:
            name = "stalled"
        elif self.conn.their_state is h11.SEND_BODY:
            name = "unread" if answered else "receiving"
        else:
            name = "waiting" if answered else "computing"
        return name, self.cycle, self._resumed

    def end(self) -> None:
        """End the connection; what the client did not take is lost."""
        self.limits.open.pop(self, None)
        self.transport.abort()

    def _watch(self) -> None:
        limits, now, state = self.limits, time.monotonic(), self.state()
        if state != self._seen:
            self.since, self._seen = now, state
        chunk = limits.idle + CHUNK_BYTES / max(1.0, limits.slowest)
        bounds: dict[str, float] = {
            "waiting": limits.idle, "stalled": chunk, "closing": chunk, "unread": DRAIN_SECONDS
        }  # fmt: skip
        if now - self.since >= bounds.get(state[0], float("inf")):
            self.end()
        else:
            self._timer = self.loop.call_later(min(1.0, limits.idle / 4), self._watch)


def bounded(limits: Limits) -> type[Bounded]:
    """A class of connections, for uvicorn, which share these limits."""
    return type("BoundedHere", (Bounded,), {"limits": limits})
