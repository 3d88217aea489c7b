"""Records of the logging module as events, since stderr belongs to the screen.

What is logged at all is decided by ``log.level``.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Literal

from anyclaude.events import SystemEvent

KEEP = 100


class LogTap(logging.Handler):
    """Collects records from any thread until the console's tick takes them."""

    def __init__(self) -> None:
        super().__init__()
        self._events: deque[SystemEvent] = deque(maxlen=KEEP)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = f"{record.name}: {record.getMessage()}"
            if record.exc_info and record.exc_info[1] is not None:
                error = record.exc_info[1]
                message += f" ({type(error).__name__}: {error})"
        except Exception:  # a record that can't be formatted must not end the program
            self.handleError(record)
            return
        self._events.append(SystemEvent(record.created, _level(record.levelno), "log", message))

    def drain(self) -> list[SystemEvent]:
        """What was logged since the last call."""
        taken: list[SystemEvent] = []
        while self._events:
            taken.append(self._events.popleft())
        return taken


def _level(number: int) -> Literal["info", "warning", "error"]:
    if number >= logging.ERROR:
        return "error"
    return "warning" if number >= logging.WARNING else "info"
