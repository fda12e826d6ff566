"""What a service answers, as far as a client uses it; checked, since a service may be hostile."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

API = 1
DAY_SECONDS = 86_400

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,100}$")]
"""Of keys or a query: it becomes a part of an address."""
Seconds = Annotated[float, Field(ge=0, le=DAY_SECONDS, allow_inf_nan=False)]
Text = Annotated[str, StringConstraints(max_length=1000)]


class Answer(BaseModel):
    """Base of all answers. Fields that this version does not know are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


class ClientPart(Answer):
    """The client part of the artifact, a zip of manifest.json and client/."""

    sha256: Digest


class Limits(Answer):
    """What the service accepts."""

    query_timeout_seconds: Seconds
    """How long a query may compute."""


class ServiceInfo(Answer):
    """What a service says of itself. Only the artifact's id can be held against anything."""

    service: Literal["hushtune"]
    api: Literal[1]
    artifact: Digest
    client_part: ClientPart
    limits: Limits
    name: Text = ""
    """Of the artifact."""
    songs: int = Field(default=0, ge=0)
    """In its catalogue."""
    server_version: Text = ""
    expected_seconds: Seconds = 0.0
    """A query takes."""
    tokens_required: bool = False


class KeyAnswer(Answer):
    """Evaluation keys that the service keeps."""

    id: Id


class QueryAccepted(Answer):
    """A query that waits for its turn."""

    id: Id


class Problem(Answer):
    """What went wrong."""

    code: Annotated[str, StringConstraints(max_length=100)]
    message: Text


class ErrorAnswer(Answer):
    """The answer of a request that failed."""

    error: Problem


class QueryAnswer(Answer):
    """How far a query is."""

    state: Literal["queued", "running", "done", "failed"]
    position: int = Field(default=0, ge=0)
    """0 unless queued; then 1 is next."""
    running_seconds: Seconds = 0.0
    expected_seconds: Seconds = 0.0
    error: Problem | None = None
    """Once failed."""
