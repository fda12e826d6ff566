"""Around every request: an id, a log line, counts and headers."""

import secrets
import time
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hushtune.service.errors import Refusal
from hushtune.service.logs import note
from hushtune.service.metrics import Metrics

UNMATCHED = "(unmatched)"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
ALWAYS_ANSWERED = "/healthz"
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Observed:
    """An ASGI application, logged and counted. It answers HEAD wherever it answers GET.

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
        started, asked = time.monotonic(), scope["method"]
        seen: dict[str, Any] = {"id": secrets.token_hex(6), "in": 0, "out": 0, "status": 500}
        scope.setdefault("state", {})["seen"] = seen
        if asked == "HEAD":
            scope = {**scope, "method": "GET"}

        async def receive_counted() -> Message:
            message = await receive()
            seen["in"] += len(message.get("body", b""))
            return message

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update({**SECURITY_HEADERS, "X-Request-Id": seen["id"]})
                headers.setdefault("Cache-Control", "no-store")
            elif asked == "HEAD":
                message = {**message, "body": b""}
            seen["out"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._answer(scope, receive_counted, send_counted)
        finally:
            seconds = time.monotonic() - started
            route = getattr(scope.get("route"), "path", UNMATCHED)
            method = _method(asked) if route != UNMATCHED else "(any)"
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
    """An error in the service's form."""

    def __init__(self, refusal: Refusal, headers: Mapping[str, str] | None = None):
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
        """Answer, and tell the log why."""
        scope["state"]["seen"]["code"] = self._code
        await super().__call__(scope, receive, send)
