"""Endpoints that tell of the artifact."""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

import hushtune
from hushtune.service.api import answers
from hushtune.service.api.context import Asker, The
from hushtune.service.api.describe import BINARY, WORDS, errors
from hushtune.service.connections import CHUNK_BYTES

router = APIRouter(prefix="/v1", tags=["artifact"])


@router.get("/info", responses=errors(401))
async def info(service: The, _: Asker) -> answers.Info:
    """The artifact served, its costs, the limits."""
    queries, part = service.queries, service.part
    manifest, settings = queries.artifact.manifest, queries.settings
    costs = queries.costs
    return answers.Info(
        artifact=manifest.id,
        name=manifest.name,
        songs=len(manifest.catalogue),
        created=manifest.created,
        versions=manifest.versions,
        server_version=hushtune.__version__,
        client_part=answers.ClientPart(sha256=part.sha256, bytes=len(part.data)),
        keys="none" if queries.keyless else "uploaded",
        evaluation_key_bytes=costs.evaluation_key_bytes,
        query_bytes=costs.query_bytes,
        response_bytes=costs.response_bytes,
        expected_seconds=round(queries.expected_seconds, 3),
        tokens_required=service.tokens is not None,
        limits=answers.Limits(
            evaluation_key_bytes=service.largest_upload,
            query_bytes=service.largest_query,
            waiting_queries=settings.queue,
            queries_per_client=settings.queue_per_client,
            queries_per_hour=settings.queries_per_hour,
            keys_per_client=settings.keys_per_client,
            key_seconds=86_400 * settings.key_days,
            retention_seconds=settings.retention,
            query_timeout_seconds=settings.query_timeout,
        ),
    )


@router.get(
    "/client-part",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/zip": {"schema": BINARY}}},
        304: {"description": WORDS[304]},
        **errors(401),
    },
)
async def client_part(
    service: The, _: Asker, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """A zip of manifest.json, signature.json where it is signed, and client/.

    Its ETag is its SHA-256.
    """
    part = service.part
    headers = {"ETag": f'"{part.sha256}"', "Cache-Control": "no-cache"}
    if if_none_match and (part.sha256 in if_none_match or if_none_match.strip() == "*"):
        return Response(status_code=304, headers=headers)
    starts = range(0, len(part.data), CHUNK_BYTES)
    return StreamingResponse(
        (part.data[start : start + CHUNK_BYTES] for start in starts),
        media_type="application/zip",
        headers={**headers, "Content-Length": str(len(part.data))},
    )
