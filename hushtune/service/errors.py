"""What the service refuses, and how it says so."""

import errno
import sqlite3

RETRY_SECONDS = 15.0


class Refusal(Exception):
    """A request that is answered with an error.

    Args:
        status: the HTTP status.
        code: a word for programs.
        message: a sentence for people; never ids, tokens or ciphertext.
        retry_after: after how many seconds the same request may succeed; 429 and 503 always say.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        if retry_after is None and status in (429, 503):
            retry_after = RETRY_SECONDS
        self.retry_after = retry_after


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that there is no room for more bytes."""
    if isinstance(error, sqlite3.OperationalError):
        return "full" in str(error)
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_full() -> Refusal:
    """The answer where there is no room for more bytes."""
    return Refusal(
        507,
        "disk_full",
        "The server has no room left on its disk; nothing was stored. Try again later.",
        retry_after=60,
    )


def unknown_key() -> Refusal:
    """The answer where there are no such keys, or they are another client's."""
    return Refusal(
        404,
        "unknown_key",
        "No evaluation keys have this id: they expired, made room for others, were deleted or "
        "never were. Upload them again.",
    )


def unknown_query() -> Refusal:
    """The answer where there is no such query, or it is another client's."""
    return Refusal(
        404,
        "unknown_query",
        "No query has this id: it was deleted, ended too long ago or never was.",
    )


def keys_not_used() -> Refusal:
    """The answer to evaluation keys where the artifact needs none."""
    return Refusal(
        409,
        "keys_not_used",
        "This artifact computes without evaluation keys: send each query to POST /v1/queries, "
        "encrypted with a fresh key.",
    )


def keys_needed() -> Refusal:
    """The answer to a query without keys where the artifact needs some."""
    return Refusal(
        409,
        "keys_needed",
        "This artifact computes with evaluation keys: upload them to POST /v1/keys, then send "
        "queries to POST /v1/keys/KEY/queries.",
    )
