"""From whatever goes wrong in a request to the service's form of an error."""

import sqlite3
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from hushtune.service.errors import Refusal, disk_full, is_disk_full
from hushtune.service.middleware import ErrorResponse


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error in the service's form."""

    def on_http_error(request: Request, error: HTTPException) -> ErrorResponse:
        words = {404: "No such path.", 405: "The path does not know this method."}
        codes = {404: "unknown_path", 405: "unknown_method"}
        message = words.get(error.status_code, str(error.detail))
        code = codes.get(error.status_code, "http_error")
        headers = {"Allow": _allowed(app, request)} if error.status_code == 405 else error.headers
        return ErrorResponse(Refusal(error.status_code, code, message), headers)

    def on_refusal(_: Request, refusal: Refusal) -> ErrorResponse:
        return ErrorResponse(refusal)

    def on_invalid(_: Request, error: RequestValidationError) -> ErrorResponse:
        where = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        return ErrorResponse(Refusal(422, "invalid", f"Not as described: {where}."))

    def on_storage_error(_: Request, error: Exception) -> ErrorResponse:
        if is_disk_full(error):
            return ErrorResponse(disk_full())
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            return ErrorResponse(Refusal(503, "busy", "The store is busy. Try again.", 5))
        raise error

    def on_anything(_: Request, __: Exception) -> ErrorResponse:
        return ErrorResponse(Refusal(500, "internal", "The server failed; its log tells more."))

    handlers: dict[type[Exception], Any] = {
        HTTPException: on_http_error,
        Refusal: on_refusal,
        RequestValidationError: on_invalid,
        OSError: on_storage_error,
        sqlite3.OperationalError: on_storage_error,
        Exception: on_anything,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _allowed(app: FastAPI, request: Request) -> str:
    """The methods a path knows, over all its routes."""
    scope = dict(request.scope)
    matching = [route for route in app.routes if route.matches(scope)[0] != Match.NONE]
    methods = {method for route in matching for method in getattr(route, "methods", None) or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
