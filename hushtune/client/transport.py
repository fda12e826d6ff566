"""Requests to a service: what may be tried again is, and every failure is one clear error."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import httpx
from hushtune.support.errors import ServiceError

ATTEMPTS = 6
"""How often a request whose connection breaks is tried."""
FIRST_PAUSE_SECONDS = 0.5
"""Before the second attempt; doubled before every further one."""
LONGEST_PAUSE_SECONDS = 60.0
PATIENCE_SECONDS = 300.0
"""How long a busy or starting service is asked again."""
BUSY = {429, 502, 503, 504}
"""Answers of a service, or of a proxy before it, that is busy or restarting."""

Body = Callable[[], AsyncIterator[bytes]]


class Refused(ServiceError):
    """The service answered with an error, or that a query failed.

    Attributes:
        status: the HTTP status.
        code: the service's word for it, "" where the answer is not the service's own.
    """

    def __init__(self, url: str, answer: httpx.Response):
        self.status, self.code = answer.status_code, ""
        reason = answer.reason_phrase or "no reason given"
        try:
            error = answer.json()["error"]
            self.code, reason = str(error["code"]), str(error["message"])
        except (ValueError, KeyError, TypeError):
            pass
        what = "the query failed" if answer.is_success else f"refused ({self.status})"
        super().__init__(f"{url}: {what}: {reason}")


class Transport:
    """HTTP to one service.

    Args:
        url: such as ``http://127.0.0.1:8714``.
        token: bearer token, or None.
        timeout: seconds to wait for any single answer.

    Raises:
        ServiceError: not an address, or not a token.
    """

    def __init__(self, url: str, token: str | None, timeout: float):
        self.url = url.rstrip("/")
        _check_address(self.url)
        headers = {}
        if token is not None:
            token = token.strip()
            if not re.fullmatch(r"[\x21-\x7e]+", token):
                raise ServiceError("token: expected the line that 'hushtune token' printed.")
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout)

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
    ) -> httpx.Response:
        """Ask, and ask again where the service is busy or the connection broke.

        A body that was sent whole is not sent again where no answer comes in time: it may have
        been taken.

        Args:
            method: of HTTP.
            path: on the service.
            content: makes the body anew for every attempt.
            length: of the body in bytes.
            accept: statuses to return beside the successful ones.
            timeout: seconds to wait for the answer, where not the usual ones.

        Raises:
            Refused: the service says no.
            ServiceError: it cannot be reached.
        """
        headers = {}
        if content is not None:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        extra = {} if timeout is None else {"timeout": httpx.Timeout(60, read=timeout)}
        trial = _Trial(self.url)
        while True:
            body = content() if content is not None else None
            try:
                answer = await self._http.request(
                    method, path, content=body, headers=headers, **extra
                )
            except httpx.TransportError as error:
                once = content is not None and isinstance(error, httpx.ReadTimeout)
                await trial.broken(error, again=not once)
                continue
            if answer.is_success or answer.status_code in accept:
                return answer
            await trial.refused(answer)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[httpx.Response]:
        """A response whose body is read as it comes; busy services are asked again."""
        trial = _Trial(self.url)
        while True:
            async with self._http.stream("GET", path) as answer:
                if answer.is_success:
                    yield answer
                    return
                await answer.aread()
            await trial.refused(answer)

    async def read(self, path: str, tell: Callable[[int], None], limit: int) -> bytes:
        """A whole body.

        Args:
            path: on the service.
            tell: called with the number of bytes received so far.
            limit: most bytes that are taken.

        Raises:
            Refused: the service says no.
            ServiceError: it cannot be reached, or sends too much.
        """
        trial = _Trial(self.url)
        while True:
            data = bytearray()
            try:
                async with self.stream(path) as answer:
                    async for part in answer.aiter_bytes():
                        data += part
                        if len(data) > limit:
                            raise ServiceError(f"{self.url}: sends more than {limit:,} bytes.")
                        tell(len(data))
                return bytes(data)
            except httpx.TransportError as error:
                await trial.broken(error)


class _Trial:
    """How often and how long something was tried."""

    def __init__(self, url: str):
        self.url, self.started, self.attempts = url, time.monotonic(), 0

    async def broken(self, error: httpx.TransportError, *, again: bool = True) -> None:
        """Pause before the next attempt, or give up."""
        self.attempts += 1
        if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
            again = False
        if not again or self.attempts >= ATTEMPTS:
            raise ServiceError(
                f"{self.url}: the service cannot be reached ({type(error).__name__}). Is "
                "'hushtune serve' running there?"
            ) from error
        await asyncio.sleep(_pause(self.attempts))

    async def refused(self, answer: httpx.Response) -> None:
        """Pause as long as a busy service asks for, or give up."""
        self.attempts += 1
        wanted = _retry_after(answer)
        pause = max(wanted * random.uniform(1.0, 1.2), _pause(self.attempts))
        waited = time.monotonic() - self.started
        if answer.status_code not in BUSY or waited + pause > PATIENCE_SECONDS:
            raise Refused(self.url, answer)
        await asyncio.sleep(pause)


def _pause(attempts: int) -> float:
    """Seconds until the next attempt: longer each time, and not the same for all clients."""
    pause = FIRST_PAUSE_SECONDS * 2 ** (attempts - 1)
    return min(pause, LONGEST_PAUSE_SECONDS) * random.uniform(0.8, 1.2)


def _retry_after(answer: httpx.Response) -> float:
    """Seconds that a service asks to wait; a number or a date."""
    value = answer.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


def _check_address(url: str) -> None:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ServiceError(f"{url}: not an address ({error}).") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ServiceError(f"{url}: not an address. Expected one like http://127.0.0.1:8714")
