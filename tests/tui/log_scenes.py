"""A real log with a few days of requests, for the SQL and History rooms."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from anyclaude.events import RequestFinished, SystemEvent
from anyclaude.logs.log import RequestLog
from anyclaude.records import RequestRecord, ToolCallRecord, ToolIssue
from tests.tui.fake_source import NOON, FakeSource, request

SESSIONS = (
    "5f0c9a52-3d1e-4f6b-9a57-c0ffee000001",
    "91ab7720-8c4d-4e0f-b1c2-c0ffee000002",
    "d0337e61-17aa-4b3d-8f55-c0ffee000003",
)
DAY = 86_400.0
HOSTILE = "\x1b[31m[bold]ré\u202ed[/bold]\x07"
FILE = "log.duckdb"


def logged(
    number: int, at: float, session: int = 0, role: str = "main", **changes: object
) -> RequestRecord:
    """A request as the log has it; ``number`` is what the list shows of its id."""
    status = changes.pop("status", 200)
    out = 0 if status != 200 else 200 + 37 * (number % 11)
    read = 0 if number % 7 == 0 or status != 200 else 12_000 + 400 * (number % 13)
    events = request(
        f"{number:04d}",
        at,
        role=role,
        prompt=18_000 + 100 * (number % 17),
        read=read,
        out=out,
        ttft=380.0 + 120.0 * (number % 5) + (0 if read else 3000.0),
        status=int(str(status)),
        stop="tool_use" if number % 3 else "end_turn",
        error="the queue is full (64 waiting); try again in 2 s" if status != 200 else None,
        model="claude-haiku-4-5" if role == "title" else "claude-sonnet-4-5-20250929",
        cause="none" if read else "new_session",
    )
    finished = events[-1]
    assert isinstance(finished, RequestFinished)
    return replace(finished.record, session_id=SESSIONS[session], **changes)  # type: ignore[arg-type]


def records() -> list[RequestRecord]:
    """Three sessions over three days: 6 + 5 + 4 requests."""
    today = [
        logged(number, NOON - 300 + 20 * number, role="title" if number == 2 else "main")
        for number in range(1, 6)
    ]
    today.append(logged(6, NOON - 150, status=529))
    earlier = [logged(20 + number, NOON - DAY + 61 * number, 1) for number in range(5)]
    first = [
        logged(40 + number, NOON - 3 * DAY + 600 * number, 2, role="subagent")
        for number in range(4)
    ]
    return [*first, *earlier, *today]


def calls() -> list[ToolCallRecord]:
    issue = ToolIssue("old_string", "required", "nothing", "string")
    good = ToolCallRecord("req_00000000000000000003", "toolu_1", "Bash", "valid", (), "{}", "{}")
    bad = ToolCallRecord(
        "req_00000000000000000004",
        "toolu_2",
        HOSTILE,
        "repaired",
        (issue,),
        "{",
        "{}",
        repaired=True,
    )
    return [good, bad]


@asynccontextmanager
async def log_at(folder: Path) -> AsyncIterator[RequestLog]:
    """An empty log."""
    log = await RequestLog.open(
        folder / FILE, retention_days=0, bodies=True, report=print, now=lambda: NOON
    )
    try:
        yield log
    finally:
        await log.close()


async def fill(log: RequestLog, more: int = 0) -> None:
    """The three sessions, and before them ``more`` requests, a minute apart."""
    for number in range(more, 0, -1):
        await log.record(logged(1000 + number, NOON - 4 * DAY - 60 * number, number % 3))
    for record in records():
        await log.record(record, [call for call in calls() if call.request_id == record.id])
    log.post(SystemEvent(NOON - 400, "info", "model", f"loaded {HOSTILE} in 4.1 s"))


_filled: dict[int, Path] = {}
"""Databases that are filled once and copied for each test, by ``more``."""
_folder = tempfile.TemporaryDirectory(prefix="anyclaude-log-scenes-")


async def filled(more: int) -> Path:
    """A closed database as :func:`fill` leaves it."""
    if more not in _filled:
        folder = Path(_folder.name) / str(more)
        async with log_at(folder) as log:
            await fill(log, more)
        _filled[more] = folder / FILE
    return _filled[more]


@asynccontextmanager
async def logged_source(folder: Path, more: int = 0) -> AsyncIterator[FakeSource]:
    """A server whose log is that one."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(await filled(more), folder / FILE)
    async with log_at(folder) as log:
        source = FakeSource()
        source.fake.log = log
        yield source
