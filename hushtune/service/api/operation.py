"""Endpoints for those who run the service."""

import anyio
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

import hushtune
from hushtune.service.api import answers
from hushtune.service.api.context import Asker, The
from hushtune.service.api.describe import errors

router = APIRouter(tags=["operation"])


@router.get("/", response_class=PlainTextResponse, responses=errors())
async def root(service: The) -> str:
    """What this is, for people who look."""
    manifest = service.queries.artifact.manifest
    return (
        f"Hushtune {hushtune.__version__}: a private music recognizer.\n"
        f"It knows {len(manifest.catalogue)} songs, computes on encrypted clips and never sees "
        "one in the clear.\n\n"
        "Ask it:       hushtune identify CLIP --server ADDRESS\n"
        "Interface:    /openapi.json\n"
        "Facts:        /v1/info\n"
    )


@router.get("/healthz")
async def health() -> answers.Health:
    """Whether the process answers."""
    return answers.Health()


@router.get("/readyz", responses=errors())
async def ready(service: The) -> answers.Readiness:
    """Whether queries can be computed; 503 while starting and stopping."""
    queries = service.queries
    queries.require_ready()
    waiting = await anyio.to_thread.run_sync(queries.store.waiting)
    return answers.Readiness(workers=queries.workers.ready, waiting=waiting)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **errors(401),
    },
)
async def metrics(service: The, _: Asker) -> Response:
    """Metrics of this server process, for Prometheus."""
    return Response(await service.queries.metrics_text(), media_type=CONTENT_TYPE_LATEST)
