"""How aiohttp connects for us and sends a body: connections that tell whether they were used
before, and uploads in pieces."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver, AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

KEEPALIVE_S = 30.0
UPLOAD_PIECE_BYTES = 256 * 1024


class Pieces(aiohttp.Payload):
    """A large body, handed over as the server takes it: all at once would be copied whole."""

    _default_content_type = "application/json"

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        view = memoryview(self._value)
        for at in range(0, len(view), UPLOAD_PIECE_BYTES):
            await writer.write(view[at : at + UPLOAD_PIECE_BYTES])


def upload(body: bytes | None) -> bytes | Pieces | None:
    return Pieces(body) if body and len(body) > UPLOAD_PIECE_BYTES else body


class Attempt:
    """One request on one connection, as the pool tells of it.

    The time for the status runs from the moment that the request can be written.
    """

    def __init__(self, deadline: asyncio.Timeout, headers: float) -> None:
        self.reused = False
        self._deadline = deadline
        self._headers = headers

    def connected(self, *, reused: bool) -> None:
        self.reused = reused
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._headers)


ATTEMPT: ContextVar[Attempt] = ContextVar("ATTEMPT")


class Pool(aiohttp.TCPConnector):
    """Tells the attempt that asks for a connection when it is there.

    aiohttp's tracing would tell as well, at ten awaits and more for each request.
    """

    def __init__(self, resolver: AbstractResolver | None) -> None:
        super().__init__(limit=0, keepalive_timeout=KEEPALIVE_S, resolver=resolver)
        self._known: WeakSet[ResponseHandler] = WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        protocol = connection.protocol
        assert protocol is not None  # It loses that only when it is given back.
        ATTEMPT.get().connected(reused=protocol in self._known)
        self._known.add(protocol)
        return connection
