"""One server elsewhere: requests to it, its answers as bytes, its faults as UpstreamError.

Bodies are never decompressed and, unless the caller says otherwise, never asked for compressed:
what :meth:`Reply.chunks` yields is what the server sent. Redirects aren't followed, cookies
aren't kept, proxies of the environment aren't used.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from anyclaude.backends import faults
from anyclaude.backends.faults import Headers
from anyclaude.backends.pool import ATTEMPT, Attempt, Pool, upload
from anyclaude.errors import ConfigError, UpstreamError

READ_BUFFER_BYTES = 128 * 1024
MAX_HEADER_BYTES = 64 * 1024  # of one line; some proxies send policies of 10 KB and more
MAX_ERROR_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: for name, connection and TLS; from the request sent to its status; between bytes."""

    connect: float = 5.0
    headers: float = 300.0
    idle: float = 120.0


class Reply:
    """An answer whose status and headers are there, and whose body is still coming.

    Whoever holds it reads it to the end or closes it. ``headers`` are in the server's order, with
    lower-case names.
    """

    def __init__(
        self,
        backend: str,
        response: aiohttp.ClientResponse,
        idle: float,
        clock: Callable[[], float],
    ) -> None:
        self.backend = backend
        self.status = response.status
        self.headers: Headers = tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in response.raw_headers
        )
        self._response = response
        self._idle = idle
        self._clock = clock
        self._lost = _when_lost(response, self._connection_lost)

    def header(self, name: str) -> str:
        """The first header of that lower-case name, or nothing."""
        return next((value for header, value in self.headers if header == name), "")

    @property
    def content_type(self) -> str:
        """``application/json`` and its like, without parameters, in lower case."""
        return self.header("content-type").partition(";")[0].strip().lower()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises UpstreamError on silence, a reset, or an early end."""
        try:
            while chunk := await self._next():
                yield chunk
        finally:
            self.close()

    async def read(self, limit: int) -> bytes:
        """The whole body; one of more than ``limit`` bytes is a fault."""
        body = bytearray()
        try:
            while chunk := await self._next():
                body += chunk
                if len(body) > limit:
                    raise faults.garbage(self.backend, f"a body of more than {limit} bytes")
        finally:
            self.close()
        return bytes(body)

    async def beginning(self, limit: int) -> tuple[bytes, bool]:
        """Up to ``limit`` bytes of the body and whether they are all of it; closes it.

        For bodies that only explain something: whatever breaks it off, it just ends there.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(self._idle):
                while len(body) <= limit:
                    chunk = await self._next()
                    if not chunk:
                        return bytes(body), True
                    body += chunk
        except (TimeoutError, UpstreamError):
            pass
        finally:
            self.close()
        return bytes(body[:limit]), False

    async def error(self) -> UpstreamError:
        """What this answer means when its status isn't a success; reads and closes it."""
        body, whole = await self.beginning(MAX_ERROR_BYTES)
        return faults.answered(
            self.backend, self.status, self.headers, body, whole=whole, now=self._clock()
        )

    async def _next(self) -> bytes:
        """More of the body, nothing at its end."""
        content = self._response.content
        try:
            ready = content.read_nowait()  # What is there already needs no clock.
            if ready or content.at_eof():
                return ready
            async with asyncio.timeout(self._idle):
                return await content.readany()
        except TimeoutError as error:
            raise faults.silent(self.backend, self._idle) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(self.backend, error) from error

    def close(self) -> None:
        """Closes the connection unless the body was read to its end. Idempotent."""
        if self._lost is not None:
            self._lost.remove_done_callback(self._connection_lost)
        if not self._response.closed:
            self._response.close()

    def _connection_lost(self, _lost: asyncio.Future[None]) -> None:
        """aiohttp lets a reader wait for ever when it gives up a body that it can't parse."""
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the body can't be parsed"))


class Upstream:
    """The connections to one server, made as they are needed.

    ``base_url`` may have a path, which stands before the paths of requests. How many requests run
    at once isn't limited here. Raises ConfigError for an address that can't be used.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        timeouts: Timeouts | None = None,
        *,
        resolver: AbstractResolver | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._resolver = resolver
        self.base_url = _checked(name, base_url)
        self.timeouts = timeouts or Timeouts()
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self,
        path: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        *,
        timeouts: Timeouts | None = None,
    ) -> Reply:
        """Sends ``body`` as it is and waits for a status, whichever it is.

        ``path`` may have a query, already encoded. ``headers`` go out in their order, duplicates
        too. Raises UpstreamError. Cancelled, it closes the connection.
        """
        return await self._ask("POST", path, headers, body, timeouts or self.timeouts)

    async def get(
        self,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        *,
        timeouts: Timeouts | None = None,
    ) -> Reply:
        return await self._ask("GET", path, headers, None, timeouts or self.timeouts)

    async def ask(
        self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes | None
    ) -> Reply:
        """A request of any method, otherwise as :meth:`post`."""
        return await self._ask(method, path, headers, body, self.timeouts)

    async def close(self) -> None:
        """Closes every connection. The next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]],
        body: bytes | None,
        timeouts: Timeouts,
    ) -> Reply:
        url = URL(self.base_url + path, encoded=True)
        pairs = _with_defaults(headers)
        while True:
            try:
                async with asyncio.timeout(None) as deadline:
                    attempt = Attempt(deadline, timeouts.headers)
                    ATTEMPT.set(attempt)
                    response = await self._pool().request(
                        method,
                        url,
                        headers=pairs,
                        data=upload(body),
                        allow_redirects=False,
                        timeout=aiohttp.ClientTimeout(total=None, connect=timeouts.connect),
                    )
            except aiohttp.ServerTimeoutError as error:
                raise faults.unreachable(
                    self.name, f"no connection to {url.host} in {timeouts.connect:g} s"
                ) from error
            except TimeoutError as error:
                raise faults.no_answer(self.name, timeouts.headers) from error
            except (aiohttp.ClientError, OSError) as error:
                if attempt.reused and _went_away(error):
                    continue  # an idle connection was given up just as it was used again
                raise _unanswered(self.name, url, error) from error
            return Reply(self.name, response, timeouts.idle, self._clock)

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=Pool(self._resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("accept", "content-type"),
                read_bufsize=READ_BUFFER_BYTES,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
        return self._session


def _when_lost(
    response: aiohttp.ClientResponse, call: Callable[[asyncio.Future[None]], None]
) -> asyncio.Future[None] | None:
    """Has ``call`` called when the answer's connection is closed; none if it is done with."""
    protocol = response.connection.protocol if response.connection is not None else None
    lost = protocol.closed if protocol is not None else None
    if lost is not None:
        lost.remove_done_callback(_noted)
        lost.add_done_callback(_noted)
        lost.add_done_callback(call)
    return lost


def _noted(lost: asyncio.Future[None]) -> None:
    """Says that the reason was seen, or asyncio would log it."""
    if not lost.cancelled():
        lost.exception()


def _with_defaults(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    # One spelling of each name, or aiohttp would take a second one for a correction.
    pairs = CIMultiDict((name.lower(), value) for name, value in headers)
    pairs.setdefault("accept-encoding", "identity")
    pairs.setdefault("user-agent", "anyclaude")
    return pairs


def _checked(name: str, base_url: str) -> str:
    """The address without a slash at its end. Says nothing of a password in it."""
    key = f"backends.{name}.base_url"
    try:
        url = URL(base_url.strip())
        usable = url.scheme in ("http", "https") and bool(url.host) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{key}: expected http://HOST[:PORT][/PATH] or https://…")
    if url.user or url.password:
        raise ConfigError(f"{key}: an address with a user name; put the key in api_key")
    if url.query_string or url.fragment:
        raise ConfigError(f"{key}: an address with ? or #, which can't stand before a path")
    return str(url).rstrip("/")


def _went_away(error: Exception) -> bool:
    return isinstance(
        error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | ConnectionError
    )


def _unanswered(backend: str, url: URL, error: Exception) -> UpstreamError:
    """What it means that a request ended without a status."""
    place = f"{url.host}:{url.port}"
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return faults.untrusted(backend, f"the certificate of {place} isn't trusted")
        case aiohttp.ClientConnectorSSLError():
            return faults.untrusted(backend, f"{place} doesn't speak TLS as it should")
        case aiohttp.ClientConnectorDNSError():
            return faults.unreachable(backend, f"the name {url.host} can't be resolved")
        case aiohttp.ClientConnectorError():
            return faults.unreachable(backend, f"{place}: {_reason(error.os_error)}")
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return faults.garbage(backend, "something that isn't HTTP")
        case aiohttp.ServerDisconnectedError():
            return faults.unreachable(backend, f"{place} closed the connection without an answer")
        case OSError():
            return faults.unreachable(backend, f"{place}: {_reason(error)}")
        case _:
            return faults.unreachable(backend, f"{place}: {error}")


def _broken(backend: str, error: Exception) -> UpstreamError:
    """What it means that a body broke off."""
    if isinstance(error, OSError):
        return faults.unreachable(backend, f"in the middle of the answer: {_reason(error)}")
    if isinstance(error, aiohttp.ClientPayloadError) and not _RESET.search(str(error)):
        return faults.garbage(backend, "a body that ends too early or can't be read")
    return faults.unreachable(backend, "in the middle of the answer: connection lost")


# aiohttp tells a reset inside a body from an early end by the text of its error alone.
_RESET = re.compile(r"\. \w+(?:Error|Exception)\(")


def _reason(error: OSError) -> str:
    if error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
