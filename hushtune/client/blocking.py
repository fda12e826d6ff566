"""The same client for programs that do not use asyncio."""

from collections.abc import Awaitable, Callable
from os import PathLike
from typing import TYPE_CHECKING, TypeVar

from anyio.from_thread import start_blocking_portal

from hushtune.client.answers import ServiceInfo
from hushtune.client.keys import Renewal
from hushtune.client.progress import Listener
from hushtune.client.remote import AsyncRemoteClient
from hushtune.fhe.answer import Answer
from hushtune.support.errors import ServiceError

if TYPE_CHECKING:
    from hushtune.fhe.client import Client, Clip

Result = TypeVar("Result")


class RemoteClient:
    """Identifies clips through a service; a context manager.

    The same as `AsyncRemoteClient`, for programs that do not use asyncio.

    Args:
        url: of the service, such as ``http://127.0.0.1:8714``.
        token: bearer token, where the service asks for one.
        keys: key file for circuits that need evaluation keys, made where it does not exist; one
            for each service and artifact in the user's data folder where None.
        folder: for client parts and keys; the user's own folders for cache and data where None.
        artifact: how the id must begin of the artifact served, if another one shall be refused.
        signer: who must have signed the artifact: an Ed25519 public key (64 hexadecimal digits) or
            the path of one as PEM.
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
        async def connect() -> AsyncRemoteClient:
            return AsyncRemoteClient(
                url,
                token=token,
                keys=keys,
                folder=folder,
                artifact=artifact,
                signer=signer,
                timeout=timeout,
                insecure_http=insecure_http,
                key_queries=key_queries,
                key_days=key_days,
            )

        self._closed = False
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
        """Close the connections; does nothing a second time."""
        if not self._closed:
            self._closed = True
            self._portal.call(self._remote.close)
            self._running.__exit__(None, None, None)

    def info(self) -> ServiceInfo:
        """What the service says of itself.

        Raises:
            ServiceError: no service there, or one that speaks differently, or of another artifact.
        """
        return self._call(self._remote.info)

    def prepare(self, on_progress: Listener | None = None) -> "Client":
        """Fetch the client part; where the circuit needs evaluation keys, make and upload them.

        Args:
            on_progress: told of what is sent, in another thread.

        Raises:
            ServiceError: no service there, or it refuses.
            ArtifactError: its artifact was made with other versions, or is not to be trusted.
            KeyFileError: the key file is damaged, or another artifact's or service's.
        """
        return self._call(lambda: self._remote.prepare(on_progress))

    def identify(
        self, clip: "Clip", *, top: int = 3, on_progress: Listener | None = None
    ) -> Answer:
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
        if self._closed:
            raise ServiceError(f"{self.url}: this client is closed. Make a new one.")
        future = self._portal.start_task_soon(function)
        try:
            return future.result()
        finally:
            future.cancel()
