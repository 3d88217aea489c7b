"""The socket, and Hypercorn behind it.

Hypercorn's own ``serve`` can't be bounded: at shutdown it waits for open connections (on Python
3.12 and later for ever), and a client that never reads keeps its connection as long as it likes.
So the accept loop is ours, and so is each connection (tcp.py, http1.py) up to the stream that a
request is to Hypercorn.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from contextlib import suppress
from typing import cast

from hypercorn.config import Config
from quart import Quart

from anyclaude.config.settings import ServerSettings
from anyclaude.errors import ConfigError
from anyclaude.server.auth import is_loopback
from anyclaude.server.limits import Limits
from anyclaude.server.tcp import TcpConnection

log = logging.getLogger(__name__)
# Without any handler the logging module would write warnings over the console.
logging.getLogger("anyclaude").addHandler(logging.NullHandler())

BACKLOG = 512
_SPARE_FILES = 512


class Listener:
    """A bound socket; :meth:`serve` answers on it until told to stop."""

    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        self._socket = sock
        self._limits = limits
        self._connections: dict[asyncio.Task[None], TcpConnection] = {}

    @classmethod
    def bind(
        cls, settings: ServerSettings, limits: Limits | None = None, *, keyed: bool = False
    ) -> Listener:
        """Listens on host and port; port 0 is any free one, host ``fd://N`` a socket given to us.

        ``keyed`` is whether there are virtual keys. Raises ConfigError when the address can't be
        had, or is open to others without a key of any kind.
        """
        sock = _inherited(settings.host) or _bound(settings)
        address = str(sock.getsockname()[0])
        if not settings.api_key and not keyed and not is_loopback(address):
            sock.close()
            raise ConfigError(
                f"server.host: {settings.host} can be reached from other machines; set "
                "server.api_key, make a virtual key with 'anyclaude keys add', or bind 127.0.0.1"
            )
        # Now, not when serving: a busy port is to be known before a model is loaded.
        try:
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            raise _unbindable(settings, error) from None
        sock.setblocking(False)
        return cls(sock, limits or Limits())

    @property
    def port(self) -> int:
        """The port we got."""
        return cast(int, self._socket.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """One for each open connection, done when it is closed."""
        return frozenset(self._connections)

    def close(self) -> None:
        """Gives the socket back if :meth:`serve` never did. Idempotent."""
        self._socket.close()

    async def serve(self, app: Quart, stop: asyncio.Event) -> None:
        """Serves until ``stop``; then streams end with an error event and connections close.

        Cancelling it ends the connections at once.
        """
        _raise_file_limit(self._limits.connections + _SPARE_FILES)
        ending = asyncio.Event()
        config = self._config()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._connections) >= self._limits.connections:
                writer.transport.abort()
                return
            await self._run(TcpConnection(app, config, ending.is_set, self._limits, reader, writer))

        await app.startup()
        server = await asyncio.start_server(accept, sock=self._socket, backlog=BACKLOG)
        drain_s = 0.0
        try:
            await stop.wait()
            drain_s = self._limits.drain_s
        finally:
            server.close()
            ending.set()
            for connection in self._connections.values():
                connection.close_if_idle()
            await app.shutdown()
            await self._end(drain_s)

    async def _run(self, connection: TcpConnection) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._connections[task] = connection
        try:
            await connection.run()
        except asyncio.CancelledError:
            # Only _end cancels, and asyncio's callback on this task fails on a cancelled one.
            connection.abort()
        except Exception:
            log.exception("a connection failed")
            connection.abort()
        finally:
            del self._connections[task]

    async def _end(self, drain_s: float) -> None:
        """Waits for connections to end, then drops their sockets, then their tasks."""
        if self._connections and drain_s:
            await asyncio.wait(self._connections, timeout=drain_s)
        for connection in self._connections.values():
            connection.abort()
        if self._connections:
            await asyncio.wait(self._connections, timeout=self._limits.abort_s)
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=self._limits.abort_s)

    def _config(self) -> Config:
        config = Config()
        config.errorlog = logging.getLogger(f"{__name__}.hypercorn")
        config.accesslog = None
        config.include_server_header = False
        config.h11_max_incomplete_size = self._limits.header_bytes
        return config


def _inherited(host: str) -> socket.socket | None:
    if not host.startswith("fd://"):
        return None
    try:
        sock = socket.socket(fileno=int(host.removeprefix("fd://")))
    except (ValueError, OSError) as error:
        raise ConfigError(f"server.host: {host} is not an open socket ({error})") from None
    if sock.type != socket.SOCK_STREAM or sock.family not in (socket.AF_INET, socket.AF_INET6):
        sock.detach()
        raise ConfigError(f"server.host: {host} is not a TCP socket")
    return sock


def _bound(settings: ServerSettings) -> socket.socket:
    host = settings.host.strip("[]")
    if not host:
        raise ConfigError("server.host: it is empty; use 127.0.0.1")
    if not 0 <= settings.port <= 65_535:  # getaddrinfo would take it modulo 65536
        raise ConfigError(f"server.port: {settings.port} is not from 0 to 65535")
    try:
        found = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError):
        raise ConfigError(f"server.host: {settings.host} is not an address here") from None
    # A name such as localhost may have both: clients try IPv4 as well.
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise _unbindable(settings, error) from None
    return sock


def _unbindable(settings: ServerSettings, error: OSError) -> ConfigError:
    where = f"port {settings.port} of {settings.host}"
    match error:
        case OSError(errno=errno.EADDRINUSE):
            return ConfigError(
                f"server.port: {where} is in use; stop what listens there or choose another port"
            )
        case OSError(errno=errno.EACCES):
            return ConfigError(f"server.port: {where} needs more rights; choose one above 1023")
        case OSError(errno=errno.EADDRNOTAVAIL):
            return ConfigError(f"server.host: {settings.host} is no address of this machine")
        case _:
            return ConfigError(f"server.port: {where} can't be bound ({error})")


def _raise_file_limit(wanted: int) -> None:
    """macOS starts a process with 256 open files, fewer than we take connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
