"""A pseudo-terminal with a program in it, and the time at which something came to be seen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType

from anyclaude.errors import AnyclaudeError

COLUMNS, LINES = 120, 40
STOP_S = 10.0
_SEQUENCE = re.compile(rb"\x1b\[(\d*);?(\d*)H|\x1b\[[0-9;?<>=]*[a-zA-Z]|\x1b[^\[]")


class Terminal:
    """A program in a terminal of 120x40. Use it as a context; leaving it ends the program."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            list(command),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**env, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": ""},
            start_new_session=True,
            close_fds=True,
        )
        os.close(slave)
        self.painted = bytearray()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self.wait(STOP_S)
        finally:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            os.close(self._master)

    def press(self, text: str) -> float:
        """Types ``text``; returns when that was, in seconds of ``time.perf_counter``."""
        at = time.perf_counter()
        os.write(self._master, text.encode())
        return at

    def until(self, seen: Callable[[bytes], bool], timeout: float) -> float:
        """Reads until ``seen`` says yes to everything painted so far, and returns when.

        Raises AnyclaudeError when the program ended, or after ``timeout`` seconds.
        """
        deadline = time.perf_counter() + timeout
        while not seen(bytes(self.painted)):
            left = deadline - time.perf_counter()
            if left <= 0 or not self.read(left):
                raise AnyclaudeError(f"the console did not come so far; it wrote {self.tail()!r}")
        return time.perf_counter()

    def wait(self, timeout: float) -> bool:
        """Reads until the program has ended; False when it goes on after ``timeout`` seconds."""
        deadline = time.perf_counter() + timeout
        while not self.ended and time.perf_counter() < deadline:
            if not self.read(0.05):
                time.sleep(0.01)
        return self.ended

    def read(self, timeout: float) -> bool:
        """Takes in what is there within ``timeout`` seconds; False when there is nothing more."""
        ready, _, _ = select.select([self._master], [], [], timeout)
        if not ready:
            return False
        try:
            part = os.read(self._master, 1 << 16)
        except OSError:  # the other end is closed
            return False
        self.painted += part
        return bool(part)

    def forget(self) -> None:
        self.painted.clear()

    def tail(self) -> str:
        """The end of what was painted, without its control sequences."""
        return _SEQUENCE.sub(b"", bytes(self.painted)).decode("utf-8", "replace")[-300:]


def row_of(painted: bytes, mark: bytes) -> int | None:
    """The row, 1 at the top, on which ``mark`` was painted last, or ``None``."""
    at = painted.rfind(mark)
    if at < 0:
        return None
    row: int | None = None
    lines = 0
    start = 0
    for found in _SEQUENCE.finditer(painted, 0, at):
        if found[0].endswith(b"H"):
            row, lines, start = int(found[1] or 1), 0, found.end()
    lines = painted.count(b"\n", start, at)
    return None if row is None else row + lines
