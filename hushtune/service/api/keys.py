"""Endpoints for evaluation keys."""

from datetime import datetime, timezone

import anyio
from fastapi import APIRouter, Request, Response

from hushtune.service.api.answers import KeyAnswer
from hushtune.service.api.context import Asker, The
from hushtune.service.api.describe import OCTET_BODY, errors
from hushtune.service.bodies import save_keys
from hushtune.service.errors import Refusal, unknown_key
from hushtune.service.records import KeyRecord

router = APIRouter(prefix="/v1/keys", tags=["keys"])


@router.post(
    "",
    status_code=201,
    responses=errors(400, 401, 408, 409, 413, 415, 422, 429, 507),
    openapi_extra=OCTET_BODY,
)
async def add(request: Request, response: Response, service: The, client: Asker) -> KeyAnswer:
    """Upload evaluation keys. They are checked before they are kept."""
    queries, store = service.queries, service.queries.store
    queries.require_keys(uploaded=True)
    queries.require_ready()
    with service.keys.place(client.share):
        path = store.instance.partial("keys")
        try:
            await save_keys(
                request, service.largest_upload, queries.artifact.id, queries.settings, path
            )
            key_id = await queries.check_keys(path, client)
            if await request.is_disconnected():  # nobody would learn the keys' id
                raise Refusal(400, "broken_off", "The client did not wait for the answer.")
            identifier, record = await anyio.to_thread.run_sync(store.add_key, path, client, key_id)
        except Exception:
            queries.metrics.keys_refused.inc()
            raise
        finally:
            path.unlink(missing_ok=True)
    queries.metrics.keys_accepted.inc()
    response.headers["Location"] = f"/v1/keys/{identifier}"
    return _answer(identifier, record)


@router.get("/{key}", responses=errors(401, 404))
def show(key: str, service: The, client: Asker) -> KeyAnswer:
    """Whether keys are still kept, and until when."""
    record = service.queries.store.key(key, client.owner)
    if record is None:
        raise unknown_key()
    return _answer(key, record)


@router.delete("/{key}", status_code=204, responses=errors(401, 404))
async def delete(key: str, service: The, client: Asker) -> None:
    """Remove keys, their queries and responses."""
    if not await service.queries.delete_key(key, client.owner):
        raise unknown_key()


def _answer(identifier: str, record: KeyRecord) -> KeyAnswer:
    return KeyAnswer(
        id=identifier,
        bytes=record.bytes,
        created_at=datetime.fromtimestamp(record.created, timezone.utc),
        expires_at=datetime.fromtimestamp(record.expires, timezone.utc),
    )
