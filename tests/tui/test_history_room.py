"""The history room by its keys, on a real log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.events import MouseScrollDown
from textual.widgets import Input

from anyclaude.errors import Unavailable
from anyclaude.records import RequestDetail, SqlResult
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import FakeSource, detail, session
from tests.tui.log_scenes import SESSIONS, calls, log_at, logged_source
from tui.history_sql import PAGE
from tui.rooms.history import HistoryRoom


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[FakeSource]:
    async with logged_source(tmp_path / "data") as source:
        yield source


def room(stage: Stage) -> HistoryRoom:
    found = stage.app.screen_stack[1]
    assert isinstance(found, HistoryRoom)
    return found


def _at(stage: Stage) -> str:
    selected = room(stage).history.pages.selected
    return selected.id[-4:] if selected else ""


def _queries(source: FakeSource) -> list[str]:
    """What the log is asked from now on."""
    asked: list[str] = []
    log = source.fake.log
    assert log is not None
    real = log.query

    async def query(sql: str, limit: int, longest: int | None = None) -> SqlResult:
        asked.append(sql)
        return await real(sql, limit, longest)

    log.query = query  # type: ignore[method-assign]
    return asked


# --------------------------------------------------------------------------------- requests


async def test_earlier_requests_by_day_newest_first(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("h")
        text = stage.text()
        assert "15 requests" in text and "the log begins here" in text
        days = ["Thursday 9 October 2025", "Wednesday 8 October 2025", "Monday 6 October 2025"]
        assert [text.index(day) for day in days] == sorted(text.index(day) for day in days)
        assert text.index("0006") < text.index("0001") < text.index("0024") < text.index("0040")
        assert "529 busy" in text and "MODEL>BACKEND" in text


async def test_the_cursor_skips_the_days(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("h")
        assert _at(stage) == "0006"
        await stage.press(*["j"] * 6)
        assert _at(stage) == "0024"
        await stage.press("k")
        assert _at(stage) == "0001"
        await stage.press("G")
        assert _at(stage) == "0040"
        await stage.press("down")
        assert _at(stage) == "0040"
        await stage.press("g", "up")
        assert _at(stage) == "0006" and room(stage).list.scroll_offset.y == 0
        await stage.press("pagedown")
        assert _at(stage) == "0040"
        await stage.press("pageup")
        assert _at(stage) == "0006"


async def test_a_click_on_a_day_goes_to_a_row(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("h")
        await stage.pilot.click("#past-rows", offset=(20, 4))
        await stage.settle()
        assert _at(stage) == "0003"
        await stage.pilot.click("#past-rows", offset=(20, 7))
        await stage.settle()
        assert _at(stage) == "0024"
        await stage.pilot.click("#past-rows", offset=(20, 0))
        await stage.settle()
        assert _at(stage) == "0006"


async def test_pages_are_loaded_as_one_goes_down(console: Opener, tmp_path: Path) -> None:
    async with logged_source(tmp_path / "data", more=2 * PAGE + 50) as source:
        async with console(source=source) as stage:
            asked = _queries(source)
            await stage.press("h")
            pages = room(stage).history.requests
            assert len(pages.rows) == PAGE and "200 of 465 requests" in stage.text()
            assert len(asked) == 2  # a page, and how many there are
            await stage.press(*["pagedown"] * 2)
            assert len(asked) == 2
            await stage.press(*["pagedown"] * 3)
            assert len(pages.rows) == 2 * PAGE and len(asked) == 3
            await stage.press("G")
            assert len(pages.rows) == 465 and "465 requests" in stage.text()
            await stage.press("G")
            assert _at(stage) == "1450" and len(asked) == 4
            assert len({row.id for row in pages.rows}) == 465


async def test_the_wheel_loads_too_and_leaves_the_cursor(console: Opener, tmp_path: Path) -> None:
    async with logged_source(tmp_path / "data", more=2 * PAGE) as source:
        async with console(source=source) as stage:
            await stage.press("h")
            pages = room(stage).history.requests
            for _ in range(90):
                await stage.pilot._post_mouse_events(
                    [MouseScrollDown], widget="#past-rows", offset=(5, 5), button=0
                )
            await stage.settle()
            assert len(pages.rows) == 2 * PAGE and _at(stage) == "0006"


async def test_enter_opens_the_inspector_on_what_the_log_keeps(
    console: Opener, source: FakeSource
) -> None:
    request_id = "req_00000000000000000004"
    source.fake.details[request_id] = RequestDetail(
        request_id, headers=(("a", "b"),), prompt="the old prompt", tool_calls=(calls()[1],)
    )
    async with console(source=source) as stage:
        await stage.press("h", "j", "j", "enter")
        assert room(stage).has_class("-inspect") and "5 Inspector  0004" in stage.text()
        assert room(stage).history.requests.rows[2].calls[0].issues  # now all of the call
        await stage.press("right_square_bracket")
        assert "the old prompt" in stage.text()
        await stage.press("left", "right")
        assert "the old prompt" in stage.text()
        await stage.press("left_square_bracket", "y")
        assert stage.copied == [request_id]
        await stage.press("escape")
        assert not room(stage).has_class("-inspect") and stage.app.focused is room(stage).list
        await stage.press("y", "right_square_bracket")
        assert stage.copied == [request_id] * 2


async def test_a_request_that_is_kept_nowhere_says_so(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("h", "enter", "right_square_bracket")
        assert "no request req_00000000000000000006" in stage.text()


async def test_a_click_on_a_tab_of_either_row(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("h", "enter")
        await stage.pilot.click("#tabs", offset=(14, 0))
        await stage.settle()
        assert room(stage).inspector.tab == "Prompt"
        await stage.pilot.click("#past-tabs", offset=(14, 0))
        await stage.settle()
        assert room(stage).history.view == "Sessions" and not room(stage).has_class("-inspect")


async def test_a_request_of_this_run_is_the_live_one(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.send(*session())
        live = stage.app.store.rows["req_0000000000000000a3f1"]
        assert live.record is not None
        log = source.fake.log
        await log.record(live.record)  # type: ignore[union-attr]
        source.fake.details[live.id] = detail("a3f1")
        await stage.press("h")
        shown = next(row for row in room(stage).history.requests.rows if row.id == live.id)
        assert shown is live


# --------------------------------------------------------------------------------- sessions


async def test_sessions_and_the_requests_of_one(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("h", "tab")
        text = stage.text()
        assert "3 sessions" in text and all(id in text for id in SESSIONS)
        assert "SAVED" in text and "72%" in text and "2m10s" in text
        await stage.press("j", "y")
        assert stage.copied == [SESSIONS[1]]
        await stage.press("enter")
        text = stage.text()
        assert "History  session 91ab7720" in text and "5 requests" in text and "0006" not in text
        await stage.press("escape")
        assert "3 sessions" in stage.text() and _at(stage) == SESSIONS[1][-4:]
        await stage.press("tab")
        assert "15 requests" in stage.text()
        await stage.press("escape")
        assert stage.app.screen is stage.app.main


# ----------------------------------------------------------------------------------- filter


async def test_the_filter_searches_the_whole_log(console: Opener, tmp_path: Path) -> None:
    async with logged_source(tmp_path / "data", more=PAGE + 50) as source:
        async with console(source=source) as stage:
            await stage.press("h", "slash", *"role:subagent")
            rows = room(stage).history.requests.rows
            assert [row.id[-4:] for row in rows] == ["0043", "0042", "0041", "0040"]
            assert "4 of 4" in stage.text() and "that is all" in stage.text()
            await stage.press("enter")
            assert stage.app.focused is room(stage).list
            await stage.press("tab")
            assert "1 session " in stage.text() and SESSIONS[2] in stage.text()
            await stage.press("escape")
            assert len(room(stage).history.sessions.rows) == 3
            await stage.press("escape")
            assert stage.app.screen is stage.app.main


async def test_a_filter_is_cleared_by_escape_and_half_typed_terms_are_explained(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        await stage.press("h", "slash", *"ttft>")
        assert "needs a number" in stage.text()
        await stage.press("1")
        assert [row.id[-4:] for row in room(stage).history.rows] == ["0021", "0042"]
        await stage.press("escape")
        assert len(room(stage).history.rows) == 15
        assert room(stage).query_one(Input).value == ""


async def test_what_fits_nothing_says_so(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("h", "slash", *"nothingatall", "enter")
        assert "Nothing in the log fits" in stage.text()
        await stage.press("enter", "y", "j", "G")
        assert stage.copied == []
        await stage.press("escape")
        assert "15 requests" in stage.text()


async def test_a_filter_typed_while_a_page_is_on_its_way_wins(
    console: Opener, source: FakeSource
) -> None:
    log = source.fake.log
    assert log is not None
    real, gate, waiting = log.query, asyncio.Event(), asyncio.Event()

    async def query(sql: str, limit: int, longest: int | None = None) -> SqlResult:
        result = await real(sql, limit, longest)
        if "WHERE true" in sql and not gate.is_set():
            waiting.set()
            await gate.wait()
        return result

    log.query = query  # type: ignore[method-assign]
    async with console(source=source) as stage:
        await stage.pilot.press("h")
        await waiting.wait()
        await stage.pilot.press("slash", *"haiku")
        gate.set()
        await stage.settle()
        assert [row.id[-4:] for row in room(stage).history.rows] == ["0002"]


# -------------------------------------------------------------------- empty and in trouble


async def test_an_empty_log_says_what_will_be_here(console: Opener, tmp_path: Path) -> None:
    async with log_at(tmp_path / "empty") as log:
        source = FakeSource()
        source.fake.log = log
        async with console(source=source) as stage:
            await stage.press("h")
            assert "The log is empty" in stage.text() and "0 requests" in stage.text()
            await stage.press("enter", "tab", "enter", "y")
            assert "0 sessions" in stage.text()


@pytest.mark.parametrize("key", ["f5", "ctrl+r"])
async def test_a_log_that_cannot_be_read_is_asked_again(
    console: Opener, source: FakeSource, key: str
) -> None:
    async with console(source=source) as stage:
        source.fake.failure = Unavailable("the log database /x/log.duckdb is not open")
        await stage.press("h")
        assert "log.duckdb is not open" in stage.text() and "asks again" in stage.text()
        source.fake.failure = None
        await stage.press(key)
        assert "15 requests" in stage.text()


async def test_a_page_that_cannot_be_read_leaves_what_is_there(
    console: Opener, tmp_path: Path
) -> None:
    async with logged_source(tmp_path / "data", more=PAGE) as source:
        async with console(source=source) as stage:
            await stage.press("h")
            source.fake.failure = Unavailable("gone")
            await stage.press("G")
            assert "the rest can't be read: f5 tries again" in stage.text()
            assert len(room(stage).history.rows) == PAGE
            source.fake.failure = None
            await stage.press("f5", "G", "G")
            assert len(room(stage).history.rows) == PAGE + 15


async def test_a_room_opened_before_the_server_is_up_fills_itself(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        started, stage.app._started = stage.app._started, False
        await stage.press("h")
        assert "the server is not up yet" in stage.text()
        stage.app._started = started
        await stage.settle()
        assert "15 requests" in stage.text()


async def test_resizing_keeps_the_place(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("h", *["j"] * 9)
        before = _at(stage)
        for size in ((60, 40), (40, 20), (160, 45), (120, 40)):
            await stage.pilot.resize_terminal(*size)
            await stage.settle()
            assert _at(stage) == before and before in stage.text()
        await stage.press("q")
        assert stage.app.screen is stage.app.main
