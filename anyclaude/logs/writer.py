"""The one thread that writes DuckDB.

Entries wait in one queue; the thread takes all that are there and commits them together, so
that a burst costs one disk flush. For entries that nobody waits for it gathers more for a little
while, since each commit also costs the event loop milliseconds. When writing fails the entries
stay where they were, in order and bounded in number and size, and are tried again with the next
entry or after a while. A person hears of the first failure and of the recovery, not of every
attempt.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import duckdb

from anyclaude.errors import AnyclaudeError, ConfigError
from anyclaude.events import SystemEvent
from anyclaude.logs.database import Database, is_corrupt, one_line
from anyclaude.logs.rows import Entry, instant, store

logger = logging.getLogger(__name__)

MAX_BATCH = 256
MAX_KEPT = 10_000
MAX_KEPT_SIZE = 64 * 1024 * 1024
MAX_KNOWN = 50_000
DAY_S = 86_400.0
GATHER_S = 0.05
_RETRY_S = (1.0, 2.0, 5.0, 15.0, 30.0)
_STOP_S = 2.0

# What one bad row raises, as against a disk or database that can't be written.
_ROW_ERRORS = (
    duckdb.DataError,
    duckdb.IntegrityError,
    duckdb.ProgrammingError,
    ValueError,
    TypeError,
    OverflowError,
)
# After these the open connection is of no more use.
_LOST_FILE = (
    duckdb.FatalException,
    duckdb.InternalError,
    duckdb.ConnectionException,
    FileNotFoundError,
)


@dataclass(slots=True)
class _Queued:
    entry: Entry
    size: int
    settled: Callable[[], None] | None


class Writer:
    """Owns the write side of a :class:`Database` from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        database: Database,
        *,
        bodies: bool,
        retention_days: int,
        now: Callable[[], float],
        report: Callable[[SystemEvent], None],
    ) -> None:
        """``report`` is called on the writer's thread; ``now`` is Unix time."""
        self._database = database
        self._bodies = bodies
        self._retention_days = retention_days
        self._now = now
        self._report = report
        self._queue: deque[_Queued] = deque()
        self._queued_size = 0
        self._lost = 0
        self._failures = 0
        self._fresh = False
        self._hurried = False
        self._stopping = False
        self._next_expiry = 0.0
        self._known: set[str] = set()
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="anyclaude-log", daemon=True)

    # --------------------------------------------------------------------- from other threads

    def start(self) -> None:
        atexit.register(self.stop)
        self._thread.start()

    def submit(
        self, entry: Entry, settled: Callable[[], None] | None = None, *, hurry: bool = True
    ) -> None:
        """Queues the entry. ``settled`` is called on the writer's thread once it was tried.

        Without ``hurry`` that may be :data:`GATHER_S` later.
        """
        queued = _Queued(entry, entry.size, settled)
        with self._wake:
            self._queue.append(queued)
            self._queued_size += queued.size
            self._fresh = True
            self._hurried |= hurry
            dropped = self._trim()
            if hurry or len(self._queue) == 1:
                self._wake.notify_all()
        _settle(dropped)

    def hurry(self) -> None:
        """What is queued is written now: somebody wants to see it."""
        with self._wake:
            self._hurried = True
            self._wake.notify_all()

    def stop(self) -> None:
        """Tries once to write what is queued, and ends the thread; waits 2 s at most.

        Registered for the interpreter's exit too, so that a crash elsewhere loses nothing.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join(_STOP_S)
        atexit.unregister(self.stop)

    def _trim(self) -> list[_Queued]:
        dropped: list[_Queued] = []
        while len(self._queue) > MAX_KEPT or (
            self._queued_size > MAX_KEPT_SIZE and len(self._queue) > 1
        ):
            oldest = self._queue.popleft()
            self._queued_size -= oldest.size
            dropped.append(oldest)
        self._lost += len(dropped)
        return dropped

    # ------------------------------------------------------------------------- on the thread

    def _run(self) -> None:
        while True:
            self._expire_if_due()
            batch, stopping = self._take()
            if batch:
                self._write(batch)
            del batch  # Or a whole conversation stays in memory until the next row comes.
            if stopping:
                break
        self._drain()
        if self._queue:
            self._say(
                "error",
                f"{len(self._queue)} rows could not be written to {self._database.path} and "
                "are lost: free disk space before the next start",
            )
        self._database.close()

    def _drain(self) -> None:
        """Writes what is left until it is all there, or an attempt fails."""
        while self._queue:
            failures = self._failures
            batch, _ = self._take()
            self._write(batch)
            if self._failures > failures:
                return

    def _take(self) -> tuple[list[_Queued], bool]:
        """The next batch, once there is one, a retry is due, or the end has come."""
        with self._wake:
            if self._failures:
                delay = _RETRY_S[min(self._failures, len(_RETRY_S)) - 1]
                self._wake.wait_for(lambda: self._stopping or self._fresh, timeout=delay)
            else:
                self._wake.wait_for(lambda: self._stopping or self._queue, timeout=3600.0)
                self._wake.wait_for(lambda: self._stopping or self._hurried, timeout=GATHER_S)
            self._fresh = self._hurried = False
            count = min(len(self._queue), MAX_BATCH)
            batch = [self._queue.popleft() for _ in range(count)]
            self._queued_size -= sum(queued.size for queued in batch)
            return batch, self._stopping

    def _write(self, batch: list[_Queued]) -> None:
        try:
            self._commit([queued.entry for queued in batch], again=self._failures > 0)
        except _ROW_ERRORS as error:
            if is_corrupt(error):
                self._failed(batch, error)
            elif len(batch) > 1:
                for queued in batch:
                    self._write([queued])
                return
            else:
                self._refused(batch[0].entry, error)
        except (duckdb.Error, OSError, AnyclaudeError, MemoryError) as error:
            self._failed(batch, error)
        else:
            self._succeeded()
        _settle(batch)

    def _commit(self, entries: Sequence[Entry], *, again: bool) -> None:
        if self._database.is_open:
            self._database.keep_private()
        else:
            self._database.open()
        con = self._database.writer
        con.begin()
        try:
            stored = store(con, entries, bodies=self._bodies, again=again, known=self._known)
            con.commit()
        except BaseException:
            _roll_back(con)
            raise
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        self._known |= stored

    # ------------------------------------------------------------------------------ outcomes

    def _succeeded(self) -> None:
        if not self._failures:
            return
        self._failures = 0
        lost, self._lost = self._lost, 0
        message = f"the log database {self._database.path} can be written again"
        if lost:
            message += f"; {lost} rows did not fit in memory meanwhile and are lost"
        self._say("warning" if lost else "info", message)

    def _refused(self, entry: Entry, error: BaseException) -> None:
        what = f"request {entry.record.id}" if entry.record is not None else "an event"
        logger.error("the row of %s was refused", what, exc_info=error)
        self._say(
            "error",
            f"the row of {what} was refused by the log database and is lost: {one_line(error)}",
            entry.record.id if entry.record is not None else None,
        )

    def _failed(self, batch: list[_Queued], error: BaseException) -> None:
        with self._wake:
            self._queue.extendleft(reversed(batch))
            self._queued_size += sum(queued.size for queued in batch)
            self._trim()
            # Nobody waits for a later attempt.
            waiting = [*batch, *self._queue]
        self._failures += 1
        if self._failures == 1:
            logger.error("the log database can't be written", exc_info=error)
            self._say(
                "error",
                f"the log database {self._database.path} can't be written: {one_line(error)}; "
                "rows are kept in memory and tried again: free disk space or make it writable",
            )
        _settle(waiting)
        if isinstance(error, _LOST_FILE) or is_corrupt(error):
            self._reopen(error)

    def _reopen(self, error: BaseException) -> None:
        self._known.clear()
        try:
            self._database.reopen(error)
        except (duckdb.Error, OSError, ConfigError) as again:
            logger.error("the log database can't be opened again", exc_info=again)

    def _say(
        self,
        level: Literal["info", "warning", "error"],
        message: str,
        request_id: str | None = None,
    ) -> None:
        self._report(SystemEvent(self._now(), level, "log", message, request_id))

    # ----------------------------------------------------------------------------- retention

    def _expire_if_due(self) -> None:
        now = self._now()
        if not self._retention_days or self._failures or now < self._next_expiry:
            return
        self._next_expiry = now + DAY_S
        self._known.clear()
        try:
            expire(self._database.writer, instant(now) - timedelta(days=self._retention_days))
        except (duckdb.Error, AnyclaudeError) as error:
            self._say("warning", f"old rows could not be removed: {one_line(error)}")


def expire(con: duckdb.DuckDBPyConnection, before: object) -> None:
    """Removes requests and events older than ``before`` with all that only they refer to."""
    con.begin()
    try:
        con.execute("DELETE FROM events WHERE happened_at < ?", [before])
        con.execute("DELETE FROM tool_failures WHERE happened_at < ?", [before])
        con.execute("DELETE FROM requests WHERE started_at < ?", [before])
        for table in ("tool_calls", "mcp_calls", "searches", "request_messages"):
            con.execute(f"DELETE FROM {table} WHERE request_id NOT IN (SELECT id FROM requests)")
        con.execute(
            "DELETE FROM prompt_sections WHERE prompt_id NOT IN (SELECT prompt_id FROM requests)"
        )
        con.execute("DELETE FROM messages WHERE hash NOT IN (SELECT hash FROM request_messages)")
        con.commit()
    except BaseException:
        _roll_back(con)
        raise


def _roll_back(con: duckdb.DuckDBPyConnection) -> None:
    try:
        con.rollback()
    except duckdb.Error as error:
        logger.debug("nothing to roll back: %s", one_line(error))


def _settle(batch: Sequence[_Queued]) -> None:
    for queued in batch:
        if queued.settled is not None:
            queued.settled()
            queued.settled = None
