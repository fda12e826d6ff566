"""Request bodies: streamed, with limits on size, pauses and pace, checked before they end."""

import asyncio
import contextlib
import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import Request
from starlette.requests import ClientDisconnect

from hushtune.fhe.envelope import DIGEST, HEADER_BYTES, KEY_ID, KINDS, MAGIC, Envelope
from hushtune.service.errors import Refusal, disk_full
from hushtune.service.records import free_bytes
from hushtune.service.settings import ServiceSettings
from hushtune.support.errors import ProtocolError

WRITE_BYTES = 1 << 20
OCTETS = "application/octet-stream"


async def read_chunks(
    request: Request, limit: int, settings: ServiceSettings
) -> AsyncIterator[bytes]:
    """A body's bytes as they come.

    Raises:
        Refusal: another content type, too many bytes, a long pause, too slow, or broken off.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != OCTETS:
        raise Refusal(415, "content_type", f"Send the bytes as 'Content-Type: {OCTETS}'.")
    if _announced(request) > limit:
        raise _too_large(limit)
    started, received, stream = time.monotonic(), 0, request.stream()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream), settings.idle_timeout)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise Refusal(
                408, "upload_stalled", f"No byte came for {settings.idle_timeout:g} s."
            ) from None
        except ClientDisconnect:
            raise Refusal(400, "broken_off", "The body was broken off.") from None
        received += len(chunk)
        if received > limit:
            raise _too_large(limit)
        seconds = time.monotonic() - started - settings.idle_timeout
        if seconds > 0 and received < settings.slowest_upload * seconds:
            raise Refusal(
                408,
                "upload_slow",
                f"Bytes must come at {settings.slowest_upload:g} a second or faster.",
            )
        if chunk:
            yield chunk


async def read_query(
    request: Request, limit: int, artifact: bytes, settings: ServiceSettings
) -> bytes:
    """A query's bytes; its header is checked as soon as it is there.

    Raises:
        Refusal: as `read_chunks`, or not a query for this artifact.
    """
    body, checked = bytearray(), False
    async for chunk in read_chunks(request, limit, settings):
        body += chunk
        if not checked and len(body) >= HEADER_BYTES:
            _check_header(bytes(body[:HEADER_BYTES]), b"Q", artifact)
            checked = True
    return bytes(body)


async def save_keys(
    request: Request, limit: int, artifact: bytes, settings: ServiceSettings, path: Path
) -> None:
    """Write a body of evaluation keys to a new file and flush it to the disk.

    Nothing is left where it fails.

    Raises:
        Refusal: as `read_chunks`, not evaluation keys for this artifact, or no room on the disk.
    """
    done = False
    head, digest, pending = bytearray(), hashlib.sha256(), bytearray()
    _need_room(path.parent, min(_announced(request), limit), settings)
    file = await asyncio.to_thread(path.open, "xb", 0)
    try:

        def write(data: bytes, skip: int) -> None:
            _need_room(path.parent, len(data), settings)
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            if skip:
                digest.update(data[: DIGEST.start])
            digest.update(memoryview(data)[skip:])

        skip = HEADER_BYTES  # the digest is of all but itself
        async for chunk in read_chunks(request, limit, settings):
            if len(head) < HEADER_BYTES:
                head += chunk[: HEADER_BYTES - len(head)]
                if len(head) == HEADER_BYTES:
                    _check_header(bytes(head), b"E", artifact)
            pending += chunk
            if len(pending) >= WRITE_BYTES:
                await asyncio.to_thread(write, bytes(pending), skip)
                pending.clear()
                skip = 0
        if len(head) < HEADER_BYTES:
            _check_header(bytes(head), b"E", artifact)
        await asyncio.to_thread(write, bytes(pending), skip)
        if digest.digest() != head[DIGEST]:
            raise Refusal(
                422, "unreadable", "evaluation keys: truncated or damaged (SHA-256 differs)."
            )
        await asyncio.to_thread(os.fsync, file.fileno())
        done = True
    finally:
        with contextlib.suppress(OSError):
            file.close()
        if not done:
            path.unlink(missing_ok=True)


def _announced(request: Request) -> int:
    """The body's length as announced; 0 where it is not."""
    length = request.headers.get("content-length", "0")
    return int(length) if re.fullmatch("[0-9]{1,18}", length) else 0


def _check_header(head: bytes, kind: bytes, artifact: bytes) -> None:
    """Refuse what does not begin as an envelope of this kind and artifact."""
    expected = Envelope(kind, artifact, bytes(16), b"").pack()[: KEY_ID.start]
    if head[: KEY_ID.start] == expected and len(head) == HEADER_BYTES:
        return
    wanted = KINDS[kind]
    if len(head) < HEADER_BYTES or not head.startswith(MAGIC):
        raise Refusal(422, "unreadable", f"{wanted}: not bytes that hushtune.Client makes.")
    try:
        Envelope.unpack(head, kind, artifact)
    except ProtocolError as error:
        raise Refusal(422, "unreadable", str(error)) from None


def _need_room(folder: Path, size: int, settings: ServiceSettings) -> None:
    if free_bytes(folder) < size + settings.reserve_bytes:
        raise disk_full()


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "too_large", f"More than the {limit} bytes that are accepted here.")


class Places:
    """Places for bodies that are being sent, of which a client may take its share.

    Args:
        number: of places.
        share: of one client.
        what: is being sent.
    """

    def __init__(self, number: int, share: int, what: str):
        self.number, self.share, self.what = number, share, what
        self.taken: Counter[str] = Counter()

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """A place; refused where there is none."""
        if self.taken[client] >= self.share:
            words = f"{self.share} {self.what} of yours are being sent already."
            raise Refusal(429, "too_many_uploads", words, 5)
        if self.taken.total() >= self.number:
            words = f"{self.number} {self.what} are being sent already."
            raise Refusal(503, "too_many_uploads", words, 5)
        self.taken[client] += 1
        try:
            yield
        finally:
            self.taken[client] -= 1
            self.taken += Counter()  # forgets who has none
