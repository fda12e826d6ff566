"""Around every request: an id, a log line, counts, headers; and errors that reach their client."""

import asyncio
import contextlib
import secrets
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hushtune.service.errors import Refusal
from hushtune.service.logs import note
from hushtune.service.metrics import Metrics

DRAIN_SECONDS = 2.0
DRAIN_BYTES = 16_000_000
UNMATCHED = "(unmatched)"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
ALWAYS_ANSWERED = "/healthz"


class Observed:
    """An ASGI application, logged and counted.

    The log names the route, not the path: a path may hold an id, which is a capability.

    Args:
        app: the application.
        metrics: what to count in.
        limit: requests at once; more are refused, but for `ALWAYS_ANSWERED`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, limit: int):
        self.app, self.metrics, self.limit = app, metrics, limit
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.monotonic()
        seen = {"id": secrets.token_hex(6), "in": 0, "out": 0, "status": 500, "ended": False}
        scope.setdefault("state", {})["seen"] = seen

        async def receive_counted() -> Message:
            message = await receive()
            seen["in"] += len(message.get("body", b""))
            seen["ended"] = message["type"] != "http.request" or not message.get("more_body")
            return message

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                headers = [
                    (b"x-request-id", seen["id"].encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
                if not any(name.lower() == b"cache-control" for name, _ in message["headers"]):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*message["headers"], *headers]}
            else:
                seen["out"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._answer(scope, receive_counted, send_counted)
        finally:
            seconds = time.monotonic() - started
            route = getattr(scope.get("route"), "path", UNMATCHED)
            method = _method(scope["method"]) if route != UNMATCHED else "(any)"
            self.metrics.requests.labels(method, route, str(seen["status"])).inc()
            self.metrics.request_seconds.labels(route).observe(seconds)
            self.metrics.received.inc(seen["in"])
            self.metrics.sent.inc(seen["out"])
            note(
                "request",
                request=seen["id"],
                method=method,
                path=route,
                status=seen["status"],
                milliseconds=round(1000 * seconds, 1),
                bytes_in=seen["in"],
                bytes_out=seen["out"],
                **({"code": seen["code"]} if "code" in seen else {}),
            )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._inside >= self.limit and scope["path"] != ALWAYS_ANSWERED:
            words = f"{self.limit} requests are being answered already."
            await ErrorResponse(Refusal(503, "too_many_requests", words, 5))(scope, receive, send)
            return
        self._inside += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._inside -= 1


def _method(name: str) -> str:
    """A label: clients may make up any method."""
    return name if name in METHODS else "(other)"


class ErrorResponse(JSONResponse):
    """An error in the service's form.

    If the request's body has not ended, some more of it is read after the answer: a client that is
    still sending would otherwise find the connection broken before it has read why.
    """

    def __init__(self, refusal: Refusal, headers: dict[str, str] | None = None):
        super().__init__(
            {"error": {"code": refusal.code, "message": refusal.message}},
            refusal.status,
            dict(headers or {}),
        )
        if refusal.retry_after is not None:
            self.headers["retry-after"] = str(max(1, round(refusal.retry_after)))
        if refusal.status == 401:
            self.headers["www-authenticate"] = "Bearer"
        self._code = refusal.code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, then drain."""
        seen = scope["state"]["seen"]
        seen["code"] = self._code
        if scope["method"] != "POST" or seen["ended"]:
            await super().__call__(scope, receive, send)
            return
        self.headers["connection"] = "close"
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_drain(receive, seen), DRAIN_SECONDS)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive, seen: dict) -> None:
    last = seen["in"] + DRAIN_BYTES
    while not seen["ended"] and seen["in"] < last:
        await receive()
