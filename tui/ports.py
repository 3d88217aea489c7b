"""Who has a TCP port, and which one is free instead."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from dataclasses import dataclass

from tui import format as f

_TRIED = 100
_COMMAND = 60


@dataclass(frozen=True, slots=True)
class Holder:
    """The program that listens; ``pid`` 0 when the system doesn't tell us."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})" if self.pid else "a program of another user"


def is_busy(host: str, port: int) -> bool:
    """True when the port can't be had because someone has it."""
    return port > 0 and _try(host, port) == errno.EADDRINUSE


def next_free(host: str, port: int) -> int:
    """The first port after ``port`` that can be had now; 0, any port, when none is near."""
    for candidate in range(port + 1, min(port + _TRIED, 65_535) + 1):
        if _try(host, candidate) == 0:
            return candidate
    return 0


def holder(port: int) -> Holder | None:
    """Who listens on the port of this machine, or ``None`` when nobody is found to."""
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return _own_holder(port)  # macOS shows everyone's connections to root alone.
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN
        if listens and connection.laddr and connection.laddr.port == port:
            return _named(connection.pid)
    return None


def _own_holder(port: int) -> Holder | None:
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            for connection in process.net_connections(kind="tcp"):
                listens = connection.status == psutil.CONN_LISTEN
                if listens and connection.laddr and connection.laddr.port == port:
                    return _named(process.pid)
    return Holder(0, "")


def _named(pid: int | None) -> Holder:
    import psutil

    if not pid:
        return Holder(0, "")
    try:
        process = psutil.Process(pid)
        words = process.cmdline() or [process.name()]
    except psutil.Error:
        return Holder(pid, "a program")
    command = f.one_line(" ".join(words))
    return Holder(pid, command if len(command) <= _COMMAND else command[: _COMMAND - 1] + "…")


def _try(host: str, port: int) -> int:
    """0 when the port can be bound, else the error's number."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host.strip("[]"), port))
            sock.listen(1)
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0
