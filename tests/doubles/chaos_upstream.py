"""A server that misbehaves on demand, down to single bytes and TCP resets.

Nothing here waits for time: ``asked`` is set when a request is there, ``left`` when its connection
was closed by the other side, and what hangs does so until then.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

EVENT = b'event: ping\ndata: {"type": "ping"}\n\n'
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


@dataclass(slots=True)
class Connection:
    """One connection while a request on it is answered."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes
    body: bytes

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def hang(self) -> None:
        """Until the other side is gone."""
        while await self.reader.read(65536):
            pass

    def reset(self) -> None:
        """Ends the connection with RST in place of FIN."""
        transport_socket = self.writer.get_extra_info("socket")
        transport_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour: TypeAlias = Callable[[Connection], Awaitable[None]]


@dataclass(slots=True)
class Chaos:
    """The server; ``behaviour`` answers each request, and closes the connection unless told not."""

    port: int
    behaviour: Behaviour
    host: str = "127.0.0.1"
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    connections: int = 0
    open: int = 0

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.idle.clear()
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(content_length(head))
                self.requests.append((head, body))
                self.asked.set()
                await self.behaviour(Connection(reader, writer, head, body))
                if writer.is_closing() or b"keep" not in head.partition(b"?")[2][:4]:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            self.left.set()
            if not self.open:
                self.idle.set()
            writer.close()


def content_length(head: bytes) -> int:
    """How many bytes of body the head of a request declares."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


@asynccontextmanager
async def chaos(
    behaviour: Behaviour, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Chaos]:
    """The server on a port of its own. A request with the query ``keep`` keeps its connection.

    Who asked must have closed every connection in the end.
    """
    double = Chaos(0, behaviour, host)
    server = await asyncio.start_server(double.answer, host, 0, ssl=tls)
    double.port = server.sockets[0].getsockname()[1]
    try:
        yield double
        if double.connections:
            async with asyncio.timeout(3):
                await double.idle.wait()
    finally:
        server.close()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


# --------------------------------------------------------------------------------- behaviours


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def reply(status: str, body: bytes = b"", *headers: str) -> Behaviour:
    """A whole answer with that status line."""
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "", ""]

    async def answer(connection: Connection) -> None:
        await connection.send("\r\n".join(lines).encode() + body)

    return answer


def raw(*parts: bytes) -> Behaviour:
    """Those bytes and then the end of the connection."""

    async def answer(connection: Connection) -> None:
        await connection.send(*parts)

    return answer


def raw_then(when: asyncio.Event, first: bytes, *then: bytes) -> Behaviour:
    """``first``, and the rest on the word of a test that has read it."""

    async def answer(connection: Connection) -> None:
        await connection.send(first)
        await when.wait()
        await connection.send(*then)

    return answer


def raw_then_reset(when: asyncio.Event, *parts: bytes) -> Behaviour:
    """Those bytes, and a reset on the word of a test that has read them."""

    async def answer(connection: Connection) -> None:
        await connection.send(*parts)
        await when.wait()
        connection.reset()

    return answer


def raw_then_hang(*parts: bytes) -> Behaviour:
    async def answer(connection: Connection) -> None:
        await connection.send(*parts)
        await connection.hang()

    return answer


def drip(body: bytes) -> Behaviour:
    """A byte at a time, each in a chunk and a segment of its own."""

    async def answer(connection: Connection) -> None:
        await connection.send(SSE_HEAD)
        for byte in body:
            await connection.send(chunk(bytes([byte])))
            await asyncio.sleep(0)
        await connection.send(b"0\r\n\r\n")

    return answer


def garbage() -> Behaviour:
    return raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 SSH-2.0-OpenSSH\r\n\r\n")
