"""Reading from the disk tier: one thread, a few files ahead of whoever takes them.

Loads take turns file by file, so a long one delays a short one by a file at most, and a load
whose pieces nobody takes stops reading.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from anyclaude.caches.kv.disk_format import Blob, Kind
from anyclaude.caches.kv.disk_index import DiskMatch, Part

AHEAD_FILES = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes from the disk: KV of ``tokens[start:stop]``, or the state at ``stop``.

    ``blob`` holds ``skip`` tokens before ``start`` too, and perhaps some after ``stop``.
    """

    kind: Kind
    start: int
    stop: int
    skip: int
    blob: Blob


class DiskLoad:
    """Pieces in ascending order, then the state if the model has one.

    ``wake`` is called on the reading thread whenever :meth:`take` or :attr:`finished` has
    something new to say.
    """

    def __init__(
        self, match: DiskMatch, have: int, wake: Callable[[], None], reader: Reader
    ) -> None:
        self.start = have
        self._wake = wake
        self._reader = reader
        self._lock = threading.Lock()
        self._parts = deque(match.chain(have, match.length))
        self._states = [part for part in match.states if part.stop > have]
        self._stateful = bool(match.states)
        self._until = match.length
        self._kv = match.kv
        self._read = have
        self._reached = have
        self._ready: deque[Piece] = deque()
        self._queued = False
        self._exhausted = False
        if match.length <= have:
            self._exhausted = True

    def take(self) -> Piece | None:
        """The next piece if it is there; never waits. Any one thread."""
        with self._lock:
            if not self._ready:
                return None
            piece = self._ready.popleft()
            if piece.kind is Kind.STATE or not self._stateful:
                self._reached = piece.stop
        self._reader.ask(self)
        return piece

    @property
    def finished(self) -> bool:
        """Whether every piece there will be has been taken."""
        with self._lock:
            return self._exhausted and not self._ready

    @property
    def reached(self) -> int:
        """Tokens that can be used with the pieces taken so far."""
        return self._reached

    def cancel(self) -> None:
        """Nothing more is read; what was read is let go."""
        with self._lock:
            self._exhausted = True
            self._ready.clear()
            self._parts.clear()
            self._states.clear()

    # ------------------------------------------------------------------- the reader's side

    def claim(self) -> bool:
        """Whether the reader should put this load into its queue now."""
        with self._lock:
            if self._queued or self._exhausted or len(self._ready) >= AHEAD_FILES:
                return False
            self._queued = True
            return True

    def step(self, fetch: Callable[[Part], Blob | None]) -> None:
        """Reads one file and puts it out."""
        with self._lock:
            self._queued = False
            part = self._next()
        if part is not None:
            blob = fetch(part)
            with self._lock:
                self._put(part, blob)
        self.wake()

    def wake(self) -> None:
        with suppress(RuntimeError):  # The event loop that listens may be closed.
            self._wake()

    def _next(self) -> Part | None:
        """The next file; after the last KV the deepest state that it leads to."""
        if self._parts:
            return self._parts.popleft()
        while self._states:
            state = self._states.pop()
            if state.stop <= self._read or not self._kv:
                return state
        self._exhausted = True
        return None

    def _put(self, part: Part, blob: Blob | None) -> None:
        if self._exhausted:
            return
        state = part.run.kind is Kind.STATE
        if blob is None:
            if not state:
                self._parts.clear()
        else:
            start = part.start if state else max(part.start, self._read)
            stop = min(part.stop, self._until)
            self._ready.append(Piece(part.run.kind, start, stop, start - part.start, blob))
            if state:
                self._states.clear()
            else:
                self._read = stop
        if not self._parts and not self._states:
            self._exhausted = True


class Reader(threading.Thread):
    """The reading thread. ``fetch`` reads a file; it answers ``None`` for whatever goes wrong."""

    def __init__(self, fetch: Callable[[Part], Blob | None]) -> None:
        super().__init__(name="anyclaude-disk-read", daemon=True)
        self._fetch = fetch
        self._wanted: deque[DiskLoad] = deque()
        self._change = threading.Condition()
        self._closed = False

    def ask(self, load: DiskLoad) -> None:
        """Has the next file of ``load`` read, if there is one and place for it."""
        with self._change:
            if self._closed:
                load.cancel()
            elif load.claim():
                self._wanted.append(load)
                self._change.notify()

    def close(self) -> None:
        """Ends the thread after the file it reads; what waits is cancelled and woken."""
        with self._change:
            self._closed = True
            waiting = list(self._wanted)
            self._wanted.clear()
            self._change.notify()
        for load in waiting:
            load.cancel()
            load.wake()

    def run(self) -> None:
        while True:
            with self._change:
                while not self._wanted and not self._closed:
                    self._change.wait()
                if self._closed:
                    return
                load = self._wanted.popleft()
            load.step(self._fetch)
            self.ask(load)
