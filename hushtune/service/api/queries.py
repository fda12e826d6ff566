"""Endpoints for queries and their responses."""

import os
import time
from collections.abc import Iterator

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from hushtune.service.api.answers import Problem, QueryAccepted, QueryAnswer
from hushtune.service.api.context import Asker, Service, The
from hushtune.service.api.describe import BINARY, OCTET_BODY, OCTETS, errors
from hushtune.service.bodies import read_query
from hushtune.service.clients import Client
from hushtune.service.connections import CHUNK_BYTES
from hushtune.service.errors import unknown_key, unknown_query
from hushtune.service.records import KeyRecord

router = APIRouter(prefix="/v1", tags=["queries"])


@router.post(
    "/keys/{key}/queries",
    status_code=202,
    responses=errors(400, 401, 404, 408, 413, 415, 422, 429, 507),
    openapi_extra=OCTET_BODY,
)
async def add(
    request: Request, response: Response, key: str, service: The, client: Asker
) -> QueryAccepted:
    """Queue an encrypted query, to be computed with these keys."""
    record = await anyio.to_thread.run_sync(service.queries.store.key, key, client.owner)
    if record is None:
        raise unknown_key()
    return await _accept(request, response, service, client, record)


@router.post(
    "/queries",
    status_code=202,
    responses=errors(400, 401, 408, 409, 413, 415, 422, 429, 507),
    openapi_extra=OCTET_BODY,
)
async def add_keyless(
    request: Request, response: Response, service: The, client: Asker
) -> QueryAccepted:
    """Queue an encrypted query of an artifact that computes without evaluation keys."""
    service.queries.require_keys(uploaded=False)
    return await _accept(request, response, service, client, None)


@router.get("/queries/{query}", responses=errors(401, 404))
def show(query: str, service: The, client: Asker) -> QueryAnswer:
    """How far a query is."""
    queries = service.queries
    record = queries.store.query(query, client.owner)
    if record is None:
        raise unknown_query()
    running = (record.ended or time.time()) - record.started if record.started else 0.0
    problem = Problem(code=record.error, message=record.message or "") if record.error else None
    return QueryAnswer(
        id=query,
        state=record.state,
        position=record.position,
        running_seconds=round(max(0.0, running), 3),
        expected_seconds=round(queries.expected_seconds, 3),
        response_bytes=record.response_bytes if record.state == "done" else None,
        error=problem,
    )


@router.get(
    "/queries/{query}/response",
    response_class=StreamingResponse,
    responses={
        200: {"content": {OCTETS: {"schema": BINARY}}},
        **errors(401, 404, 409, 410),
    },
)
def response(query: str, service: The, client: Asker) -> StreamingResponse:
    """The encrypted response, once the query is done."""
    record = service.queries.store.query(query, client.owner)
    if record is None:
        raise unknown_query()
    try:
        file = service.queries.response(record).open("rb")
    except FileNotFoundError:
        raise unknown_query() from None
    size = os.fstat(file.fileno()).st_size

    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    return StreamingResponse(chunks(), media_type=OCTETS, headers={"Content-Length": str(size)})


@router.delete("/queries/{query}", status_code=204, responses=errors(401, 404))
async def delete(query: str, service: The, client: Asker) -> None:
    """Remove a query and its response. What is running already is computed in vain."""
    if not await service.queries.delete_query(query, client.owner):
        raise unknown_query()


async def _accept(
    request: Request, response: Response, service: Service, client: Client, key: KeyRecord | None
) -> QueryAccepted:
    queries = service.queries
    queries.require_ready()
    await queries.require_room()
    with service.bodies.place(client.share):
        limit, artifact = service.largest_query, queries.artifact.id
        body = await read_query(request, limit, artifact, queries.settings)
    identifier, position = await queries.submit(client, key, body)
    response.headers["Location"] = f"/v1/queries/{identifier}"
    return QueryAccepted(
        id=identifier, position=position, expected_seconds=queries.seconds_until_done(position)
    )
