"""One TCP connection: Hypercorn's HTTP/1.1 protocol, with a bound on every wait for the client.

Hypercorn's own connection waits for ever for a client that doesn't read, and leaves a broken
HTTP/2 preface open. HTTP/1.1 is all that clients of this API speak.
"""

from __future__ import annotations

import asyncio
import logging

import h11
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from anyclaude.server.limits import Limits

log = logging.getLogger(__name__)

_READ_BYTES = 65_536


class TcpConnection:
    """Reads, hands to the protocol, writes; closes when idle, stalled or told to."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        worker: WorkerContext,
        limits: Limits,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._app = app
        self._config = config
        self._worker = worker
        self._limits = limits
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._protocol: H11Protocol

    async def run(self) -> None:
        """Serves the connection to its end."""
        try:
            sock = self._writer.get_extra_info("socket")
            client = parse_socket_addr(sock.family, sock.getpeername())
            server = parse_socket_addr(sock.family, sock.getsockname())
            async with TaskGroup(self._loop) as group:
                self._protocol = _Http1(
                    self._app,
                    self._config,
                    self._worker,
                    group,
                    ConnectionState({}),
                    False,
                    client,
                    server,
                    self._send,
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
            self._writer.close()

    async def _read(self) -> None:
        while not self._reader.at_eof():
            try:
                data = await self._reader.read(_READ_BYTES)
            except OSError:
                break
            await self._protocol.handle(RawData(data))
        await self._protocol.handle(Closed())

    async def _send(self, event: Event) -> None:
        match event:
            case RawData():
                await self._write(event.data)
            case Updated():
                self._set_idle(event.idle)
            case Closed():
                await self._close()

    async def _write(self, data: bytes) -> None:
        try:
            async with self._sending:
                self._writer.write(data)
                await self._drain()
        except (ConnectionError, RuntimeError):
            await self._protocol.handle(Closed())

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
        self._writer.close()
        try:
            async with asyncio.timeout(self._limits.close_s):
                await self._writer.wait_closed()
        except (TimeoutError, OSError):
            self.abort()


class _Http1(H11Protocol):
    async def _check_protocol(self, event: h11.Request) -> None:
        """Answers over HTTP/1.1 whatever upgrade is offered."""
