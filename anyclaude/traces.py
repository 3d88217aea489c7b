"""Finished requests and streams as files for a person to read, when the configuration asks.

Each kind has a folder and a thread of its own. A disk that is full, slow or forbidden costs the
files and one event, never a request.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

from anyclaude.config.files import write_private
from anyclaude.events import SystemEvent
from anyclaude.records import RequestDetail, RequestRecord, call_of
from anyclaude.stream import StreamEvent, event_json
from anyclaude.types import ThinkingMarkers

MAX_FILES = 500
MAX_BYTES = 256 * 2**20
MAX_WAITING = 128 * 2**20  # characters that wait for the disk
FLUSH_LINES = 64
FLUSH_MS = 1000.0
CLOSE_SECONDS = 0.5
MAX_READ = 8 * 2**20  # characters of a stream
_DETAIL = tuple(field.name for field in fields(RequestDetail))


class Folder:
    """Files for their owner alone (0600 in 0700), of which the newest stay; one thread only."""

    def __init__(self, path: Path, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] | None = None
        self._total = 0

    def write(self, name: str, text: str) -> None:
        """Writes a whole file, by a rename. Raises OSError."""
        sizes = self._opened()
        write_private(self._path / name, text)
        self._written(sizes, name)

    def append(self, name: str, text: str) -> None:
        """Adds to the end of a file, which need not exist. Raises OSError."""
        sizes = self._opened()
        handle = os.open(self._path / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        self._written(sizes, name)

    def _opened(self) -> OrderedDict[str, int]:
        """The sizes of the files there are, the oldest first."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._sizes is None:
            self._path.chmod(0o700)
            found = [(entry.stat(), entry.name) for entry in os.scandir(self._path)]
            found.sort(key=lambda pair: pair[0].st_mtime)
            self._sizes = OrderedDict((name, stat.st_size) for stat, name in found)
            self._total = sum(self._sizes.values())
        return self._sizes

    def _written(self, sizes: OrderedDict[str, int], name: str) -> None:
        size = (self._path / name).stat().st_size
        self._total += size - sizes.pop(name, 0)
        sizes[name] = size
        while len(sizes) > 1 and (len(sizes) > self._max_files or self._total > self._max_bytes):
            oldest, freed = sizes.popitem(last=False)
            self._total -= freed
            (self._path / oldest).unlink(missing_ok=True)


class FileThread:
    """Does a folder's writing on one thread; used from the event loop.

    ``setting`` is the key that asked for it, and is named when the writing fails.
    """

    def __init__(
        self,
        setting: str,
        report: Callable[[SystemEvent], None],
        wall: Callable[[], float] = time.time,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._setting = setting
        self._report = report
        self._wall = wall
        self._max_waiting = max_waiting
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"anyclaude-{setting}")
        self._jobs: set[asyncio.Future[None]] = set()
        self._waiting = 0
        self._failing = False
        self._closed = False

    def submit(self, work: Callable[[], None], size: int) -> None:
        """Queues ``work``, which holds ``size`` characters; over the bound it is dropped."""
        if self._closed:
            return
        if self._jobs and self._waiting + size > self._max_waiting:
            self._failed("the disk is too slow for what is written")
            return
        self._waiting += size
        job = asyncio.get_running_loop().run_in_executor(self._executor, work)
        self._jobs.add(job)
        job.add_done_callback(partial(self._done, size))

    async def close(self) -> None:
        """Writes what is queued, for half a second at most."""
        self._closed = True
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=CLOSE_SECONDS)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _done(self, size: int, job: asyncio.Future[None]) -> None:
        self._jobs.discard(job)
        self._waiting -= size
        error = None if job.cancelled() else job.exception()
        if error is not None:
            self._failed(str(error))
        else:
            self._failing = False

    def _failed(self, why: str) -> None:
        """Says so once, and again only after something could be written."""
        if not self._failing:
            self._failing = True
            message = (
                f"{self._setting}: its files can't be written: {why}; mend that, or set it to false"
            )
            self._report(SystemEvent(self._wall(), "error", "log", message))


class Traces:
    """One JSON file per finished request; see :class:`anyclaude.ledger.TraceSink`."""

    def __init__(self, folder: Folder, thread: FileThread) -> None:
        self._folder = folder
        self._thread = thread

    def put(self, record: RequestRecord, detail: RequestDetail) -> None:
        size = len(detail.body) + len(detail.prompt) + len(detail.output) + len(detail.response)
        self._thread.submit(partial(self._write, record, detail), size)

    def _write(self, record: RequestRecord, detail: RequestDetail) -> None:
        whole = {"record": asdict(record), **asdict(detail)}
        self._folder.write(f"{record.id}.json", _text(json.dumps(whole, ensure_ascii=False)))


def read_trace(path: Path) -> RequestDetail | None:
    """The detail in a trace's file; ``None`` when there is none that can be read. Blocks."""
    try:
        whole = json.loads(path.read_text("utf-8"))
        known = {name: whole[name] for name in _DETAIL if name in whole}
        thinking = known.get("thinking")
        return RequestDetail(
            **{
                **known,
                "headers": tuple((name, value) for name, value in known["headers"]),
                "canonical": tuple((rule, count) for rule, count in known["canonical"]),
                "tool_calls": tuple(call_of(call) for call in known["tool_calls"]),
                "thinking": ThinkingMarkers(**thinking) if thinking else None,
            }
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_stream(path: Path) -> str:
    """The lines of a stream's file, as many as are bearable; empty when there is none. Blocks."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_READ)
    except OSError:
        return ""
    return text[: text.rfind("\n") + 1]


class StreamLog:
    """The events of each stream as JSON lines; see :class:`anyclaude.exchange.StreamSink`."""

    def __init__(self, folder: Folder, thread: FileThread) -> None:
        self._folder = folder
        self._thread = thread

    def begin(self, request_id: str, elapsed_ms: Callable[[], float]) -> StreamLines:
        """``elapsed_ms`` tells the milliseconds since the request arrived."""
        return StreamLines(request_id, elapsed_ms, self._append)

    def _append(self, request_id: str, lines: list[str]) -> None:
        work = partial(self._write, f"{request_id}.jsonl", lines)
        self._thread.submit(work, sum(map(len, lines)))

    def _write(self, name: str, lines: list[str]) -> None:
        self._folder.append(name, _text("".join(lines)))


class StreamLines:
    """One stream's lines, handed on by the second or by the dozen."""

    def __init__(
        self,
        request_id: str,
        elapsed_ms: Callable[[], float],
        append: Callable[[str, list[str]], None],
    ) -> None:
        self._id = request_id
        self._elapsed_ms = elapsed_ms
        self._append = append
        self._lines: list[str] = []
        self._flushed_ms = 0.0

    def add(self, event: StreamEvent) -> None:
        ms = self._elapsed_ms()
        body = {"ms": round(ms, 3), **event_json(event, self._id)}
        self._lines.append(json.dumps(body, ensure_ascii=False) + "\n")
        if len(self._lines) >= FLUSH_LINES or ms - self._flushed_ms >= FLUSH_MS:
            self._flushed_ms = ms
            self._flush()

    def close(self) -> None:
        self._flush()

    def _flush(self) -> None:
        if self._lines:
            self._append(self._id, self._lines)
            self._lines = []


def _text(text: str) -> str:
    """Lone surrogates as JSON escapes, which is what backslashreplace makes of them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
