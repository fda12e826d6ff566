"""What a service answers, as far as a client uses it; checked, since a service may be hostile.

Fields that this version does not know are ignored.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic.dataclasses import dataclass

DAY_SECONDS = 86_400

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,100}$")]
"""Of keys or a query: it becomes a part of an address."""
Seconds = Annotated[float, Field(ge=0, le=DAY_SECONDS, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, StringConstraints(max_length=1000)]


@dataclass(frozen=True)
class Limits:
    """What the service accepts.

    Attributes:
        query_timeout_seconds: how long a query may compute.
    """

    query_timeout_seconds: Seconds


@dataclass(frozen=True)
class ServiceInfo:
    """What a service says of itself; only the artifact's id can be checked.

    Attributes:
        service: always ``hushtune``.
        api: version of the interface.
        artifact: id of the artifact served, 64 hexadecimal digits.
        limits: what the service accepts.
        name: of the artifact.
        songs: in its catalogue.
        server_version: the server's own Hushtune.
        expected_seconds: a query takes.
        tokens_required: whether clients need a token.
        keys: ``none`` where the circuit needs no evaluation keys, and every query has a fresh key;
            ``uploaded`` where clients upload them.
    """

    service: Literal["hushtune"]
    api: Literal[1]
    artifact: Digest
    limits: Limits
    name: Text = ""
    songs: Count = 0
    server_version: Text = ""
    expected_seconds: Seconds = 0.0
    tokens_required: bool = False
    keys: Literal["none", "uploaded"] = "uploaded"


@dataclass(frozen=True)
class KeyAnswer:
    """Evaluation keys that the service keeps."""

    id: Id


@dataclass(frozen=True)
class QueryAccepted:
    """A query that waits for its turn."""

    id: Id


@dataclass(frozen=True)
class Problem:
    """What went wrong: a word for programs, and a sentence for people."""

    code: Annotated[str, StringConstraints(max_length=100)]
    message: Text


@dataclass(frozen=True)
class ErrorAnswer:
    """The answer of a request that failed."""

    error: Problem


@dataclass(frozen=True)
class QueryAnswer:
    """How far a query is.

    Attributes:
        state: it is in.
        position: 0 unless queued; then 1 is next.
        running_seconds: it has computed.
        expected_seconds: a query computes on this server.
        error: once failed.
    """

    state: Literal["queued", "running", "done", "failed"]
    position: Count = 0
    running_seconds: Seconds = 0.0
    expected_seconds: Seconds = 0.0
    error: Problem | None = None
