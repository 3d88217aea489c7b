"""L3: packed answers in a SQLite file, so that they outlive the process.

A put that has been waited for is on the disk. Whatever goes wrong with the file (locked, full,
damaged, of another release) costs answers, never a request: reads find nothing, puts return
``False``, and a person hears of it once.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from anyclaude.caches.response.disk_thread import DiskThread
from anyclaude.caches.response.memory import MAX_SHARE
from anyclaude.caches.sqlite_file import SqliteFile
from anyclaude.caches.tally import Tally
from anyclaude.events import SystemEvent, TierStats
from anyclaude.types import Tier

T = TypeVar("T")

FILE_NAME = "responses.sqlite"
DAY_S = 86_400.0

_VERSION = 1
_SWEEP_S = 3600.0
_KEEP = 0.9
_OVERHEAD = 200
_SCHEMA = """
CREATE TABLE entries (
    digest BLOB PRIMARY KEY,
    created REAL NOT NULL,
    used REAL NOT NULL,
    size INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX entries_used ON entries (used);
CREATE INDEX entries_created ON entries (created);
CREATE TABLE vectors (
    digest BLOB PRIMARY KEY REFERENCES entries (digest) ON DELETE CASCADE,
    context BLOB NOT NULL,
    model TEXT NOT NULL,
    vector BLOB NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class PersistentOptions:
    """An answer is kept for ``days``; over ``limit_bytes`` those used longest ago go first.

    A read that takes longer than ``read_timeout_s`` (a stuck disk) counts as a miss.
    """

    days: float = 30.0
    limit_bytes: int = 2**30
    read_timeout_s: float = 0.1


@dataclass(slots=True)
class _Counts:
    entries: int = 0
    bytes: int = 0
    evictions: int = 0
    next_sweep: float = 0.0


class PersistentTier:
    """The file at ``path``; ``wall`` is Unix time, ``report`` is called on the file's thread."""

    def __init__(
        self,
        path: Path,
        options: PersistentOptions,
        *,
        wall: Callable[[], float],
        report: Callable[[SystemEvent], None],
    ) -> None:
        self.path = path
        self._options = options
        self._wall = wall
        self._report = report
        self._counts = _Counts()
        self._used: dict[bytes, float] = {}
        self._thread = DiskThread(
            "anyclaude-responses", self._open, self._before_commit, self._rolled_back
        )
        self.tally = Tally()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Writes what waits and closes the file; waits 5 s for it at most."""
        self._thread.stop()

    async def get(self, digest: bytes) -> bytes | None:
        """The payload; it counts as used."""
        oldest = self._wall() - self._options.days * DAY_S

        def work(db: sqlite3.Connection) -> bytes | None:
            row: tuple[bytes] | None = db.execute(
                "SELECT payload FROM entries WHERE digest = ? AND created > ?", (digest, oldest)
            ).fetchone()
            if row is None:
                return None
            self._used[digest] = self._wall()
            return row[0]

        try:
            async with asyncio.timeout(self._options.read_timeout_s):
                return await _wait(self._thread.read(work, None))
        except TimeoutError:
            return None

    async def put(self, digest: bytes, payload: bytes, created: float) -> bool:
        """Whether the payload is on the disk now. One that is too large is not kept."""
        size = len(payload) + _OVERHEAD
        if size > self._options.limit_bytes * MAX_SHARE:
            return False

        def work(db: sqlite3.Connection) -> bool:
            self._forget(db, digest)
            db.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
                (digest, created, self._wall(), size, payload),
            )
            self._counts.entries += 1
            self._counts.bytes += size
            return True

        return await _wait(self._thread.write(work, False))

    async def delete(self, digest: bytes) -> bool:
        """Forgets one entry; whether the file could be written."""

        def work(db: sqlite3.Connection) -> bool:
            self._forget(db, digest)
            return True

        return await _wait(self._thread.write(work, False))

    async def flush(self) -> tuple[int, int]:
        """Deletes everything, from the file too; how many entries and bytes that were.

        Files that were moved aside go with it. Where it can't be done, an event says so.
        """
        gone = (0, 0)

        def work(file: SqliteFile) -> None:
            nonlocal gone
            gone = file.run(self._empty, (0, 0))
            try:
                file.delete_asides()
            except OSError as error:
                self._say("error", f"an old file beside {self.path} can't be deleted: {error}")

        await _wait(self._thread.alone(work))
        return gone

    async def read(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """For other tables of the file: ``work`` on its thread, ``otherwise`` when it can't be."""
        return await _wait(self._thread.read(work, otherwise))

    async def write(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """As :meth:`read`, in a transaction; returns once that is on the disk."""
        return await _wait(self._thread.write(work, otherwise))

    def stats(self) -> TierStats:
        counts = self._counts
        self.tally.evictions = counts.evictions
        return self.tally.stats(
            Tier.RESPONSE_DISK,
            enabled=True,
            entries=counts.entries,
            bytes=counts.bytes,
            limit_bytes=self._options.limit_bytes,
        )

    # ------------------------------------------------------------------------- on the thread

    def _open(self) -> SqliteFile:
        return SqliteFile(
            self.path,
            _SCHEMA,
            _VERSION,
            opened=self._recount,
            warn=lambda message: self._say("warning", message),
            loss="answers are kept in memory alone",
        )

    def _recount(self, db: sqlite3.Connection) -> None:
        row = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM entries").fetchone()
        self._counts.entries, self._counts.bytes = row

    def _before_commit(self, db: sqlite3.Connection) -> None:
        """Notes what was used, and keeps to the limits."""
        used, self._used = self._used, {}
        db.executemany(
            "UPDATE entries SET used = ? WHERE digest = ?",
            [(when, digest) for digest, when in used.items()],
        )
        now = self._wall()
        if now >= self._counts.next_sweep:
            self._counts.next_sweep = now + _SWEEP_S
            db.execute(
                "DELETE FROM entries WHERE created <= ?", (now - self._options.days * DAY_S,)
            )
            self._shrink(db)
            self._recount(db)  # Another process may write to the file too.
        if self._counts.bytes > self._options.limit_bytes:
            self._evict(db)

    def _evict(self, db: sqlite3.Connection) -> None:
        self._recount(db)
        oldest = db.execute("SELECT digest, size FROM entries ORDER BY used, created").fetchall()
        for digest, size in oldest:
            if self._counts.bytes <= self._options.limit_bytes * _KEEP:
                break
            db.execute("DELETE FROM entries WHERE digest = ?", (digest,))
            self._counts.entries -= 1
            self._counts.bytes -= size
            self._counts.evictions += 1
        self._shrink(db)

    def _shrink(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA incremental_vacuum").fetchall()

    def _rolled_back(self) -> None:
        self._counts.next_sweep = 0.0  # What it had counted is not so: count anew.

    def _forget(self, db: sqlite3.Connection, digest: bytes) -> None:
        rows = db.execute("DELETE FROM entries WHERE digest = ? RETURNING size", (digest,))
        for (size,) in rows.fetchall():
            self._counts.entries -= 1
            self._counts.bytes -= size

    def _empty(self, db: sqlite3.Connection) -> tuple[int, int]:
        self._recount(db)
        gone = self._counts.entries, self._counts.bytes
        with db:
            db.execute("DELETE FROM entries")
        self._used.clear()
        self._recount(db)
        db.execute("VACUUM")
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            self._say("warning", f"{self.path} is in use elsewhere, so its log still has answers")
        return gone

    def _say(self, level: Literal["warning", "error"], message: str) -> None:
        self._report(SystemEvent(self._wall(), level, "cache", message))


async def _wait(future: Future[T]) -> T:
    return await asyncio.wrap_future(future)
