"""The HTTP endpoints."""

import hashlib
import io
import logging
import os
import time
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated

import anyio
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from hushtune.fhe.artifact import Artifact
from hushtune.support.errors import ServiceError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp

import hushtune
from hushtune.service import models
from hushtune.service.errors import Refusal
from hushtune.service.handlers import add_error_handlers
from hushtune.service.logs import note
from hushtune.service.middleware import Observed
from hushtune.service.queries import Queries
from hushtune.service.settings import ServiceSettings
from hushtune.service.store import unknown_key, unknown_query
from hushtune.service.tokens import Tokens
from hushtune.service.uploads import OCTETS, Places, read_query, save_keys

CHUNK_BYTES = 1 << 18
_WORDS = {
    304: "The copy named by If-None-Match is still right.",
    400: "The body was broken off.",
    401: "No token, or an unknown one.",
    404: "Nothing of this client's has this id.",
    408: "The body stalled or came too slowly.",
    409: "The query has not ended.",
    410: "The query failed: there will be no response.",
    413: "The body is too large.",
    415: "The body is not announced as application/octet-stream.",
    422: "The body is not what it should be.",
    429: "Too many of one client's keys, queries or uploads are in use.",
    503: "The service is busy, starting or stopping.",
    507: "No room on the server's disk.",
}


@dataclass(frozen=True)
class ClientPart:
    """What clients download: a zip of manifest.json and client/."""

    data: bytes
    sha256: str

    @classmethod
    def of(cls, artifact: Artifact) -> "ClientPart":
        """Pack what the manifest names, always to the same bytes."""
        names = sorted(name for name in artifact.manifest.files if name.startswith("client/"))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ["manifest.json", *names]:
                data = (artifact.folder / name).read_bytes()
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
        return cls(packed.getvalue(), hashlib.sha256(packed.getvalue()).hexdigest())


def create_app(artifact: Artifact, settings: ServiceSettings) -> tuple[ASGIApp, Queries]:
    """The application, ready to be served, and what computes behind it.

    Raises:
        ServiceError: the data folder or the tokens file cannot be used.
    """
    tokens = Tokens(settings.tokens) if settings.tokens else None
    queries = Queries(artifact, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        queries.start()
        yield
        await queries.close()

    app = FastAPI(
        title="Hushtune",
        summary="Name that tune without telling anyone what you hear.",
        description=(
            "Evaluation keys and encrypted queries in, encrypted responses out. Bodies are "
            "envelopes as hushtune.Client makes them. Ids are capabilities: keep them secret."
        ),
        version=hushtune.__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    add_error_handlers(app)
    authenticate = _authenticate(tokens)
    _add_operations(app, queries)
    _add_metrics(app, queries, authenticate)
    _add_artifact(app, queries, authenticate, tokens is not None)
    _add_keys(app, queries, authenticate)
    _add_queries(app, queries, authenticate)
    _tidy_openapi(app)
    return Observed(app, queries.metrics, settings.connections), queries


def _authenticate(tokens: Tokens | None) -> Callable[..., Awaitable[str]]:
    """A dependency that gives the name of the client that asks, "" where tokens are off."""
    if tokens is None:

        async def anyone() -> str:
            return ""

        return anyone

    bearer = HTTPBearer(auto_error=False, description="A token made with 'hushtune token'.")

    async def client(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> str:
        try:
            name = tokens.client_of(given.credentials) if given else None
        except ServiceError as error:
            note("tokens unreadable", level=logging.ERROR, why=str(error))
            raise Refusal(503, "no_tokens", "The server cannot tell its clients.", 30) from error
        if name is None:
            raise Refusal(401, "unauthorized", "Send 'Authorization: Bearer TOKEN' of a client.")
        return name

    return client


def _add_operations(app: FastAPI, queries: Queries) -> None:
    @app.get("/healthz", tags=["operation"])
    async def health() -> models.Health:
        """Whether the process answers."""
        return models.Health()

    @app.get("/readyz", tags=["operation"], responses=_errors())
    async def ready() -> models.Readiness:
        """Whether queries can be computed; 503 while starting and stopping."""
        queries.require_ready()
        waiting = await anyio.to_thread.run_sync(queries.store.waiting)
        return models.Readiness(workers=queries.workers.ready, waiting=waiting)


def _add_metrics(app: FastAPI, queries: Queries, authenticate: Callable) -> None:
    @app.get(
        "/metrics",
        tags=["operation"],
        dependencies=[Depends(authenticate)],
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **_errors(401),
        },
    )
    async def metrics() -> Response:
        """Metrics of this server process, for Prometheus."""
        return Response(await queries.metrics_text(), media_type=CONTENT_TYPE_LATEST)


def _add_artifact(app: FastAPI, queries: Queries, authenticate: Callable, tokens: bool) -> None:
    artifact, settings = queries.artifact, queries.settings
    part, manifest = ClientPart.of(artifact), artifact.manifest
    costs = manifest.costs

    @app.get("/v1/info", tags=["artifact"], dependencies=[Depends(authenticate)],
             responses=_errors(401))  # fmt: skip
    async def info() -> models.Info:
        """The artifact served, its costs, the limits."""
        return models.Info(
            artifact=manifest.id,
            name=manifest.name,
            songs=len(manifest.catalogue),
            created=manifest.created,
            versions=manifest.versions,
            server_version=hushtune.__version__,
            client_part=models.ClientPart(sha256=part.sha256, bytes=len(part.data)),
            evaluation_key_bytes=costs.evaluation_key_bytes,
            query_bytes=costs.query_bytes,
            response_bytes=costs.response_bytes,
            expected_seconds=round(queries.expected_seconds, 3),
            tokens_required=tokens,
            limits=models.Limits(
                evaluation_key_bytes=largest_upload(artifact, settings),
                query_bytes=largest_query(artifact),
                waiting_queries=settings.queue,
                queries_per_key=settings.queue_per_key,
                key_seconds=86_400 * settings.key_days,
                retention_seconds=settings.retention,
                query_timeout_seconds=settings.query_timeout,
            ),
        )

    @app.get(
        "/v1/client-part",
        tags=["artifact"],
        dependencies=[Depends(authenticate)],
        response_class=Response,
        responses={
            200: {"content": {"application/zip": {"schema": _BINARY}}},
            304: {"description": _WORDS[304]},
            **_errors(401),
        },
    )
    async def client_part(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """A zip of manifest.json and client/; its ETag is its SHA-256."""
        headers = {"ETag": f'"{part.sha256}"', "Cache-Control": "no-cache"}
        if if_none_match and (part.sha256 in if_none_match or if_none_match.strip() == "*"):
            return Response(status_code=304, headers=headers)
        return Response(part.data, media_type="application/zip", headers=headers)


def _add_keys(app: FastAPI, queries: Queries, authenticate: Callable) -> None:
    store, settings, artifact = queries.store, queries.settings, queries.artifact
    limit, uploads = largest_upload(artifact, settings), Places(settings.uploads)
    Owner = Annotated[str, Depends(authenticate)]

    @app.post(
        "/v1/keys",
        tags=["keys"],
        status_code=201,
        responses=_errors(400, 401, 408, 413, 415, 422, 429, 507),
        openapi_extra=_OCTET_BODY,
    )
    async def add(request: Request, response: Response, owner: Owner) -> models.KeyAnswer:
        """Upload evaluation keys. They are checked before they are kept."""
        queries.require_ready()
        with uploads.place(owner):
            path = store.instance.partial("keys")
            try:
                await save_keys(request, limit, artifact.id, settings, path)
                key_id = await queries.check_keys(path)
                if await request.is_disconnected():  # nobody would learn the keys' id
                    raise Refusal(400, "broken_off", "The client did not wait for the answer.")
                identifier, record = await anyio.to_thread.run_sync(
                    store.add_key, path, owner, key_id
                )
            except Exception:
                queries.metrics.keys_refused.inc()
                raise
            finally:
                path.unlink(missing_ok=True)
        queries.metrics.keys_accepted.inc()
        response.headers["Location"] = f"/v1/keys/{identifier}"
        return _key_answer(identifier, record)

    @app.get("/v1/keys/{key}", tags=["keys"], responses=_errors(401, 404))
    def show(key: str, owner: Owner) -> models.KeyAnswer:
        """Whether keys are still kept, and until when."""
        record = store.key(key, owner)
        if record is None:
            raise unknown_key()
        return _key_answer(key, record)

    @app.delete("/v1/keys/{key}", tags=["keys"], status_code=204, responses=_errors(401, 404))
    async def delete(key: str, owner: Owner) -> None:
        """Remove keys, their queries and responses."""
        if not await queries.delete_key(key, owner):
            raise unknown_key()


def _add_queries(app: FastAPI, queries: Queries, authenticate: Callable) -> None:
    store, settings, artifact = queries.store, queries.settings, queries.artifact
    limit = largest_query(artifact)
    Owner = Annotated[str, Depends(authenticate)]

    @app.post(
        "/v1/keys/{key}/queries",
        tags=["queries"],
        status_code=202,
        responses=_errors(400, 401, 404, 408, 413, 415, 422, 429, 507),
        openapi_extra=_OCTET_BODY,
    )
    async def add(
        request: Request, response: Response, key: str, owner: Owner
    ) -> models.QueryAccepted:
        """Queue an encrypted query, to be computed with these keys."""
        record = await anyio.to_thread.run_sync(store.key, key, owner)
        if record is None:
            raise unknown_key()
        queries.require_ready()
        await queries.require_room()
        body = await read_query(request, limit, artifact.id, settings)
        identifier, position = await queries.submit(record, body)
        response.headers["Location"] = f"/v1/queries/{identifier}"
        return models.QueryAccepted(
            id=identifier,
            position=position,
            expected_seconds=queries.seconds_until_done(position),
        )

    @app.get("/v1/queries/{query}", tags=["queries"], responses=_errors(401, 404))
    def show(query: str, owner: Owner) -> models.QueryAnswer:
        """How far a query is."""
        record = store.query(query, owner)
        if record is None:
            raise unknown_query()
        running = (record.ended or time.time()) - record.started if record.started else 0.0
        return models.QueryAnswer(
            id=query,
            state=record.state,
            position=record.position,
            running_seconds=round(max(0.0, running), 3),
            expected_seconds=round(queries.expected_seconds, 3),
            response_bytes=record.response_bytes if record.state == "done" else None,
            error=models.Problem(code=record.error, message=record.message)
            if record.error
            else None,
        )

    @app.get(
        "/v1/queries/{query}/response",
        tags=["queries"],
        response_class=StreamingResponse,
        responses={
            200: {"content": {OCTETS: {"schema": _BINARY}}},
            **_errors(401, 404, 409, 410),
        },
    )
    def response(query: str, owner: Owner) -> StreamingResponse:
        """The encrypted response, once the query is done."""
        record = store.query(query, owner)
        if record is None:
            raise unknown_query()
        try:
            file = queries.response(record).open("rb")
        except FileNotFoundError:
            raise unknown_query() from None
        size = os.fstat(file.fileno()).st_size

        def chunks():
            with file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk

        return StreamingResponse(chunks(), media_type=OCTETS, headers={"Content-Length": str(size)})

    @app.delete(
        "/v1/queries/{query}", tags=["queries"], status_code=204, responses=_errors(401, 404)
    )
    async def delete(query: str, owner: Owner) -> None:
        """Remove a query and its response. What is running already is computed in vain."""
        if not await queries.delete_query(query, owner):
            raise unknown_query()


def largest_upload(artifact: Artifact, settings: ServiceSettings) -> int:
    """Most bytes that evaluation keys may have."""
    return settings.largest_upload or 2 * artifact.manifest.costs.evaluation_key_bytes


def largest_query(artifact: Artifact) -> int:
    """Most bytes that a query may have; all of an artifact's have the same number."""
    return 2 * artifact.manifest.costs.query_bytes


def _key_answer(identifier: str, record) -> models.KeyAnswer:
    return models.KeyAnswer(
        id=identifier,
        bytes=record.bytes,
        created_at=datetime.fromtimestamp(record.created, timezone.utc),
        expires_at=datetime.fromtimestamp(record.expires, timezone.utc),
    )


_BINARY = {"type": "string", "format": "binary"}
_OCTET_BODY = {"requestBody": {"required": True, "content": {OCTETS: {"schema": _BINARY}}}}


def _errors(*statuses: int) -> dict[int | str, dict]:
    """These answers and 503, which all but the health check may give."""
    documented: dict[int | str, dict] = {}
    for status in sorted({*statuses, 503}):
        documented[status] = {"model": models.ErrorAnswer, "description": _WORDS[status]}
        if status in (429, 503, 507):
            documented[status]["headers"] = {
                "Retry-After": {
                    "description": "Seconds after which to try again.",
                    "schema": {"type": "integer"},
                }
            }
    return documented


def _tidy_openapi(app: FastAPI) -> None:
    """Describe no errors in FastAPI's own form: all have the service's."""
    describe = app.openapi

    def openapi() -> dict:
        schema = describe()
        for operations in schema["paths"].values():
            for operation in operations.values():
                answer = operation["responses"].get("422", {})
                if "HTTPValidationError" in str(answer):
                    del operation["responses"]["422"]
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        return schema

    app.openapi = openapi
