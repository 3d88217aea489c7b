"""A client made of bytes, for what no proper client would send."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from tests.server.fakes import Running


@dataclass
class Wire:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until(self, marker: bytes) -> bytes:
        return await self.reader.readuntil(marker)

    async def response(self) -> bytes:
        """One whole response that says its length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length, head
        return head + await self.reader.readexactly(int(length[1]))

    async def rest(self) -> bytes:
        """Everything up to the server's close, however it closes."""
        received = bytearray()
        try:
            while chunk := await self.reader.read(65_536):
                received += chunk
        except ConnectionError:
            pass
        return bytes(received)

    def drop(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def wire(server: Running, *, receive_buffer: int = 0) -> AsyncIterator[Wire]:
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", server.listener.port))
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


def post(path: str, body: object, headers: Mapping[str, str] | None = None) -> bytes:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        f"content-length: {len(payload)}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload


def status(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])
