"""The thread that a SQLite cache belongs to.

Reads go before writes; all writes that wait are committed together, so that a burst costs one
flush of the disk, and each is told of only after that.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from anyclaude.caches.sqlite_file import SqliteFile

T = TypeVar("T")
_Alone: TypeAlias = "tuple[Callable[[SqliteFile], None], Future[None]]"

MAX_BATCH = 256
MAX_WAITING = 4096
"""Writes that wait; what comes on top is not written, for the disk can't keep up."""
REOPEN_S = 30.0
"""How long a file that couldn't be opened is left alone."""
_STOP_S = 5.0


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    otherwise: Any
    done: Future[Any] = field(default_factory=Future)


class DiskThread:
    """Runs work on the file that ``open_file`` makes on the thread; see :class:`SqliteFile`.

    ``before_commit`` is called in every transaction, once its writes are made, ``failed`` when
    one came to nothing.
    """

    def __init__(
        self,
        name: str,
        open_file: Callable[[], SqliteFile],
        before_commit: Callable[[sqlite3.Connection], None],
        failed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._reopen_at = 0.0
        self._open_file = open_file
        self._before_commit = before_commit
        self._failed = failed
        self._reads: deque[_Job] = deque()
        self._writes: deque[_Job] = deque()
        self._alone: deque[_Alone] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # --------------------------------------------------------------------- from other threads

    def start(self) -> None:
        self._thread.start()

    def read(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> Future[T]:
        """``work`` outside a transaction."""
        return self._submit(self._reads, work, otherwise)

    def write(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> Future[T]:
        """``work`` in a transaction; done once that is on the disk, or with ``otherwise``."""
        if len(self._writes) >= MAX_WAITING:
            refused: Future[T] = Future()
            refused.set_result(otherwise)
            return refused
        return self._submit(self._writes, work, otherwise)

    def alone(self, work: Callable[[SqliteFile], None]) -> Future[None]:
        """``work`` on the file itself, after all writes that wait; it must not raise."""
        done: Future[None] = Future()
        with self._wake:
            if self._stopping:
                done.set_result(None)
            else:
                self._alone.append((work, done))
                self._wake.notify_all()
        return done

    def stop(self) -> None:
        """Does what waits and closes the file; waits for that 5 s at most."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def _submit(
        self, queue: deque[_Job], work: Callable[[sqlite3.Connection], T], otherwise: T
    ) -> Future[T]:
        job = _Job(work, otherwise)
        with self._wake:
            if self._stopping:
                job.done.set_result(otherwise)
            else:
                queue.append(job)
                self._wake.notify_all()
        return job.done

    # ------------------------------------------------------------------------- on the thread

    def _run(self) -> None:
        file = self._open_file()
        while True:
            reads, writes, alone, stopping = self._take()
            self._keep_open(file)
            for job in reads:
                _settle(job, file.run(job.work, job.otherwise))
            if writes:
                self._commit(file, writes)
            if alone:
                work, done = alone
                work(file)
                if done.set_running_or_notify_cancel():
                    done.set_result(None)
            if stopping and not (reads or writes or alone):
                break
        file.run(lambda db: self._last(db), None)
        file.close()

    def _keep_open(self, file: SqliteFile) -> None:
        if not file.is_open and self._clock() >= self._reopen_at:
            self._reopen_at = self._clock() + REOPEN_S
            file.open()

    def _take(self) -> tuple[list[_Job], list[_Job], _Alone | None, bool]:
        with self._wake:
            while not (self._reads or self._writes or self._alone or self._stopping):
                self._wake.wait()
            reads = list(self._reads)
            self._reads.clear()
            if reads:
                return reads, [], None, self._stopping
            count = min(len(self._writes), MAX_BATCH)
            writes = [self._writes.popleft() for _ in range(count)]
            alone = self._alone.popleft() if self._alone and not self._writes else None
            return [], writes, alone, self._stopping

    def _commit(self, file: SqliteFile, jobs: list[_Job]) -> None:
        def work(db: sqlite3.Connection) -> list[Any]:
            with db:
                results = [job.work(db) for job in jobs]
                self._before_commit(db)
            return results

        results = file.run(work, None)
        if results is None:
            self._failed()
        for index, job in enumerate(jobs):
            _settle(job, job.otherwise if results is None else results[index])

    def _last(self, db: sqlite3.Connection) -> None:
        with db:
            self._before_commit(db)


def _settle(job: _Job, result: object) -> None:
    if job.done.set_running_or_notify_cancel():
        job.done.set_result(result)
