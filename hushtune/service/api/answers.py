"""What the endpoints answer."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Problem(Answer):
    """What went wrong."""

    code: str
    """A word for programs."""
    message: str
    """A sentence for people."""


class ErrorAnswer(Answer):
    """The answer of every request that fails."""

    error: Problem


class ClientPart(Answer):
    """The client part of the artifact, a zip of manifest.json and client/."""

    sha256: str
    bytes: int


class Limits(Answer):
    """What the service accepts and keeps."""

    evaluation_key_bytes: int
    """Largest upload of evaluation keys."""
    query_bytes: int
    """Largest query."""
    waiting_queries: int
    """Queries that may wait at once."""
    queries_per_client: int
    """Queries of one client (a token's or, without tokens, an address's) that may wait or run."""
    queries_per_hour: int
    """Queries that one client may send within an hour; 0 for no limit."""
    keys_per_client: int
    """Key sets that are kept for one client."""
    key_seconds: float
    """How long uploaded keys live, unless others need their room."""
    retention_seconds: float
    """How long an ended query and its response are kept."""
    query_timeout_seconds: float
    """How long a query may compute."""


class Info(Answer):
    """The artifact served, and how."""

    service: Literal["hushtune"] = "hushtune"
    api: Literal[1] = 1
    artifact: str
    """The artifact's id, 64 hexadecimal digits."""
    name: str
    songs: int
    created: str
    versions: dict[str, str]
    """Versions that client and server must share; `hushtune` is that of the artifact's making."""
    server_version: str
    """The server's own Hushtune."""
    client_part: ClientPart
    keys: Literal["none", "uploaded"]
    """Whether queries are computed with uploaded evaluation keys. Where none are needed, a query
    goes to POST /v1/queries, and its key should be a fresh one."""
    evaluation_key_bytes: int
    """What a key set is expected to take."""
    query_bytes: int
    response_bytes: int
    expected_seconds: float
    """What a query takes on this server: measured, or from the artifact before the first."""
    tokens_required: bool
    limits: Limits


class KeyAnswer(Answer):
    """Evaluation keys that the service keeps."""

    id: str
    """Names the keys, and is the right to use them: keep it like a password."""
    bytes: int
    created_at: datetime
    expires_at: datetime


class QueryAccepted(Answer):
    """A query that waits for its turn."""

    id: str
    """Names the query, and is the right to read its response."""
    position: int = Field(ge=1)
    """1 is next."""
    expected_seconds: float
    """Until the response is likely there."""


class QueryAnswer(Answer):
    """How far a query is."""

    id: str
    state: Literal["queued", "running", "done", "failed"]
    position: int
    """0 unless queued; then 1 is next."""
    running_seconds: float
    """How long it has computed; 0 while queued."""
    expected_seconds: float
    """How long a query computes on this server."""
    response_bytes: int | None = None
    """Once done."""
    error: Problem | None = None
    """Once failed."""


class Health(Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Answer):
    """The service computes."""

    status: Literal["ready"] = "ready"
    workers: int
    waiting: int
