"""The file of what searches leave behind: results, and texts put into conversations.

One thread owns it. Whatever is wrong with it costs a search anew, never a request.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from anyclaude.caches.response.disk_thread import DiskThread
from anyclaude.caches.sqlite_file import SqliteFile
from anyclaude.events import SystemEvent

T = TypeVar("T")
FILE_NAME = "search.sqlite"

_VERSION = 1
_SCHEMA = """
CREATE TABLE results (
    key BLOB PRIMARY KEY,
    created REAL NOT NULL,
    used REAL NOT NULL,
    size INTEGER NOT NULL,
    ms REAL NOT NULL,
    payload TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX results_used ON results (used);
CREATE TABLE inserted (
    conversation TEXT NOT NULL,
    turn BLOB NOT NULL,
    created REAL NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (conversation, turn)
) WITHOUT ROWID;
CREATE INDEX inserted_created ON inserted (created);
"""


class SearchFile:
    """The file at ``path``; ``wall`` is Unix time, ``report`` is called on the file's thread."""

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], float],
        report: Callable[[SystemEvent], None],
    ) -> None:
        self.path = path
        self._wall = wall
        self._report = report
        self._thread = DiskThread("anyclaude-search", self._open, lambda db: None, lambda: None)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Writes what waits and closes the file; waits 5 s for it at most."""
        self._thread.stop()

    async def read(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """``work`` on the file's thread, ``otherwise`` when the file can't be used."""
        return await asyncio.wrap_future(self._thread.read(work, otherwise))

    async def write(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """As :meth:`read`, in a transaction; returns once that is on the disk."""
        return await asyncio.wrap_future(self._thread.write(work, otherwise))

    def _open(self) -> SqliteFile:
        return SqliteFile(
            self.path,
            _SCHEMA,
            _VERSION,
            opened=lambda db: None,
            warn=self._warn,
            loss="searches are made anew",
        )

    def _warn(self, message: str) -> None:
        self._report(SystemEvent(self._wall(), "warning", "cache", message))
