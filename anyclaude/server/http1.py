"""HTTP/1.1 on one connection: llhttp's parser before Hypercorn's streams.

Hypercorn's own protocol has h11 there, written in Python, which takes a tenth of a millisecond for
each request. HTTP/1.1 is all that clients of this API speak; whatever upgrade is offered, the
answer comes in it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import (
    Body,
    EndBody,
    Request,
    Response,
    StreamClosed,
)
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import AppWrapper, ConnectionState, WorkerContext
from hypercorn.utils import suppress_body

from anyclaude.server.exchange import Exchanges

Pair = tuple[bytes, bytes]
Peer = tuple[str, int] | None

_STREAM = 1
_ONE_LINE = "a header of the response has a line end in it"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = (b"connection", b"close")
_UPGRADING = (b"connection", b"upgrade", b"http2-settings")


@dataclass(frozen=True, slots=True)
class _Head:
    """A request up to its body; ``keeps`` is whether others may follow it."""

    method: bytes
    target: bytes
    version: str
    headers: list[Pair]
    keeps: bool

    @property
    def sound(self) -> bool:
        """Whether it has what llhttp doesn't ask for."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        return self.target.isascii() and (
            hosts == 1 if self.version == "1.1" else hosts < 2 and self.version == "1.0"
        )

    @property
    def asks(self) -> bool:
        """Whether the client waits to be told to send the body."""
        expected = (value for name, value in self.headers if name == b"expect")
        return self.version == "1.1" and any(v.lower() == b"100-continue" for v in expected)

    @property
    def without_upgrade(self) -> bytes:
        """Its bytes, but for what offers another protocol."""
        kept = [*(pair for pair in self.headers if pair[0] not in _UPGRADING), _CLOSE]
        return b"%s %s HTTP/1.1\r\n%s\r\n" % (self.method, self.target, _lines(kept))


class Http1:
    """Feed it what the client sends; ``send`` is given what the client gets.

    Requests are answered one after the other. A head of more than ``config``'s
    ``h11_max_incomplete_size`` bytes is refused.
    """

    def __init__(
        self,
        config: Config,
        exchanges: Exchanges,
        stopping: Callable[[], bool],
        client: Peer,
        server: Peer,
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        """After an answer that ends when ``stopping``, the connection is closed."""
        self._config = config
        self._exchanges = exchanges
        self._stopping = stopping
        self._client = client
        self._server = server
        self._send = send
        self._parser = HttpRequestParser(self)
        self._parsed: deque[_Head | Body | EndBody] = deque()
        self._over = False
        self._free = asyncio.Event()
        # The head that is being parsed.
        self._in_head = False
        self._head_bytes = 0
        self._target = b""
        self._headers: list[Pair] = []
        # The request that is being answered.
        self._stream: HTTPStream | None = None
        self._head: _Head | None = None
        self._read = False
        # Its answer, and how that is framed.
        self._begun = False
        self._left: int | None = None
        self._chunked = False
        self._keeps = False
        self._whole = False

    async def receive(self, data: bytes) -> None:
        """Takes in ``data``, once earlier requests on the connection were answered."""
        if self._over:
            return
        refusal = self._parse(data)
        while self._parsed and not self._over:
            await self._take(self._parsed.popleft())
        if refusal:
            if self._stream is not None and self._read:
                await self._answered()  # What can't be read is only what follows.
            await self._refuse(refusal)

    async def lost(self) -> None:
        """The client is gone."""
        self._over = True
        self._free.set()
        await self._close_stream()

    # ------------------------------------------------------------------------------ what comes

    def _parse(self, data: bytes) -> HTTPStatus | None:
        """The status for what can't be read."""
        in_head, self._head_bytes = self._in_head, self._head_bytes + len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            return self._parse_again(data[upgrade.args[0] :])
        except HttpParserInvalidMethodError:
            return HTTPStatus.METHOD_NOT_ALLOWED
        except HttpParserError:
            return HTTPStatus.BAD_REQUEST
        if in_head and self._in_head and self._head_bytes > self._config.h11_max_incomplete_size:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        return None

    def _parse_again(self, rest: bytes) -> HTTPStatus | None:
        """llhttp stops at a request that offers another protocol. It isn't taken up, so the body
        that follows is read as any other."""
        while not isinstance(head := self._parsed.pop(), _Head):
            pass
        if head.method == b"CONNECT":
            return HTTPStatus.METHOD_NOT_ALLOWED
        self._parser = HttpRequestParser(self)
        return self._parse(head.without_upgrade + rest)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._target, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # Those that follow a body mean nothing here.
            self._headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._in_head = False
        parser = self._parser
        keeps, version = parser.should_keep_alive(), parser.get_http_version()
        method = parser.get_method()
        self._parsed.append(_Head(method, self._target, version, self._headers, keeps))

    def on_body(self, body: bytes) -> None:
        self._parsed.append(Body(_STREAM, body))

    def on_message_complete(self) -> None:
        self._parsed.append(EndBody(_STREAM))

    # -------------------------------------------------------------------------- what is answered

    async def _take(self, parsed: _Head | Body | EndBody) -> None:
        if isinstance(parsed, _Head):
            await self._begin(parsed)
        elif self._stream is not None:
            self._read = isinstance(parsed, EndBody)
            await self._stream.handle(parsed)

    async def _begin(self, head: _Head) -> None:
        if self._stream is not None:
            await self._answered()
        if self._over:
            return
        if not head.sound:
            await self._refuse(HTTPStatus.BAD_REQUEST)
            return
        self._head, self._read, self._whole = head, False, False
        await self._send(Updated(idle=False))
        self._stream = HTTPStream(
            # The exchanges know the app, and only Hypercorn's own protocols ask the worker.
            cast(AppWrapper, None),
            self._config,
            cast(WorkerContext, None),
            self._exchanges,
            False,
            self._client,
            self._server,
            self._out,
            _STREAM,
        )
        await self._stream.handle(
            Request(
                _STREAM,
                head.headers,
                head.version,
                head.method.decode("ascii"),
                head.target,
                ConnectionState({}),
            )
        )
        if head.asks and not self._parsed:
            await self._send(RawData(_CONTINUE))

    async def _answered(self) -> None:
        """Waits for the end of the exchange that is under way."""
        self._free.clear()
        await self._free.wait()

    async def _refuse(self, status: HTTPStatus) -> None:
        """Ends the connection, with a ``status`` where none was sent yet."""
        if self._over:
            return
        self._over = True
        if not self._begun:
            lines = _lines([(b"content-length", b"0"), _CLOSE, *self._own_headers()])
            await self._send(RawData(_head_of(status, lines)))
        await self._send(Closed())

    async def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.handle(StreamClosed(_STREAM))

    # -------------------------------------------------------------------------------- what goes

    async def _out(self, event: StreamEvent) -> None:
        if self._over:
            await asyncio.sleep(0)  # Whoever still writes is about to be cancelled.
            return
        match event:
            case Response():
                await self._respond(event)
            case Body():
                await self._piece(event.data)
            case EndBody():
                await self._end()
            case StreamClosed():
                await self._next()

    async def _respond(self, response: Response) -> None:
        """Says how the body is framed. Raises ValueError for a header that can't be sent."""
        head, headers = cast(_Head, self._head), [*response.headers, *self._own_headers()]
        bodiless = suppress_body(head.method.decode("ascii"), response.status_code)
        said = next((value for name, value in headers if name == b"content-length"), None)
        self._left = int(said) if said is not None and not bodiless else None
        self._chunked = said is None and not bodiless and head.version == "1.1"
        # Without a length, a client of HTTP/1.0 has the end of the body by that of the connection.
        framed = bodiless or said is not None or self._chunked
        self._keeps = head.keeps and head.version == "1.1" and framed and _CLOSE not in headers
        if self._chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        if not self._keeps and _CLOSE not in headers:
            headers.append(_CLOSE)
        lines = _lines(headers)
        self._begun = True
        await self._send(RawData(_head_of(response.status_code, lines)))

    async def _piece(self, data: bytes) -> None:
        """Raises ValueError for more than was said."""
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ValueError("the body of the response is longer than its content-length")
        await self._send(RawData(data))

    async def _end(self) -> None:
        self._whole = not self._left  # Or the client has to see that something is missing.
        if self._chunked:
            await self._send(RawData(b"0\r\n\r\n"))

    async def _next(self) -> None:
        """The exchange is over: the connection is free for another, or it ends."""
        await self._close_stream()
        if self._whole and self._read and self._keeps and not self._stopping():
            self._begun = False
            self._free.set()
            await self._send(Updated(idle=True))
            return
        self._over = True
        self._free.set()
        await self._send(Closed())

    def _own_headers(self) -> list[Pair]:
        return self._config.response_headers("h11")


def _head_of(status: int, lines: bytes) -> bytes:
    return b"HTTP/1.1 %d \r\n%b\r\n" % (status, lines)


def _lines(headers: list[Pair]) -> bytes:
    """Raises ValueError for a header that would be two."""
    lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
    if not lines.count(b"\r") == lines.count(b"\n") == len(headers):
        raise ValueError(_ONE_LINE)
    return lines
