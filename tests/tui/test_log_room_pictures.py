"""Pictures of the SQL and History rooms: with content, empty and in trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from anyclaude.errors import Unavailable
from anyclaude.records import RequestDetail
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import NOON, FakeSource
from tests.tui.log_scenes import calls, log_at, logged_source
from tui.rooms.sql import SqlRoom

Scene = Callable[[Stage], Awaitable[None]]
SIZES = [(120, 40), (80, 24), (60, 40)]
ODD = [(160, 45), (100, 30), (40, 20)]
_ids = {"ids": lambda size: f"{size[0]}x{size[1]}"}
CLOSED = Unavailable("the log database /home/ada/anyclaude.duckdb is not open")

QUERY = """SELECT role, count(*) AS requests, -- all of them
       round(avg(ttft_ms) / 1000, 2) AS "ttft, s", max(error_message) AS error
FROM requests
WHERE model_requested LIKE 'claude%' AND started_at > now() - INTERVAL 99 YEAR
GROUP BY role ORDER BY requests DESC"""


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[FakeSource]:
    async with logged_source(tmp_path / "data", more=210) as source:
        bad = calls()[1]
        source.fake.details[bad.request_id] = RequestDetail(bad.request_id, tool_calls=(bad,))
        yield source


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[FakeSource]:
    async with log_at(tmp_path / "empty") as log:
        source = FakeSource()
        source.fake.log = log
        yield source


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")


async def _ask(stage: Stage, query: str) -> SqlRoom:
    await stage.press("s")
    room = stage.app.screen
    assert isinstance(room, SqlRoom)
    room.editor.write(query)
    await stage.press("ctrl+j")
    return room


async def sql_questions(stage: Stage) -> None:
    await stage.press("s", "down", "j", "j")


async def sql_suggestions(stage: Stage) -> None:
    await stage.press("s", *"select", "space", *"ttf")
    await stage.press("down")


async def sql_result(stage: Stage) -> None:
    await _ask(stage, QUERY)


async def sql_table(stage: Stage) -> None:
    await _ask(stage, "SELECT * FROM requests ORDER BY started_at DESC")
    await stage.press("tab", "j", "j", "l", "l")


async def sql_capped(stage: Stage) -> None:
    await _ask(stage, "SELECT i AS n, i * i AS square, 'row ' || i AS name FROM range(9_999) t(i)")
    await stage.press("tab", "G")


async def sql_no_rows(stage: Stage) -> None:
    await _ask(stage, "SELECT id, role FROM requests WHERE role = 'nobody'")


async def sql_refused(stage: Stage) -> None:
    await _ask(stage, "DELETE FROM requests")


async def sql_running(stage: Stage) -> None:
    room = await _ask(stage, "SELECT sum(a.range * b.range) FROM range(10) a, range(10) b")
    # As on the tick while a query runs.
    room._work, room._since = room.run_worker(_nothing(), group="stand-in"), NOON - 12.3
    room.sync()
    await stage.pilot.pause()
    room._work = None


async def _nothing() -> None:
    """Stands in for a query."""


async def sql_closed(stage: Stage) -> None:
    stage.source.fake.failure = CLOSED
    await _ask(stage, "SELECT * FROM latency")


async def sql_row(stage: Stage) -> None:
    await _ask(stage, "SELECT * FROM tool_calls")
    await stage.press("tab", "down", "enter")


async def sql_pick(stage: Stage) -> None:
    await stage.press("s", "ctrl+g", *"tool")
    await stage.press("down")


async def sql_export(stage: Stage) -> None:
    await _ask(stage, "SELECT * FROM latency")
    await stage.press("ctrl+s")
    await stage.press("down")


async def history_requests(stage: Stage) -> None:
    await stage.press("h", "j", "j", "j")


async def history_inspector(stage: Stage) -> None:
    await stage.press("h", "j", "j", "enter")


async def history_sessions(stage: Stage) -> None:
    await stage.press("h", "tab", "j")


async def history_session(stage: Stage) -> None:
    await stage.press("h", "tab", "j", "enter")


async def history_filter(stage: Stage) -> None:
    await stage.press("h", "slash", *"!role:main")


async def history_no_match(stage: Stage) -> None:
    await stage.press("h", "slash", *"lost>1m")


async def history_closed(stage: Stage) -> None:
    stage.source.fake.failure = CLOSED
    await stage.press("h")


FULL: list[Scene] = [
    sql_questions, sql_suggestions, sql_result, sql_table, sql_capped, sql_no_rows, sql_refused,
    sql_running, sql_closed, sql_row, sql_pick, sql_export, history_requests, history_inspector,
    history_sessions, history_session, history_filter, history_no_match, history_closed,
]  # fmt: skip
_names = {"ids": lambda scene: scene.__name__}


@pytest.mark.parametrize("size", SIZES, **_ids)
@pytest.mark.parametrize("scene", FULL, **_names)
async def test_scene(
    console: Opener,
    svg: SnapshotAssertion,
    source: FakeSource,
    scene: Scene,
    size: tuple[int, int],
) -> None:
    async with console(size=size, source=source) as stage:
        await scene(stage)
        assert stage.picture() == svg


@pytest.mark.parametrize("size", ODD, **_ids)
@pytest.mark.parametrize(
    "scene",
    [sql_suggestions, sql_table, history_requests, history_inspector, history_sessions],
    **_names,
)
async def test_layout(
    console: Opener,
    svg: SnapshotAssertion,
    source: FakeSource,
    scene: Scene,
    size: tuple[int, int],
) -> None:
    async with console(size=size, source=source) as stage:
        await scene(stage)
        assert stage.picture() == svg


@pytest.mark.parametrize("size", SIZES, **_ids)
@pytest.mark.parametrize("keys", [("s", "down", "enter"), ("h",), ("h", "tab")], ids="-".join)
async def test_nothing_logged(
    console: Opener,
    svg: SnapshotAssertion,
    empty: FakeSource,
    keys: tuple[str, ...],
    size: tuple[int, int],
) -> None:
    async with console(size=size, source=empty) as stage:
        await stage.press(*keys)
        assert stage.picture() == svg
