"""The disk tier of the prefix cache: KV as bytes in files, found again after a restart.

The public calls may come from any thread, take milliseconds at most and never wait for the disk.
Two threads do that: one writes, deletes and scans, the other reads, so a load never queues behind
writes. Whatever goes wrong down there costs the tier some files and one event, never a request.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from anyclaude.caches.kv.disk_budget import DayBudget, Seen
from anyclaude.caches.kv.disk_folder import DiskFolder
from anyclaude.caches.kv.disk_format import (
    Blob,
    Kind,
    Run,
    file_bytes,
    model_digest,
    pack,
    prefix_digests,
    unpack,
)
from anyclaude.caches.kv.disk_index import DiskMatch, Entry, Part
from anyclaude.caches.kv.disk_load import DiskLoad, Piece, Reader
from anyclaude.caches.kv.disk_plan import plan_writes
from anyclaude.caches.kv.disk_shelf import DiskStats, Freed, Shelf
from anyclaude.events import SystemEvent
from anyclaude.types import Tokens

__all__ = [
    "Blob",
    "DiskLimits",
    "DiskLoad",
    "DiskMatch",
    "DiskStats",
    "DiskTier",
    "Freed",
    "Kind",
    "Piece",
    "Run",
]

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_HEADS = 8
QUEUE_BYTES = 256 * 2**20
TOUCH_SECONDS = 60.0
CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """Bytes on disk (0: the smaller of 20 GB and a tenth of what is free) and written a day
    (0: no limit)."""

    size: int = 0
    writes_per_day: int = 50 * 10**9


class DiskTier:
    """See the module. ``report`` is called on the tier's threads.

    ``free`` answers the free bytes of the disk a path is on; ``wall`` and ``clock`` are seconds.
    """

    def __init__(
        self,
        root: Path,
        limits: DiskLimits,
        report: Callable[[SystemEvent], None],
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        free: Callable[[Path], int] | None = None,
    ) -> None:
        self._report = report
        self._wall = wall
        budget = DayBudget(limits.writes_per_day, wall)
        folder = DiskFolder(root, free)
        self._shelf = Shelf(folder, limits.size, budget, self._say, wall, clock)
        self._seen = Seen()
        self._closed = False
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._work, name="anyclaude-disk", daemon=True)
        self._reader = Reader(self._fetch)
        self._writer.start()
        self._reader.start()

    # ------------------------------------------------------------------------------ lifecycle

    def open(self, fingerprint: str, *, kv: bool = True, states: bool = False) -> Future[None]:
        """Serves the files of this model from now on; done when its folder is scanned.

        ``fingerprint`` names everything that the bytes depend on: weights, adapter, bits. ``kv``:
        some layers' KV is cut by token; ``states``: some layers need a snapshot. Until it is
        done, and when the folder can't be used, nothing matches.
        """
        with self._shelf.lock:
            self._shelf.opened = None
        model = model_digest(fingerprint)
        return self._submit(lambda: self._shelf.scan(model, kv=kv, states=states))

    def drain(self) -> Future[None]:
        """Done when everything queued before is on disk or given up."""
        return self._submit(lambda: None)

    def flush(self) -> Future[Freed]:
        """Deletes every file of every model, session heads and what is queued included."""
        with self._shelf.lock:
            self._shelf.forget_all()
        return self._submit(self._shelf.delete_all)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Writes what is queued, for ``seconds`` at most, and ends the threads. Blocks."""
        self._closed = True
        self._reader.close()
        self._jobs.put(None)
        self._writer.join(seconds)
        with self._shelf.lock:
            self._shelf.era += 1
            self._shelf.opened = None
        self._writer.join(CLOSE_SECONDS)
        self._reader.join(CLOSE_SECONDS)

    # -------------------------------------------------------------------------------- reading

    def match(self, tokens: Tokens) -> DiskMatch:
        """Which prefix of ``tokens`` can be loaded: ``length`` tokens."""
        packed = pack(tokens)
        with self._shelf.lock:
            opened = self._shelf.opened
            return opened.index.find(packed) if opened is not None else DiskMatch()

    def load(self, match: DiskMatch, have: int, wake: Callable[[], None]) -> DiskLoad:
        """Begins to read what follows the first ``have`` tokens; see :class:`DiskLoad`.

        It may be finished at once, without a wake: when there is nothing to read.
        """
        load = DiskLoad(match, have, wake, self._reader)
        self._touch(part.entry for part in (*match.runs, *match.states[-1:]))
        self._reader.ask(load)
        return load

    def heads(self) -> list[Tokens]:
        """The session heads remembered for this model, the latest first."""
        with self._shelf.lock:
            opened = self._shelf.opened
            heads = sorted(opened.heads, key=lambda e: -e.used) if opened is not None else []
            return [unpack(entry.run.tokens) for entry in heads if entry.run is not None]

    def runs(self) -> list[tuple[Run, float]]:
        """What can be read of the model that is served, and when it was last used."""
        with self._shelf.lock:
            opened = self._shelf.opened
            entries = opened.index if opened is not None else ()
            return [(e.run, e.used) for e in entries if e.ready and e.run is not None]

    def stats(self) -> DiskStats:
        with self._shelf.lock:
            return self._shelf.stats()

    # -------------------------------------------------------------------------------- writing

    def missing(
        self,
        tokens: Tokens,
        *,
        token_bytes: float,
        head_tokens: int = 0,
        states: Mapping[int, int] | None = None,
    ) -> list[Run]:
        """What of an answered request's ``tokens`` is worth writing now, in order.

        To be called once per request: what two requests had in common counts as seen twice. A
        token's KV takes ``token_bytes``; ``states`` says which positions have a snapshot and of
        how many bytes: of them the head's and the two deepest are written.
        """
        packed = pack(tokens)
        with self._shelf.lock:
            seen = self._seen.through(packed)
            opened = self._shelf.opened
            if opened is None or self._shelf.paused:
                return []
            survey = opened.index.survey(packed)
            runs = plan_writes(
                packed,
                survey,
                opened.index,
                self._shelf.budget,
                token_bytes=token_bytes,
                head=head_tokens,
                seen=seen,
                states=states or {},
            )
        deepest = [survey.states[max(survey.states)]] if survey.states else []
        self._touch((*survey.runs, *deepest))
        return runs

    @property
    def room(self) -> int:
        """Bytes that the queue takes just now; see :meth:`takes`."""
        with self._shelf.lock:
            return max(0, QUEUE_BYTES - self._shelf.queued)

    def takes(self, nbytes: int) -> bool:
        """Whether the queue has place for so many bytes; an empty one takes any number."""
        with self._shelf.lock:
            queued = self._shelf.queued
            return not queued or queued + nbytes <= QUEUE_BYTES

    def store(self, run: Run, blob: Blob) -> bool:
        """Queues one of :meth:`missing`'s runs; ``False`` when it isn't taken."""
        shelf = self._shelf
        with shelf.lock:
            opened = shelf.opened
            full = shelf.queued and shelf.queued + file_bytes(run, blob) > QUEUE_BYTES
            if opened is None or self._closed:
                return False
            if opened.index.holds(run):
                return True
            if full:
                return False
            write = shelf.begin(opened, run, blob)
        if write is not None:
            self._submit(partial(shelf.write, write))
        return write is not None

    def remember_head(self, tokens: Tokens) -> None:
        """Keeps a session's system prompt and tools, so that a restart can warm them up."""
        if not tokens or self._closed:
            return
        packed, shelf = pack(tokens), self._shelf
        zero, end = prefix_digests(packed, (0, len(tokens)))
        run = Run(Kind.HEAD, 0, len(tokens), zero, end, packed)
        with shelf.lock:
            opened = shelf.opened
            if opened is None or shelf.paused:
                return
            known = [entry for entry in opened.heads if entry.run == run]
            write = None if known else shelf.begin(opened, run, Blob(b"", b""))
            old = sorted(opened.heads, key=lambda entry: entry.used)[:-MAX_HEADS]
        self._touch(known)
        if write is not None:
            self._submit(partial(shelf.write, write))
        for head in old:
            self._submit(partial(shelf.delete, head))

    # --------------------------------------------------------------------------------- inside

    def _touch(self, entries: Iterable[Entry]) -> None:
        """Marks files as used now; on disk only by the minute."""
        now, stale = self._wall(), []
        for entry in entries:
            if entry.used < now - TOUCH_SECONDS and entry.ready:
                stale.append(entry)
            entry.used = max(entry.used, now)
        if stale:
            self._submit(partial(self._shelf.set_times, stale))

    def _fetch(self, part: Part) -> Blob | None:
        try:
            return self._shelf.fetch(part)
        except Exception as error:
            self._broke(error)
            return None

    def _broke(self, error: Exception) -> None:
        log.error("the disk cache failed", exc_info=error)
        self._say("error", f"the disk cache failed: {type(error).__name__}: {error}")

    def _say(self, level: Literal["info", "warning", "error"], message: str) -> None:
        with suppress(RuntimeError):  # The event loop that listens may be closed.
            self._report(SystemEvent(self._wall(), level, "cache", message))

    def _submit(self, job: Callable[[], T]) -> Future[T]:
        done: Future[T] = Future()

        def run() -> None:
            try:
                result = job()
            except Exception as error:
                self._broke(error)
                done.set_exception(error)
            else:
                done.set_result(result)

        if self._closed:
            done.cancel()
        else:
            self._jobs.put(run)
        return done

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
