from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from anyclaude.events import SystemEvent
from anyclaude.logs.log import RequestLog
from tests.logs.clock import Clock

OpenLog = Callable[..., Awaitable[RequestLog]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "anyclaude.duckdb"


@pytest.fixture
def reported() -> list[SystemEvent]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def open_log(path: Path, reported: list[SystemEvent], clock: Clock) -> AsyncIterator[OpenLog]:
    logs: list[RequestLog] = []

    async def open_(
        *, retention_days: int = 0, bodies: bool = True, patience: float = 60.0
    ) -> RequestLog:
        log = await RequestLog.open(
            path,
            retention_days=retention_days,
            bodies=bodies,
            report=reported.append,
            now=clock,
            patience=patience,
        )
        logs.append(log)
        return log

    yield open_
    for log in logs:
        await log.close()


@pytest.fixture
async def log(open_log: OpenLog) -> RequestLog:
    return await open_log()
