"""How the OpenAPI description tells of bodies and errors."""

from typing import Any

from fastapi import FastAPI

from hushtune.service.api.answers import ErrorAnswer

OCTETS = "application/octet-stream"
BINARY = {"type": "string", "format": "binary"}
OCTET_BODY = {"requestBody": {"required": True, "content": {OCTETS: {"schema": BINARY}}}}
WORDS = {
    304: "The copy named by If-None-Match is still right.",
    400: "The body was broken off.",
    401: "No token, or an unknown one.",
    404: "Nothing of this client's has this id.",
    408: "The body stalled or came too slowly.",
    409: "The artifact takes keys, or none; or the query has not ended.",
    410: "The query failed: there will be no response.",
    413: "The body is too large.",
    415: "The body is not announced as application/octet-stream.",
    422: "The body is not what it should be.",
    429: "Too many of one client's keys, queries or uploads are in use, or came within an hour.",
    503: "The service is busy, starting or stopping.",
    507: "No room on the server's disk.",
}
Responses = dict[int | str, dict[str, Any]]


def errors(*statuses: int) -> Responses:
    """These answers and 503, which all but the health check may give."""
    documented: Responses = {}
    for status in sorted({*statuses, 503}):
        documented[status] = {"model": ErrorAnswer, "description": WORDS[status]}
        if status in (429, 503, 507):
            documented[status]["headers"] = {
                "Retry-After": {
                    "description": "Seconds after which to try again.",
                    "schema": {"type": "integer"},
                }
            }
    return documented


def tidy_openapi(app: FastAPI, *, tokens: bool) -> None:
    """Describe no errors in FastAPI's own form, and tokens only where they are asked for."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        for operations in schema["paths"].values():
            for operation in operations.values():
                answer = operation["responses"].get("422", {})
                if "HTTPValidationError" in str(answer):
                    del operation["responses"]["422"]
                if not tokens:
                    operation.pop("security", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        if not tokens:
            schema["components"].pop("securitySchemes", None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
