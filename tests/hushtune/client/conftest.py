"""Servers that misbehave by a script."""

import socket
import threading
from contextlib import suppress

import pytest


class Hostile:
    """A server whose connections a function handles; it notes the requests it was sent."""

    def __init__(self, behave):
        self.requests: list[bytes] = []
        self._behave = behave
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                part = connection.recv(1 << 16)
                if not part:
                    return
                request += part
            self.requests.append(request)
            self._behave(connection)

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def hostile():
    """Makes servers from a function that is given each connection after its request."""
    servers = []

    def make(behave) -> Hostile:
        if isinstance(behave, bytes):
            answer = behave
            behave = lambda connection: connection.sendall(answer)  # noqa: E731
        servers.append(Hostile(behave))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@pytest.fixture(name="http")
def _http():
    return http
