"""What the disk tier has on disk, and the work on it: scan, write, read, evict, delete.

Its state is guarded by ``lock``, which is never held while the disk works. The methods under
"disk threads" block and are called there only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from anyclaude.caches.kv.disk_budget import DayBudget, write_budget
from anyclaude.caches.kv.disk_folder import DiskFolder
from anyclaude.caches.kv.disk_format import (
    TOKEN_BYTES,
    Blob,
    Kind,
    Run,
    Unusable,
    encode,
    file_bytes,
    read_file,
    write_file,
)
from anyclaude.caches.kv.disk_index import Entry, Index, Part

MAX_FILES = 8192
PAUSE_SECONDS = 600.0
SPARE_SHARE = 64

Say = Callable[[Literal["info", "warning", "error"], str], None]


@dataclass(frozen=True, slots=True)
class DiskStats:
    """Sizes in bytes. ``entries`` and ``nbytes`` count all models, ``tokens`` the open one.

    ``limit`` is 0 until the first scan when it depends on the disk. ``paused``: the disk failed
    a short while ago, so nothing is written.
    """

    entries: int = 0
    tokens: int = 0
    nbytes: int = 0
    limit: int = 0
    evictions: int = 0
    written_today: int = 0
    queued: int = 0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Freed:
    """What a flush deleted."""

    entries: int
    nbytes: int


@dataclass(slots=True, eq=False)
class Opened:
    """The model that is served: its folder, what its files hold, and its session heads."""

    model: bytes
    index: Index
    heads: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """A file to be written, for ``opened``; given up once the shelf's ``era`` is another."""

    opened: Opened
    entry: Entry
    run: Run
    blob: Blob
    era: int


class Shelf:
    """All files of the tier. ``say`` reports; ``limit`` 0: see :meth:`DiskFolder.default_limit`."""

    def __init__(
        self,
        folder: DiskFolder,
        limit: int,
        budget: DayBudget,
        say: Say,
        wall: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self.lock = threading.Lock()
        self.opened: Opened | None = None
        self.era = 0
        self.budget = budget
        self._folder = folder
        self._wanted_limit = limit
        self._limit = limit
        self._say = say
        self._wall = wall
        self._clock = clock
        self._files: dict[Path, Entry] = {}
        self._nbytes = 0
        self._queued = 0
        self._evictions = 0
        self._budget_known = False
        self._failing = False
        self._paused_until = float("-inf")

    # ------------------------------------------------------------------- under the lock, quick

    @property
    def paused(self) -> bool:
        return self._clock() < self._paused_until

    @property
    def queued(self) -> int:
        """Bytes that wait to be written."""
        return self._queued

    def stats(self) -> DiskStats:
        runs = [entry.run for entry in self._files.values() if entry.run is not None]
        return DiskStats(
            entries=len(self._files),
            tokens=sum(len(r.tokens) // TOKEN_BYTES for r in runs if r.kind is Kind.KV),
            nbytes=self._nbytes,
            limit=self._limit,
            evictions=self._evictions,
            written_today=self.budget.spent,
            queued=self._queued,
            paused=self.paused,
        )

    def begin(self, opened: Opened, run: Run, blob: Blob) -> Write | None:
        """Takes the write into the books; ``None`` when no limit leaves room for the file."""
        size = file_bytes(run, blob)
        if size > self._limit or not self.budget.allows(size, preferred=True):
            return None
        path = self._folder.of(opened.model) / run.name
        entry = Entry(path, size, self._wall(), run, False)
        if run.kind is Kind.HEAD:
            opened.heads.append(entry)
        else:
            opened.index.add(entry)
        self.budget.spend(size)
        self._queued += size
        return Write(opened, entry, run, blob, self.era)

    def forget_all(self) -> None:
        """Drops everything from the books, and every write that waits."""
        self.era += 1
        self._files.clear()
        self._nbytes = 0
        self._paused_until = float("-inf")
        if self.opened is not None:
            old = self.opened.index
            self.opened = Opened(self.opened.model, Index(kv=old.kv, states=old.states))

    def _forget(self, entry: Entry) -> None:
        if self._files.get(entry.path) is entry:
            del self._files[entry.path]
            self._nbytes -= entry.size
        opened = self.opened
        if opened is not None and entry.run is not None:
            if entry.run.kind is Kind.HEAD:
                opened.heads = [head for head in opened.heads if head is not entry]
            else:
                opened.index.remove(entry)

    def _victims(self, size: int) -> list[Entry]:
        """Takes the least recently used files off the books until ``size`` more bytes fit."""
        victims: list[Entry] = []
        most = MAX_FILES if size else MAX_FILES + 1
        if self._nbytes + size <= self._limit and len(self._files) < most:
            return victims
        heads = self.opened.heads if self.opened is not None else []
        room = self._limit // SPARE_SHARE  # Or each write would sort them all again.
        for entry in sorted((e for e in self._files.values() if e not in heads), key=_age):
            if self._nbytes + size + room <= self._limit and len(self._files) < most - most // 64:
                break
            self._forget(entry)
            victims.append(entry)
        self._evictions += len(victims)
        return victims

    # ---------------------------------------------------------------------------- disk threads

    def scan(self, model: bytes, *, kv: bool, states: bool) -> None:
        """Opens a model; a folder that can't be used leaves the tier without one."""
        opened = Opened(model, Index(kv=kv, states=states))
        try:
            found = self._folder.scan(model)
            held = sum(entry.size for entry in (*found.ours, *found.others))
            limit = self._wanted_limit or self._folder.default_limit(held)
        except OSError as error:
            self._say("error", f"{self._folder.root} can't be used for the disk cache: {error}")
            return
        for entry in found.ours:
            assert entry.run is not None
            if entry.run.kind is Kind.HEAD:
                opened.heads.append(entry)
            elif entry.run.kind is Kind.STATE or kv:
                opened.index.add(entry)
        with self.lock:
            if not self._budget_known:
                self._budget_known = True
                self.budget.read(self._budget_path)
            self._limit = limit
            self._files = {entry.path: entry for entry in (*found.ours, *found.others)}
            self._nbytes = held
            self.opened = opened
            victims = self._victims(0)
        self._unlink(victims)
        summary = found.summary()
        if summary:
            self._say("warning", f"files in the disk cache couldn't be used; {summary}")

    def write(self, write: Write) -> None:
        """Writes a file, after making room for it; a failure pauses all writing for a while."""
        entry = write.entry
        try:
            with self.lock:
                if write.era != self.era or self.paused:
                    return
                victims = self._victims(entry.size)
            self._unlink(victims)
            path = entry.path
            if not path.parent.is_dir():
                self._vanished(write.opened)
            self._folder.prepare(write.opened.model)
            self._folder.require_room(entry.size)
            with self.lock:
                budget = self.budget.text()
            write_budget(self._budget_path, budget)
            head = encode(write.opened.model, write.run, write.blob)
            write_file(path, self._folder.temporary(path), (head, write.blob.data))
            self._written(write)
        except OSError as error:
            self._failed(error)
        finally:
            with self.lock:
                self._queued -= entry.size
                if not entry.ready:
                    self.budget.spend(-entry.size)
                    self._forget(entry)
                    write.opened.index.remove(entry)

    def _written(self, write: Write) -> None:
        entry = write.entry
        _set_time(entry)
        with self.lock:
            entry.ready = True
            self._failing = False
            if write.era == self.era:  # Else the flush that follows deletes it.
                self._files[entry.path] = entry
                self._nbytes += entry.size

    def _failed(self, error: OSError) -> None:
        with self.lock:
            said, self._failing = self._failing, True
            self._paused_until = self._clock() + PAUSE_SECONDS
        if not said:
            self._say(
                "error",
                f"{self._folder.root} can't be written ({error.strerror or error}); the disk cache"
                f" tries again every {PAUSE_SECONDS / 60:.0f} minutes, cache.l3 = false ends it",
            )

    def fetch(self, part: Part) -> Blob | None:
        """Reads and verifies one file; ``None``, and the file is gone, when that fails."""
        entry = part.entry
        with self.lock:
            opened = self.opened
        if opened is None or entry.path.parent != self._folder.of(opened.model):
            return None
        try:
            return read_file(entry.path, opened.model, part.run)
        except FileNotFoundError:
            self._missed(opened, entry)
        except MemoryError:
            self._say("error", f"no memory to read {entry.size} bytes from the disk cache")
        except OSError as error:
            with self.lock:
                self._forget(entry)
            self._say("warning", f"{entry.path} can't be read: {error.strerror or error}")
        except Unusable as error:
            self.delete(entry)
            self._say("warning", f"{entry.path} was deleted from the disk cache: {error}")
        return None

    def _missed(self, opened: Opened, entry: Entry) -> None:
        with self.lock:
            known = self._files.get(entry.path) is entry
            self._forget(entry)
        if not known:
            return  # Evicted or flushed since it was found.
        if entry.path.parent.is_dir():
            self._say("warning", f"{entry.path} has gone from the disk cache")
        else:
            self._vanished(opened)

    def _vanished(self, opened: Opened) -> None:
        """Somebody deleted the folder: what the books say of it is void."""
        folder = self._folder.of(opened.model)
        with self.lock:
            lost = [e for e in self._files.values() if e.path.parent == folder]
            for entry in lost:
                self._forget(entry)
        if lost:
            self._say("warning", f"{folder} was deleted; the disk cache begins anew")

    def delete(self, entry: Entry) -> None:
        with self.lock:
            self._forget(entry)
        self._unlink([entry])

    def delete_all(self) -> Freed:
        """Deletes what is on disk, whatever the books say."""
        return Freed(*self._folder.delete_all())

    def set_times(self, entries: Iterable[Entry]) -> None:
        """Makes the files' times say when they were last used, for the next start."""
        for entry in entries:
            _set_time(entry)

    @property
    def _budget_path(self) -> Path:
        return self._folder.root / "writes.json"

    def _unlink(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            with suppress(OSError):
                entry.path.unlink(missing_ok=True)


def _age(entry: Entry) -> tuple[float, int]:
    """Of files used at the same time the later part of a prompt goes first."""
    return entry.used, -entry.run.start if entry.run is not None else 0


def _set_time(entry: Entry) -> None:
    with suppress(OSError):
        os.utime(entry.path, (entry.used, entry.used))
