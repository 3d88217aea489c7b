"""One TCP connection: HTTP/1.1, with a bound on every wait for the client.

Hypercorn's own connection waits for ever for a client that doesn't read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.utils import parse_socket_addr
from quart import Quart

from anyclaude.server.exchange import Exchanges
from anyclaude.server.http1 import Http1
from anyclaude.server.limits import Limits

log = logging.getLogger(__name__)

_READ_BYTES = 65_536
_UNREAD_BYTES = 65_536  # that may wait for the client before whoever writes has to


class TcpConnection:
    """Reads, hands to the protocol, writes; closes when idle, stalled or told to.

    Once ``stopping`` it serves no other request.
    """

    def __init__(
        self,
        app: Quart,
        config: Config,
        stopping: Callable[[], bool],
        limits: Limits,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._app = app
        self._config = config
        self._stopping = stopping
        self._limits = limits
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        writer.transport.set_write_buffer_limits(_UNREAD_BYTES)
        self._sending = asyncio.Lock()
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._idle: asyncio.TimerHandle | None = None
        self._protocol: Http1

    async def run(self) -> None:
        """Serves the connection to its end."""
        try:
            sock = self._writer.get_extra_info("socket")
            client = parse_socket_addr(sock.family, sock.getpeername())
            server = parse_socket_addr(sock.family, sock.getsockname())
            exchanges = Exchanges(self._loop, self._app)
            async with exchanges:
                self._protocol = Http1(
                    self._config, exchanges, self._stopping, client, server, self._send
                )
                self._set_idle(True)
                await self._read()
        except OSError:
            pass  # gone before it began
        finally:
            await self._close()

    def abort(self) -> None:
        """Drops the socket; whatever runs behind it sees a disconnect."""
        self._writer.transport.abort()

    def close_if_idle(self) -> None:
        """Ends a kept connection that waits for its next request."""
        if self._idle is not None:
            self._flush()
            self._writer.close()

    async def _read(self) -> None:
        while not self._reader.at_eof():
            try:
                data = await self._reader.read(_READ_BYTES)
            except OSError:
                break
            await self._protocol.receive(data)
        await self._protocol.lost()

    async def _send(self, event: Event) -> None:
        match event:
            case RawData():
                await self._write(event.data)
            case Updated():
                self._set_idle(event.idle)
            case Closed():
                await self._close()

    async def _write(self, data: bytes) -> None:
        """What is written within one turn of the loop leaves together: each call costs a tenth
        of all that a short answer does."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        transport = self._writer.transport
        unread = self._unsent_bytes + transport.get_write_buffer_size()
        if unread <= _UNREAD_BYTES and not transport.is_closing():
            return
        try:
            async with self._sending:
                self._flush()
                await self._drain()
        except (ConnectionError, RuntimeError):
            await self._protocol.lost()

    def _flush(self) -> None:
        unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if unsent:
            with suppress(ConnectionError, RuntimeError):  # Whoever reads finds out as well.
                self._writer.write(b"".join(unsent))

    async def _drain(self) -> None:
        """Waits until more may be written; a client that took nothing meanwhile is dropped."""
        transport = self._writer.transport
        while True:
            waiting = transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._limits.stall_s):
                    await self._writer.drain()
                    return
            except TimeoutError:
                if transport.get_write_buffer_size() >= waiting:
                    log.warning("dropped a client that does not read")
                    self.abort()
                    raise ConnectionAbortedError from None

    def _set_idle(self, idle: bool) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if idle:
            self._idle = self._loop.call_later(self._limits.idle_s, self._writer.close)

    async def _close(self) -> None:
        self._set_idle(False)
        self._flush()
        self._writer.close()
        try:
            async with asyncio.timeout(self._limits.close_s):
                await self._writer.wait_closed()
        except (TimeoutError, OSError):
            self.abort()
