"""Requests to a service: what may be tried again is, and every failure is one clear error.

The service may be hostile. Every answer is read through a limit of bytes and of seconds, compressed
answers are refused, redirects are not followed, cookies are not kept, and JSON is parsed strictly.
"""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar
from urllib.request import getproxies

import anyio
import httpx
from pydantic import TypeAdapter, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from hushtune.client.address import Address
from hushtune.client.answers import ErrorAnswer, Problem
from hushtune.support import strict_json
from hushtune.support.errors import ServiceError
from hushtune.support.text import printable

ATTEMPTS = 6
"""How often a request whose connection breaks is tried."""
FIRST_PAUSE_SECONDS = 0.5
"""Before the second attempt; doubled before every further one."""
LONGEST_PAUSE_SECONDS = 60.0
PATIENCE_SECONDS = 300.0
"""How long a request is tried again, for whatever reason."""
CONNECT_SECONDS = 10.0
SLOWEST_BYTES_PER_SECOND = 10_000
"""What an answer or an upload must keep up beyond the time-out of a single answer."""
LARGEST_JSON_BYTES = 100_000
DEEPEST_JSON = 8
BUSY = {429, 502, 503, 504}
"""Answers of a service, or of a proxy before it, that is busy or restarting."""
STALLED = 408
"""The service closed a connection on which too little came, for instance because another thread
held this process up; worth as many attempts as a connection that broke."""
NOT_BUSY = {"hour_is_full"}
"""The service's words for what a short wait does not change."""

Body = Callable[[], AsyncIterator[bytes]]
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Reply:
    """An answer that was read whole."""

    url: str
    status: int
    reason: str
    headers: httpx.Headers
    body: bytes

    @property
    def success(self) -> bool:
        """Whether its status is one of 200 to 299."""
        return 200 <= self.status < 300

    def read_as(self, kind: type[Kind]) -> Kind:
        """The JSON in it.

        Raises:
            ServiceError: not JSON of this kind.
        """
        try:
            value = strict_json.loads(
                self.body, max_bytes=LARGEST_JSON_BYTES, max_depth=DEEPEST_JSON
            )
            return TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            wrong = error.errors()[0]
            why = f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
            raise self._foreign(why) from error
        except ValueError as error:
            raise self._foreign(str(error)) from error

    def _foreign(self, why: str) -> ServiceError:
        return ServiceError(
            f"{self.url}: not a Hushtune service that this version can speak to "
            f"({_printable(why)[:200]})."
        )


class Unreachable(ServiceError):
    """The connection could not be made, broke, or was too slow.

    Attributes:
        again: whether another attempt makes sense.
        later: whether one does for somebody whose query the service holds.
    """

    def __init__(self, message: str, *, again: bool, later: bool):
        super().__init__(message)
        self.again, self.later = again, later


class Refused(ServiceError):
    """The service answered with an error, or that a query failed.

    Attributes:
        status: the HTTP status.
        code: the service's word for it, "" where the answer is not the service's own.
        again: whether the service is only busy, or the connection stalled.
        pause: seconds after which it asks to be asked again.
    """

    def __init__(self, reply: Reply, problem: Problem | None = None):
        self.status, self.code = reply.status, ""
        self.again = self.later = reply.status in {*BUSY, STALLED}
        self.pause = _retry_after(reply.headers)
        reason = reply.reason or "no reason given"
        if problem is None:
            with suppress(ServiceError):
                problem = reply.read_as(ErrorAnswer).error
        if problem is not None:
            self.code, reason = problem.code, problem.message
        if self.code in NOT_BUSY:
            self.again = self.later = False
        what = "the query failed" if reply.success else f"refused ({self.status})"
        super().__init__(f"{reply.url}: {what}: {_printable(reason)}")


class Transport:
    """HTTP to one service.

    Args:
        address: of the service.
        token: bearer token, or None.
        timeout: seconds to wait for any single answer.

    Raises:
        ServiceError: not an address.
    """

    def __init__(self, address: Address, token: str | None, timeout: float):
        self.address, self.url, self._timeout = address, address.url, timeout
        headers = {"Accept-Encoding": "identity", "User-Agent": "hushtune"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._http = httpx.AsyncClient(
                base_url=self.url,
                headers=headers,
                timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                trust_env=not address.loopback,  # no proxy stands between this machine and itself
            )
        except (httpx.InvalidURL, ValueError, ImportError) as error:
            raise ServiceError(f"{self.url}: not an address or proxy ({error}).") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        content: Body | None = None,
        length: int = 0,
        accept: tuple[int, ...] = (),
        timeout: float | None = None,
        limit: int = LARGEST_JSON_BYTES,
        tell: Callable[[int], None] = lambda _: None,
        persist: bool = False,
    ) -> Reply:
        """Ask, and ask again where the service is busy or the connection broke.

        A body that was sent is not sent again where no answer comes in time: it may have been
        taken.

        Args:
            method: of HTTP.
            path: on the service.
            content: makes the body anew for every attempt.
            length: of the body in bytes.
            accept: statuses to return beside the successful ones.
            timeout: seconds to wait for the answer, where not the usual ones.
            limit: most bytes of an answer.
            tell: called with the number of bytes received so far.
            persist: whether to ask again where nobody listens or answers: the service holds
                something of this client's, and may be starting again.

        Raises:
            Refused: the service says no.
            ServiceError: it cannot be reached, or sends too much, too slowly, or compressed.
        """

        def worth_another(error: BaseException) -> bool:
            if not isinstance(error, Refused | Unreachable):
                return False
            return error.again or (persist and error.later)

        async def once() -> Reply:
            reply = await self._exchange(
                method, path, content, length, timeout or self._timeout, limit, tell
            )
            if not reply.success and reply.status not in accept:
                raise Refused(reply)
            return reply

        retrying = AsyncRetrying(
            retry=retry_if_exception(worth_another), wait=_pause, stop=_hopeless, reraise=True
        )
        return await retrying(once)

    async def _exchange(
        self,
        method: str,
        path: str,
        content: Body | None,
        length: int,
        timeout: float,
        limit: int,
        tell: Callable[[int], None],
    ) -> Reply:
        """Ask once."""
        headers = {}
        if content is not None:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        body = content() if content is not None else None
        data = bytearray()
        try:
            with anyio.fail_after(timeout + length / SLOWEST_BYTES_PER_SECOND) as scope:
                async with self._http.stream(method, path, content=body, headers=headers) as answer:
                    if answer.headers.get("Content-Encoding", "identity") != "identity":
                        raise ServiceError(f"{self.url}: sends compressed answers, unasked.")
                    most = limit if answer.is_success else LARGEST_JSON_BYTES
                    async for part in answer.aiter_raw():
                        data += part
                        if len(data) > most:
                            raise ServiceError(f"{self.url}: sends more than {most:,} bytes.")
                        scope.deadline += len(part) / SLOWEST_BYTES_PER_SECOND
                        tell(len(data))
                    return Reply(
                        self.url,
                        answer.status_code,
                        answer.reason_phrase,
                        answer.headers,
                        bytes(data),
                    )
        except TimeoutError as error:
            raise Unreachable(
                f"{self.url}: the service did not answer in time.",
                again=False,
                later=content is None,
            ) from error
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        wrong = isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol)
        absent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)
        scheme = "https" if self.address.encrypted else "http"
        hint = "Is 'hushtune serve' running there?"
        if not self.address.loopback and scheme in getproxies():
            hint = f"It was asked through the proxy that {scheme}_proxy names. {hint}"
        return Unreachable(
            f"{self.url}: the service cannot be reached ({type(error).__name__}). {hint}",
            again=not (wrong or absent),
            later=not wrong,
        )


def _pause(state: RetryCallState) -> float:
    """Seconds until the next attempt: longer each time, and not the same for all clients."""
    error = state.outcome.exception() if state.outcome else None
    pause: float = FIRST_PAUSE_SECONDS * 2 ** (state.attempt_number - 1)
    pause = min(pause, LONGEST_PAUSE_SECONDS) * random.uniform(0.8, 1.2)
    wanted = error.pause * random.uniform(1.0, 1.2) if isinstance(error, Refused) else 0.0
    return max(pause, wanted)


def _hopeless(state: RetryCallState) -> bool:
    """Whether to give up after this attempt."""
    error = state.outcome.exception() if state.outcome else None
    if (state.seconds_since_start or 0.0) + state.upcoming_sleep > PATIENCE_SECONDS:
        return True
    few = isinstance(error, Unreachable) or (isinstance(error, Refused) and error.status == STALLED)
    return few and state.attempt_number >= ATTEMPTS


def _retry_after(headers: httpx.Headers) -> float:
    """Seconds that a service asks to wait; a number or a date."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        until = parsedate_to_datetime(value)
        return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date, or one without a zone
        return 0.0


def _printable(text: str) -> str:
    """The beginning of a text, without line breaks and what else would command a terminal."""
    return printable(text)[:500]
