"""The HTTP endpoints: one file for each group of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp

import hushtune
from hushtune.fhe.artifact import Artifact
from hushtune.service.api import artifact as artifact_endpoints
from hushtune.service.api import keys, operation, queries
from hushtune.service.api.context import ClientPart, Service
from hushtune.service.api.describe import tidy_openapi
from hushtune.service.api.failures import add_error_handlers
from hushtune.service.bodies import Places
from hushtune.service.middleware import Observed
from hushtune.service.queries import Queries
from hushtune.service.settings import ServiceSettings
from hushtune.service.tokens import Tokens

BODIES = 4
"""So many times as many queries may be on their way as may wait: some senders are slow."""


def create_app(artifact: Artifact, settings: ServiceSettings) -> tuple[ASGIApp, Queries]:
    """The application, ready to be served, and what computes behind it.

    Raises:
        ServiceError: the data folder or the tokens file cannot be used.
    """
    tokens = Tokens(settings.tokens) if settings.tokens else None
    computing = Queries(artifact, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        computing.start()
        yield
        await computing.close()

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
        redirect_slashes=False,  # a redirect would name whatever Host the client sent
        lifespan=lifespan,
    )
    app.state.service = Service(
        queries=computing,
        tokens=tokens,
        part=ClientPart.of(artifact),
        keys=Places(settings.uploads, max(1, min(2, settings.uploads // 2)), "key sets"),
        bodies=Places(BODIES * settings.queue, settings.queue_per_client, "queries"),
    )
    add_error_handlers(app)
    for group in (operation, artifact_endpoints, keys, queries):
        app.router.routes.extend(group.router.routes)  # flat: the error handlers look them up
    tidy_openapi(app, tokens=tokens is not None)
    return Observed(app, computing.metrics, settings.requests), computing
