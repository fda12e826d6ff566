"""A client of a Hushtune service: a clip in, an answer out; only ciphertext leaves this machine.

The client part of the artifact is fetched once and cached by its id. A circuit without evaluation
keys is asked with a fresh key each time; for others the keys are made, kept and uploaded once, and
renewed after a number of queries and days.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from hushtune.client.address import Address, check_pin, check_token, public_key
from hushtune.client.answers import KeyAnswer, QueryAccepted, QueryAnswer, ServiceInfo
from hushtune.client.keys import Renewal, ServiceKeys
from hushtune.client.parts import Parts
from hushtune.client.progress import Listener, Progress
from hushtune.client.transport import Refused, Reply, Transport
from hushtune.fhe.answer import Answer
from hushtune.fhe.costs import QueryCosts
from hushtune.folders import cache_folder, data_folder
from hushtune.support.errors import ServiceError
from hushtune.support.timing import timed

if TYPE_CHECKING:
    from hushtune.fhe.client import Client, Clip

SOONEST_POLL_SECONDS, POLL_SECONDS = 0.03, 0.25
"""Between two looks whether a response is there: the first is soon, for a small circuit takes no
longer, then always twice as long up to the second."""
UPLOAD_CHUNK = 1 << 20
CHECK_SECONDS = 300.0
"""How long the service may take to check uploaded keys, beside what a query takes."""
GOODBYE_SECONDS = 5.0
"""How long an identification that ends early may take to forget its query."""
AGAIN = {"worker_died", "server_stopping", "server_stopped", "unknown_key", "unknown_query"}
"""Failures of a query that are not its own."""


class AsyncRemoteClient:
    """Identifies clips through a service, asynchronously; an asynchronous context manager.

    Args:
        url: of the service, such as ``http://127.0.0.1:8714``.
        token: bearer token, where the service asks for one.
        keys: key file for circuits that need evaluation keys, made where it does not exist; one
            for each service and artifact in the user's data folder where None.
        folder: for client parts and keys; the user's own folders for cache and data where None.
        artifact: how the id of the artifact served must begin, 16 digits or more, if another one
            shall be refused (``hushtune info`` prints it).
        signer: who must have signed the artifact: an Ed25519 public key (64 hexadecimal digits, as
            ``hushtune sign`` prints it) or the path of one as PEM; anybody or nobody where None.
        timeout: seconds to wait for any single answer of the service.
        insecure_http: whether a token may be sent unencrypted to another machine.
        key_queries: evaluation keys are renewed after so many queries.
        key_days: evaluation keys are renewed after so many days.

    Raises:
        ServiceError: not an address, a token or a signer, or a token that everyone on the way
            could read.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        keys: str | PathLike[str] | None = None,
        folder: str | PathLike[str] | None = None,
        artifact: str | None = None,
        signer: str | PathLike[str] | None = None,
        timeout: float = 60.0,
        insecure_http: bool = False,
        key_queries: int = Renewal.queries,
        key_days: float = Renewal.days,
    ):
        address = Address.parse(url)
        if token is not None:
            token = check_token(token, address, insecure_http=insecure_http)
        self._transport = Transport(address, token, timeout)
        self.url = address.url
        self._key_path = Path(keys) if keys is not None else None
        self._data = Path(folder) if folder is not None else data_folder()
        parts = (self._data if folder is not None else cache_folder()) / "client-parts"
        by = public_key(signer) if signer is not None else None
        # a folder for each service: none learns what was fetched from another
        own = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._parts = Parts(parts / own, self._transport, by)
        self._wanted = "" if artifact is None else check_pin(artifact)
        self._renewal = Renewal(key_queries, key_days)
        self._served = ""  # id of the artifact, once its client part was opened
        self._client: Client | None = None
        self._keys: ServiceKeys | None = None  # None where every query has a fresh key
        self._query_seconds = 0.0
        self._under_way = 0
        self._closed = False
        self._preparing = asyncio.Lock()
        self._local = asyncio.Lock()  # the FHE client serves one thread at a time

    async def __aenter__(self) -> "AsyncRemoteClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, once what was cancelled has said goodbye."""
        self._closed = True
        with anyio.move_on_after(GOODBYE_SECONDS):
            while self._under_way:
                await asyncio.sleep(0.02)
        await self._transport.close()

    async def info(self) -> ServiceInfo:
        """What the service says of itself.

        Raises:
            ServiceError: no service there, or one that speaks differently, or of another artifact.
        """
        self._check_open()
        info = (await self._transport.request("GET", "/v1/info")).read_as(ServiceInfo)
        if not info.artifact.startswith(self._wanted):
            raise ServiceError(
                f"{self.url}: serves artifact {info.artifact[:16]}, but {self._wanted} was asked "
                "for."
            )
        return info

    async def prepare(self, on_progress: Listener | None = None) -> "Client":
        """Fetch the client part; where the circuit needs evaluation keys, make and upload them.

        Done by the first `identify` where it was not done before; does nothing a second time.

        Args:
            on_progress: told of what is sent.

        Returns:
            The client that holds the keys.

        Raises:
            ServiceError: no service there, or it refuses.
            ArtifactError: its artifact was made with other versions than are installed here, or
                is not to be trusted.
            KeyFileError: the key file is damaged, or another artifact's or service's.
        """
        self._check_open()
        client, _ = await self._ready(on_progress or _ignore, queries=0)
        return client

    async def identify(
        self, clip: "Clip", *, top: int = 3, on_progress: Listener | None = None
    ) -> Answer:
        """Identify a clip.

        Args:
            clip: a file's path, or (samples [n] or [n, channels], sample rate in Hz).
            top: how many matches to give.
            on_progress: told of every step.

        Raises:
            AudioError: undecodable, shorter than 1 s, or silent.
            ServiceError: the service cannot be reached, refuses, or failed.
        """
        self._check_open()
        tell = on_progress or _ignore
        self._under_way += 1
        try:
            try:
                return await self._identify(clip, top, tell)
            except Refused as error:
                lost = error.code in AGAIN
                if not lost and not (error.status == 422 and await self._outdated()):
                    raise
            return await self._identify(clip, top, tell)
        finally:
            self._under_way -= 1

    async def forget(self) -> None:
        """Delete the evaluation keys from the service, if it has them."""
        self._check_open()
        async with self._preparing:
            await self._open_part()
            if self._keys is not None:
                await self._delete(self._keys, await asyncio.to_thread(self._keys.uploads))

    async def _identify(self, clip: "Clip", top: int, tell: Listener) -> Answer:
        tell(Progress("preparing"))
        client, upload = await self._ready(tell, queries=1)
        tell(Progress("encrypting"))
        async with self._local:
            features, heard = await asyncio.to_thread(client.features, clip)
            query, encrypted = await asyncio.to_thread(
                timed, lambda: client.encrypt_features(features)
            )
        size = len(query)
        tell(Progress("sending", sent_bytes=size, query=query))
        name = f"/v1/queries/{await self._send(query, upload)}"
        try:
            seconds = await self._wait(name, size, tell)
            reply = await self._transport.request(
                "GET",
                f"{name}/response",
                limit=client.response_bytes,
                tell=lambda n: tell(Progress("receiving", sent_bytes=size, received_bytes=n)),
                persist=True,
            )
            response, received = reply.body, len(reply.body)
            tell(Progress("decrypting", sent_bytes=size, received_bytes=received))
            async with self._local:
                answer, decrypted = await asyncio.to_thread(
                    timed, lambda: client.decrypt(response, top=top, heard=heard)
                )
        finally:
            # also where it was cancelled: nothing is computed or kept for nobody
            with (
                anyio.move_on_after(GOODBYE_SECONDS, shield=True),
                contextlib.suppress(ServiceError),
            ):
                await self._transport.request("DELETE", name, accept=(404,))
        tell(Progress("done", sent_bytes=size, received_bytes=received))
        costs = QueryCosts(encrypted, seconds, decrypted, size, received)
        return replace(answer, costs=costs)

    async def _ready(self, tell: Listener, *, queries: int) -> tuple["Client", str | None]:
        """A client to encrypt so many queries with, and where the service has its keys."""
        async with self._preparing:
            await self._open_part()
            if self._keys is None:
                assert self._client is not None
                return self._client, None
            keys = self._keys
            client, record = await asyncio.to_thread(
                keys.take, self._client, partial(self._parts.open, self._served), queries=queries
            )
            self._client, upload = client, record.upload
            if upload is None:
                upload = await self._upload(client, tell)
                await asyncio.to_thread(keys.note_upload, client.key_id, upload)
            if record.retired and self._under_way <= queries:  # no query needs them any more
                with contextlib.suppress(ServiceError):  # else next time
                    await self._delete(keys, record.retired)
            return client, upload

    async def _open_part(self) -> None:
        """Fetch and check the client part of the artifact served; held by `_preparing`."""
        if self._served:
            return
        info = await self.info()
        self._query_seconds = info.limits.query_timeout_seconds
        await self._parts.fetch(info.artifact)
        # Concrete's libraries are loaded only now, after the service has answered
        client = await asyncio.to_thread(self._parts.open, info.artifact)
        self._served, artifact = info.artifact, client.artifact.id
        if client.fresh_keys:
            self._client, self._keys = client, None
        else:
            path = self._key_path or ServiceKeys.default_path(self._data, self.url, artifact)
            self._client = None
            self._keys = ServiceKeys(path, self.url, artifact, self._renewal)

    async def _outdated(self) -> bool:
        """Whether the service has another artifact now; then everything is prepared anew."""
        served = (await self.info()).artifact
        async with self._preparing:
            if served == self._served:
                return False
            self._served = ""
            return True

    async def _upload(self, client: "Client", tell: Listener) -> str:
        # a refusal that comes while so much is being sent would not be read: ask first
        await self._transport.request("GET", "/readyz")
        async with self._local:
            keys = await asyncio.to_thread(client.evaluation_keys)
        made = await self._transport.request(
            "POST",
            "/v1/keys",
            content=lambda: _chunks(keys, lambda n: tell(Progress("preparing", sent_bytes=n))),
            length=len(keys),
            timeout=CHECK_SECONDS + self._query_seconds,
        )
        return made.read_as(KeyAnswer).id

    async def _delete(self, keys: ServiceKeys, uploads: tuple[str, ...]) -> None:
        for upload in uploads:
            await self._transport.request("DELETE", f"/v1/keys/{upload}", accept=(404,))
        await asyncio.to_thread(keys.note_gone, *uploads)

    async def _send(self, query: bytes, upload: str | None) -> str:
        """Hand the query in; its id. Keys that the service has lost are forgotten here, too."""
        try:
            answer = await self._transport.request(
                "POST",
                "/v1/queries" if upload is None else f"/v1/keys/{upload}/queries",
                content=lambda: _chunks(query, lambda _: None),
                length=len(query),
            )
        except Refused as error:
            if error.code == "unknown_key" and upload is not None:
                keys = self._keys
                if keys is not None:
                    await asyncio.to_thread(keys.note_gone, upload)
                await self._outdated()
            raise
        return answer.read_as(QueryAccepted).id

    async def _wait(self, name: str, sent: int, tell: Listener) -> float:
        """Poll until the response is there; the seconds the service computed."""
        pause = SOONEST_POLL_SECONDS
        while True:
            reply: Reply = await self._transport.request("GET", name, persist=True)
            query = reply.read_as(QueryAnswer)
            if query.state == "done":
                return query.running_seconds
            if query.state == "failed":
                raise Refused(reply, query.error)
            tell(
                Progress(
                    "computing" if query.state == "running" else "waiting",
                    position=query.position,
                    seconds=query.running_seconds,
                    expected_seconds=query.expected_seconds,
                    sent_bytes=sent,
                )
            )
            await asyncio.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS)

    def _check_open(self) -> None:
        if self._closed:
            raise ServiceError(f"{self.url}: this client is closed. Make a new one.")


async def _chunks(data: bytes, tell: Callable[[int], None]) -> AsyncIterator[bytes]:
    for start in range(0, len(data), UPLOAD_CHUNK):
        part = data[start : start + UPLOAD_CHUNK]
        yield part
        tell(start + len(part))


def _ignore(_: Progress) -> None:
    """Told of progress that nobody asked for."""
