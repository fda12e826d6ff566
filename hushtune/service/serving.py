"""From settings to a running server, and its end."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
from pydantic import ValidationError

from hushtune.fhe.artifact import Artifact
from hushtune.listening import listen
from hushtune.service.api import create_app
from hushtune.service.clients import Proxies
from hushtune.service.connections import BACKLOG, Limits, allowed_connections, bounded
from hushtune.service.logs import configure_logs, note
from hushtune.service.queries import Queries
from hushtune.service.settings import ServiceSettings
from hushtune.support.errors import ConfigError

CLOSING_SECONDS = 10


def service_settings(given: dict[str, object]) -> ServiceSettings:
    """Settings from options.

    Raises:
        ConfigError: an option is not allowed; all mistakes at once.
    """
    try:
        return ServiceSettings.model_validate(given)
    except ValidationError as error:
        lines = [
            f"--{'.'.join(map(str, e['loc'])).replace('_', '-')}={e['input']}: {e['msg']}"
            for e in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error


def serve(
    artifact: Path, settings: ServiceSettings, announce: Callable[[str], None] = print
) -> None:
    """Serve an artifact until SIGTERM or SIGINT.

    Args:
        artifact: its folder; the client and server parts are needed.
        settings: how to.
        announce: told the address, once connections are accepted.

    Raises:
        ArtifactError: missing, changed, or made with other versions.
        ServiceError: the address, the data folder or the tokens file cannot be used.
    """
    os.umask(0o077)
    configure_logs()
    loaded = Artifact(artifact, ("client", "server"))
    listening = listen(settings.host, settings.port)
    app, queries = create_app(loaded, settings)
    port = listening.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    if settings.tokens is None and settings.host not in ("127.0.0.1", "::1", "localhost"):
        note("open to everyone who reaches it: no tokens", level=logging.WARNING, host=host)
    proxies = Proxies(settings.trusted_proxies)
    limits = Limits(
        number=allowed_connections(settings.connections),
        per_address=settings.connections_per_address,
        idle=settings.idle_timeout,
        slowest=settings.slowest_upload,
        proxies=proxies,
    )
    config = uvicorn.Config(
        app,
        http=bounded(limits),
        backlog=BACKLOG,
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies.addresses),
        forwarded_allow_ips=proxies.addresses,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )
    note("serving", host=host, port=port, artifact=loaded.id.hex()[:16], pid=os.getpid())
    _Server(config, queries, lambda: announce(f"http://{host}:{port}")).run(sockets=[listening])
    note("stopped")


class _Server(uvicorn.Server):
    """uvicorn, but told to stop it goes on answering until what runs has ended and was fetched.

    Clients that wait for a response have some seconds to come for it. A second signal ends the
    process at once, and its workers with it; the next start cleans up.
    """

    def __init__(self, config: uvicorn.Config, queries: Queries, started: Callable[[], None]):
        super().__init__(config)
        self.queries, self._tell, self._told = queries, started, False
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and say where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self._tell()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; the second time, stop.

        It runs between any two steps of the program, so it must not log: the line it would
        interrupt holds the stream.
        """
        if self._loop is None or self._told:
            os._exit(128 + sig)
        self._told = True
        self._loop.call_soon_threadsafe(self._begin_to_stop, sig)

    def _begin_to_stop(self, sig: int) -> None:
        note("stopping", signal=signal.Signals(sig).name, running=self.queries.workers.busy)
        self.queries.stopping = True
        self._draining = asyncio.create_task(self._stop())

    async def _stop(self) -> None:
        try:
            await self.queries.drain()
            await self.queries.linger()
        finally:
            self.should_exit = True
