"""Trace and stream files: what is in them, who may read them, how many stay, and failures."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from anyclaude.events import SystemEvent
from anyclaude.recent import RecentDetails
from anyclaude.records import RequestDetail, RequestRecord, ToolCallRecord
from anyclaude.steering.kept import KeptRequests
from anyclaude.stream import BlockDelta, Comment, MessageStart, MessageStop, StreamError
from anyclaude.traces import FLUSH_LINES, MAX_READ, FileThread, Folder, StreamLog, Traces
from anyclaude.types import Usage

CALL = ToolCallRecord("req_1", "toolu_1", "Bash", "valid", (), "{}", "{}")
DETAIL = RequestDetail(
    "req_1",
    headers=(("user-agent", "claude-cli"),),
    body='{"a": 1}',
    prompt="<|im_start|>",
    output="Hallo \ud800",
    response='{"type": "message"}',
    canonical=(("billing", 1),),
    tool_calls=(CALL,),
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


@pytest.fixture
async def thread() -> AsyncIterator[tuple[FileThread, list[SystemEvent]]]:
    events: list[SystemEvent] = []
    thread = FileThread("log.traces", events.append, lambda: 5.0, max_waiting=100)
    yield thread, events
    await thread.close()


Started = tuple[FileThread, list[SystemEvent]]


def test_the_oldest_files_go_first(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "t", max_files=2, max_bytes=100)
    for name in ("a", "b"):
        folder.write(name, "x")
    folder.append("a", "y")
    folder.write("c", "x")
    assert names(tmp_path / "t") == {"a", "c"}
    assert (tmp_path / "t" / "a").read_text() == "xy"
    folder.write("d", "x" * 99)
    assert names(tmp_path / "t") == {"c", "d"}
    folder.write("e", "x" * 1000)
    assert names(tmp_path / "t") == {"e"}, "the newest stays, however big"


def test_files_of_an_earlier_run_count(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).write_text("x" * 10)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    Folder(tmp_path, max_files=10, max_bytes=30).write("newest", "x" * 15)
    assert names(tmp_path) == {"new", "newest"}


async def test_a_trace_holds_everything_for_its_owner_alone(
    tmp_path: Path, thread: Started
) -> None:
    path = tmp_path / "traces"
    Traces(Folder(path), thread[0]).put(RequestRecord("req_1", 1.0, status=200), DETAIL)
    await thread[0].close()
    whole = json.loads((path / "req_1.json").read_text("utf-8"))
    assert whole["record"]["status"] == 200
    assert whole["headers"] == [["user-agent", "claude-cli"]]
    for name in ("body", "prompt", "output", "response"):
        assert whole[name] == getattr(DETAIL, name)
    assert whole["tool_calls"][0]["name"] == "Bash"
    assert (mode(path), mode(path / "req_1.json")) == (0o700, 0o600)
    assert thread[1] == []


@pytest.fixture
def ticks() -> Iterator[Callable[[], float]]:
    count = iter(range(10_000))
    yield lambda: next(count) + 0.25


async def test_a_stream_is_lines_with_times(
    tmp_path: Path, thread: Started, ticks: Callable[[], float]
) -> None:
    path = tmp_path / "streams"
    lines = StreamLog(Folder(path), thread[0]).begin("req_1", ticks)
    lines.add(MessageStart("msg_1", "m", Usage(1, 2, 3)))
    lines.add(Comment("prefill 1/2"))
    lines.add(BlockDelta(0, {"type": "text_delta", "text": "\ud800é"}))
    lines.add(StreamError("api_error", "gone"))
    lines.close()
    await thread[0].close()
    file = path / "req_1.jsonl"
    found = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [(line["ms"], line["type"]) for line in found] == [
        (0.25, "message_start"), (1.25, "comment"), (2.25, "content_block_delta"), (3.25, "error"),
    ]  # fmt: skip
    assert found[0]["message"]["usage"]["cache_read_input_tokens"] == 2
    assert found[2]["delta"]["text"] == "\ud800é"
    assert found[3]["request_id"] == "req_1"
    assert (mode(path), mode(file)) == (0o700, 0o600)


async def test_a_stream_is_written_while_it_runs(
    tmp_path: Path, ticks: Callable[[], float]
) -> None:
    thread = FileThread("log.stream_log", lambda event: None)
    lines = StreamLog(Folder(tmp_path), thread).begin("req_1", ticks)
    for _ in range(FLUSH_LINES + 1):
        lines.add(MessageStop())
    await thread.close()
    assert len((tmp_path / "req_1.jsonl").read_text().splitlines()) == FLUSH_LINES


async def test_a_stream_is_read_back_as_far_as_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "streams"
    folder.mkdir()
    (tmp_path / "secret.jsonl").write_text("{}\n")
    (folder / "req_1.jsonl").write_text('{"ms": 1.0}\n{"ms": 2.0}\n{"ms"')
    kept = KeptRequests(RecentDetails(), tmp_path)
    assert await kept.stream("req_1") == '{"ms": 1.0}\n{"ms": 2.0}\n'
    assert await kept.stream("req_2") == await kept.stream("../secret") == ""
    (folder / "req_3.jsonl").write_text("x" * 9 + "\n" + "y" * MAX_READ)
    assert await kept.stream("req_3") == "x" * 9 + "\n"


async def test_failures_are_one_event_until_it_works_again(tmp_path: Path, thread: Started) -> None:
    files, events = thread
    (tmp_path / "traces").write_text("in the way")
    traces = Traces(Folder(tmp_path / "traces"), files)
    for number in range(3):
        traces.put(RequestRecord(f"req_{number}", 1.0), RequestDetail(f"req_{number}"))
    await settled(files)
    (event,) = events
    assert (event.at, event.level, event.kind) == (5.0, "error", "log")
    assert event.message.startswith("log.traces: its files can't be written: ")
    (tmp_path / "traces").unlink()
    traces.put(RequestRecord("req_4", 1.0), RequestDetail("req_4"))
    await settled(files)
    assert names(tmp_path / "traces") == {"req_4.json"}
    (tmp_path / "traces" / "req_5.json").mkdir()
    traces.put(RequestRecord("req_5", 1.0), RequestDetail("req_5"))
    await settled(files)
    assert len(events) == 2


async def settled(files: FileThread) -> None:
    """Waits for what is queued and for what is made of it."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def last() -> None:
        loop.call_soon_threadsafe(done.set)

    files.submit(last, 0)
    await done.wait()


async def test_a_slow_disk_drops_files_and_says_so(thread: Started) -> None:
    files, events = thread
    go = threading.Event()
    written: list[int] = []

    def slow() -> None:
        go.wait()
        written.append(1)

    files.submit(slow, 90)
    files.submit(lambda: written.append(2), 20)
    go.set()
    await files.close()
    assert written == [1]
    (event,) = events
    assert "too slow" in event.message
    files.submit(lambda: written.append(3), 1)
    assert written == [1], "nothing is taken after the end"
