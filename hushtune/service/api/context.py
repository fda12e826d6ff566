"""What every endpoint may ask for: the service, and who asks it."""

import hashlib
import io
import logging
import zipfile
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from hushtune.fhe import signing
from hushtune.fhe.artifact import Artifact
from hushtune.service.bodies import Places
from hushtune.service.clients import Client
from hushtune.service.errors import Refusal
from hushtune.service.logs import note
from hushtune.service.queries import Queries
from hushtune.service.tokens import Tokens
from hushtune.support.errors import ServiceError


@dataclass(frozen=True)
class ClientPart:
    """What clients download: a zip of manifest.json, its signature if there is one, and client/."""

    data: bytes
    sha256: str

    @classmethod
    def of(cls, artifact: Artifact) -> "ClientPart":
        """Pack what the manifest names, always to the same bytes."""
        names = sorted(name for name in artifact.manifest.files if name.startswith("client/"))
        signed = [signing.NAME] if (artifact.folder / signing.NAME).is_file() else []
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ["manifest.json", *signed, *names]:
                data = (artifact.folder / name).read_bytes()
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
        return cls(packed.getvalue(), hashlib.sha256(packed.getvalue()).hexdigest())


@dataclass(frozen=True)
class Service:
    """All that the endpoints share.

    Attributes:
        queries: what computes.
        tokens: of the clients; None where anyone may ask.
        part: the artifact's client part.
        keys: places for key sets that are being sent.
        bodies: places for queries that are being sent, which are held in memory.
    """

    queries: Queries
    tokens: Tokens | None
    part: ClientPart
    keys: Places
    bodies: Places

    @property
    def largest_upload(self) -> int:
        """Most bytes that evaluation keys may have."""
        usual = 2 * self.queries.costs.evaluation_key_bytes
        return self.queries.settings.largest_upload or usual

    @property
    def largest_query(self) -> int:
        """Most bytes that a query may have; all of an artifact's have the same number."""
        return 2 * self.queries.costs.query_bytes


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


The = Annotated[Service, Depends(_service)]
"""The service itself."""
_bearer = HTTPBearer(auto_error=False, description="A token made with 'hushtune token'.")


async def _client(
    request: Request,
    service: The,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Client:
    if service.tokens is None:
        return Client.at(request.client.host if request.client else "")
    try:
        name = service.tokens.client_of(given.credentials) if given else None
    except ServiceError as error:
        note("tokens unreadable", level=logging.ERROR, why=str(error))
        raise Refusal(503, "no_tokens", "The server cannot tell its clients.", 30) from error
    if name is None:
        raise Refusal(401, "unauthorized", "Send 'Authorization: Bearer TOKEN' of a client.")
    return Client.named(name)


Asker = Annotated[Client, Depends(_client)]
"""Who asks; refused where a token is needed and none is given."""
