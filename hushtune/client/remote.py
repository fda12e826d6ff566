"""A client of a Hushtune service: a clip in, an answer out; only ciphertext leaves this machine.

The client part of the artifact is fetched once and cached by its hash, the keys are made once and
kept, the evaluation keys uploaded once for each service (and again if the service lost them).
"""

import asyncio
import contextlib
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal
from hushtune.fhe.answer import Answer
from hushtune.fhe.client import Client, Clip, response_bytes
from hushtune.support.errors import ArtifactError, KeyFileError, ServiceError
from hushtune.support.timing import timed

from hushtune.client.part import LARGEST_BYTES, keep_part
from hushtune.client.transport import Refused, Transport
from hushtune.folders import cache_folder, data_folder
from hushtune.recognizer import key_file

Step = Literal[
    "preparing", "encrypting", "sending", "waiting", "computing", "receiving", "decrypting", "done"
]
SOONEST_POLL_SECONDS, POLL_SECONDS = 0.03, 0.25
"""Between two looks whether a response is there: the first is soon, for a small circuit takes no
longer, then always twice as long up to the second."""
UPLOAD_CHUNK = 1 << 20
CHECK_SECONDS = 300.0
"""How long the service may take to check uploaded keys, beside what a query takes."""
GOODBYE_SECONDS = 5.0
"""How long an identification that ends early may take to forget its query."""
API = 1
AGAIN = {"worker_died", "server_stopping", "server_stopped"}
"""Failures of a query that are not its own."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """Where an identification stands.

    Attributes:
        step: what is being done; ``preparing`` the first time: making and uploading keys.
        position: of the query in the service's queue: 1 is next, 0 once it runs.
        seconds: the service has computed.
        expected_seconds: it says a query takes.
        sent_bytes: of the keys while preparing, then of the query.
        received_bytes: of the response.
        query: the encrypted query itself, once, while it is sent.
    """

    step: Step
    position: int = 0
    seconds: float = 0.0
    expected_seconds: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0
    query: bytes = b""


Listener = Callable[[Progress], None]


class AsyncRemoteClient:
    """Identifies clips through a service, asynchronously; an asynchronous context manager.

    Args:
        url: of the service, such as ``http://127.0.0.1:8714``.
        token: bearer token, where the service asks for one.
        keys: key file, made where it does not exist; one for each artifact in the user's data
            folder where None.
        folder: for client parts, keys and notes of what was uploaded; the user's own folders for
            cache and data where None.
        artifact: how the id must begin of the artifact served (``hushtune info`` prints it), if
            another one shall be refused.
        timeout: seconds to wait for any single answer of the service.

    Raises:
        ServiceError: not an address, or not a token.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        keys: str | PathLike | None = None,
        folder: str | PathLike | None = None,
        artifact: str | None = None,
        timeout: float = 60.0,
    ):
        self._transport = Transport(url, token, timeout)
        self.url = self._transport.url
        self._keys = Path(keys) if keys is not None else None
        self._data = Path(folder) if folder is not None else data_folder()
        self._parts = (self._data if folder is not None else cache_folder()) / "client-parts"
        self._wanted = artifact
        self._client: Client | None = None
        self._uploaded: str | None = None
        self._query_seconds = 0.0
        self._under_way = 0
        self._preparing = asyncio.Lock()
        self._local = asyncio.Lock()  # the FHE client serves one thread at a time

    async def __aenter__(self) -> "AsyncRemoteClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, once what was cancelled has said goodbye."""
        with anyio.move_on_after(GOODBYE_SECONDS):
            while self._under_way:
                await asyncio.sleep(0.02)
        await self._transport.close()

    async def info(self) -> dict:
        """What the service says of itself.

        Raises:
            ServiceError: no service there, or one that speaks differently.
        """
        try:
            info = (await self._transport.request("GET", "/v1/info")).json()
            digests = info["artifact"], info["client_part"]["sha256"]
            float(info["limits"]["query_timeout_seconds"])
            if info["service"] != "hushtune" or info["api"] != API:
                raise ValueError(f"service={info['service']}, api={info['api']}")
            if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests):
                raise ValueError("an id that is none")
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceError(
                f"{self.url}: not a Hushtune service that this version can speak to ({error!r})."
            ) from error
        if self._wanted and not digests[0].startswith(self._wanted.lower()):
            raise ServiceError(
                f"{self.url}: serves artifact {digests[0][:16]}, but {self._wanted} was asked for."
            )
        return info

    async def prepare(self, on_progress: Listener | None = None) -> Client:
        """Fetch the client part, make or load the keys, upload the evaluation keys.

        Done by the first `identify` where it was not done before; does nothing a second time.

        Args:
            on_progress: told of what is sent.

        Returns:
            The client that holds the keys.

        Raises:
            ServiceError: no service there, or it refuses.
            ArtifactError: its artifact was made with other versions than are installed here, or
                is not to be trusted.
            KeyFileError: the key file is damaged, or another artifact's.
        """
        async with self._preparing:
            client = await self._opened()
            if self._uploaded is None:
                self._uploaded = self._remembered() or await self._upload(on_progress)
            return client

    async def identify(
        self, clip: Clip, *, top: int = 3, on_progress: Listener | None = None
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
        tell = on_progress or (lambda _: None)
        self._under_way += 1
        try:
            try:
                return await self._identify(clip, top, tell)
            except Refused as error:
                lost = error.code in AGAIN or error.code == "unknown_key"
                if not lost and not (error.status == 422 and await self._outdated()):
                    raise
            return await self._identify(clip, top, tell)
        finally:
            self._under_way -= 1

    async def forget(self) -> None:
        """Delete the evaluation keys from the service, if it has them."""
        async with self._preparing:
            await self._opened()
            known = self._uploaded or self._remembered()
            if known is not None:
                await self._transport.request("DELETE", f"/v1/keys/{known}", accept=(404,))
            self._record().unlink(missing_ok=True)
            self._uploaded = None

    async def _identify(self, clip: Clip, top: int, tell: Listener) -> Answer:
        tell(Progress("preparing"))
        client = await self.prepare(tell)
        tell(Progress("encrypting"))
        async with self._local:
            features, notes = await asyncio.to_thread(client.features, clip)
            query, encrypted = await asyncio.to_thread(
                timed, lambda: client.encrypt_features(features)
            )
        size = len(query)
        tell(Progress("sending", sent_bytes=size, query=query))
        name = f"/v1/queries/{await self._send(query)}"
        try:
            seconds = await self._wait(name, size, tell)
            response = await self._transport.read(
                f"{name}/response",
                lambda n: tell(Progress("receiving", sent_bytes=size, received_bytes=n)),
                response_bytes(client.artifact),
            )
            received = len(response)
            tell(Progress("decrypting", sent_bytes=size, received_bytes=received))
            async with self._local:
                answer = await asyncio.to_thread(client.decrypt, response, top=top, notes=notes)
        finally:
            # also where it was cancelled: nothing is computed or kept for nobody
            with (
                anyio.move_on_after(GOODBYE_SECONDS, shield=True),
                contextlib.suppress(ServiceError),
            ):
                await self._transport.request("DELETE", name, accept=(404,))
        tell(Progress("done", sent_bytes=size, received_bytes=received))
        return answer.with_costs(
            encrypt_seconds=encrypted, compute_seconds=seconds, query_bytes=size
        )

    async def _opened(self) -> Client:
        """The client of the artifact served, with its keys; held by `_preparing`."""
        if self._client is None:
            info = await self.info()
            served = info["artifact"]
            self._query_seconds = float(info["limits"]["query_timeout_seconds"])
            folder = self._parts / served
            if not (folder / "manifest.json").is_file():
                data = await self._transport.read("/v1/client-part", lambda _: None, LARGEST_BYTES)
                folder = await asyncio.to_thread(keep_part, data, served, self._parts, self.url)
            self._client = await asyncio.to_thread(self._open, folder)
        return self._client

    def _open(self, folder: Path) -> Client:
        client = Client(folder)
        if self._wanted and not client.artifact.id.hex().startswith(self._wanted.lower()):
            raise ArtifactError(f"{self.url}: its client part is not of artifact {self._wanted}.")
        path = self._keys or key_file(self._data, client.artifact)
        if path.exists():
            client.load_keys(path)
        else:
            client.create_keys()
            try:
                client.save_keys(path)
            except KeyFileError:
                if not path.exists():
                    raise
                client.load_keys(path)  # another process was faster: use its keys
        return client

    async def _outdated(self) -> bool:
        """Whether the service has another artifact now; then everything is prepared anew."""
        served = (await self.info())["artifact"]
        async with self._preparing:
            if self._client is None or served == self._client.artifact.id.hex():
                return False
            self._client = self._uploaded = None
            return True

    def _record(self) -> Path:
        """Where this client notes what it uploaded to this service."""
        name = hashlib.sha256(self.url.encode() + self._client.artifact.id + self._client.key_id)
        return self._data / "uploads" / f"{name.hexdigest()[:32]}.json"

    def _remembered(self) -> str | None:
        """The id under which the service holds these very keys, as far as is known here."""
        try:
            known = json.loads(self._record().read_text("utf-8"))["id"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known if re.fullmatch(r"[\w-]{20,100}", str(known)) else None

    async def _upload(self, on_progress: Listener | None = None) -> str:
        tell = on_progress or (lambda _: None)
        # a refusal that comes while so much is being sent would not be read: ask first
        await self._transport.request("GET", "/readyz")
        async with self._local:
            keys = await asyncio.to_thread(self._client.evaluation_keys)
        made = await self._transport.request(
            "POST",
            "/v1/keys",
            content=lambda: _chunks(keys, lambda n: tell(Progress("preparing", sent_bytes=n))),
            length=len(keys),
            timeout=CHECK_SECONDS + self._query_seconds,
        )
        name = made.json()["id"]
        path = self._record()
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"url": self.url, "id": name}
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(record, file)
        return name

    async def _send(self, query: bytes) -> str:
        """Hand the query in; its id. Keys that the service has lost are forgotten here, too."""
        keys = self._uploaded
        try:
            answer = await self._transport.request(
                "POST",
                f"/v1/keys/{keys}/queries",
                content=lambda: _chunks(query, lambda _: None),
                length=len(query),
            )
        except Refused as error:
            if error.code == "unknown_key" and self._uploaded == keys:
                self._record().unlink(missing_ok=True)
                self._uploaded = None
                await self._outdated()
            raise
        return answer.json()["id"]

    async def _wait(self, name: str, sent: int, tell: Listener) -> float:
        """Poll until the response is there; the seconds the service computed."""
        pause = SOONEST_POLL_SECONDS
        while True:
            answer = await self._transport.request("GET", name)
            state = answer.json()
            if state["state"] == "done":
                return float(state["running_seconds"] or 0.0)
            if state["state"] == "failed":
                raise Refused(self.url, answer)
            tell(
                Progress(
                    "computing" if state["state"] == "running" else "waiting",
                    position=state["position"] or 0,
                    seconds=state["running_seconds"] or 0.0,
                    expected_seconds=state["expected_seconds"] or 0.0,
                    sent_bytes=sent,
                )
            )
            await asyncio.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS)


class RemoteClient:
    """Identifies clips through a service; a context manager.

    The same as `AsyncRemoteClient`, for programs that do not use asyncio.

    Args:
        url: of the service, such as ``http://127.0.0.1:8714``.
        token: bearer token, where the service asks for one.
        keys: key file, made where it does not exist; one for each artifact in the user's data
            folder where None.
        folder: for client parts, keys and notes of what was uploaded; the user's own folders for
            cache and data where None.
        artifact: how the id must begin of the artifact served, if another one shall be refused.
        timeout: seconds to wait for any single answer of the service.

    Raises:
        ServiceError: not an address, or not a token.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        keys: str | PathLike | None = None,
        folder: str | PathLike | None = None,
        artifact: str | None = None,
        timeout: float = 60.0,
    ):
        async def connect() -> AsyncRemoteClient:
            return AsyncRemoteClient(
                url, token=token, keys=keys, folder=folder, artifact=artifact, timeout=timeout
            )

        self._running = start_blocking_portal()
        self._portal = self._running.__enter__()
        try:
            self._remote = self._portal.call(connect)
        except BaseException:
            self._running.__exit__(None, None, None)
            raise
        self.url = self._remote.url

    def __enter__(self) -> "RemoteClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._portal.call(self._remote.close)
        self._running.__exit__(None, None, None)

    def info(self) -> dict:
        """What the service says of itself."""
        return self._call(self._remote.info)

    def prepare(self, on_progress: Listener | None = None) -> Client:
        """Fetch the client part, make or load the keys, upload the evaluation keys.

        Args:
            on_progress: told of what is sent, in another thread.

        Raises:
            ServiceError: no service there, or it refuses.
            ArtifactError: its artifact was made with other versions, or is not to be trusted.
            KeyFileError: the key file is damaged, or another artifact's.
        """
        return self._call(lambda: self._remote.prepare(on_progress))

    def identify(self, clip: Clip, *, top: int = 3, on_progress: Listener | None = None) -> Answer:
        """Identify a clip.

        Args:
            clip: a file's path, or (samples [n] or [n, channels], sample rate in Hz).
            top: how many matches to give.
            on_progress: told of every step, in another thread.

        Raises:
            AudioError: undecodable, shorter than 1 s, or silent.
            ServiceError: the service cannot be reached, refuses, or failed.
        """
        return self._call(lambda: self._remote.identify(clip, top=top, on_progress=on_progress))

    def forget(self) -> None:
        """Delete the evaluation keys from the service, if it has them."""
        self._call(self._remote.forget)

    def _call(self, function: Callable[[], Awaitable[Result]]) -> Result:
        """Run in the event loop's thread; an interruption here cancels it there."""
        future = self._portal.start_task_soon(function)
        try:
            return future.result()
        finally:
            future.cancel()


async def _chunks(data: bytes, tell: Callable[[int], None]) -> AsyncIterator[bytes]:
    for start in range(0, len(data), UPLOAD_CHUNK):
        part = data[start : start + UPLOAD_CHUNK]
        yield part
        tell(start + len(part))
