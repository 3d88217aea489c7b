"""Under load the console keeps a bounded amount and paints what is in sight; and the parts of
``python -m tui.bench``, which takes the times."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from textual._compositor import Compositor
from textual.geometry import Size
from textual.widget import Widget

from anyclaude.errors import AnyclaudeError
from anyclaude.events import (
    OutputDelta,
    RequestFinished,
    RequestReceived,
    Vitals,
)
from anyclaude.records import RequestDetail
from tests.tui.conftest import Opener
from tests.tui.fake_source import NOON, READY, request
from tui.bench import __main__ as bench
from tui.bench.terminal import Terminal, row_of
from tui.bench.traffic import RATE, logged, traffic
from tui.columns import Moment
from tui.format import clock
from tui.request_row import RequestRow
from tui.state import KEEP_EVENTS, KEEP_OUTPUTS, KEEP_ROWS, Store
from tui.widgets.page import Page
from tui.widgets.requests import RequestList
from tui.widgets.status import Row

# ------------------------------------------------------------------------------- what is painted


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How many lines of each kind of widget were drawn."""
    counts: Counter[str] = Counter()

    def counting(kind: type[Any], method: str) -> None:
        real: Callable[..., object] = getattr(kind, method)

        def counted(self: object, *args: object) -> object:
            counts[kind.__name__] += 1
            return real(self, *args)

        monkeypatch.setattr(kind, method, counted)

    counting(RequestList, "render_line")
    counting(Page, "render_line")
    counting(Row, "render")
    yield counts


async def test_one_more_request_paints_what_is_in_sight(
    console: Opener, painted: Counter[str]
) -> None:
    async with console() as stage:
        await stage.send(READY, *logged(10_000, NOON))
        assert len(stage.app.view.rows) == KEEP_ROWS
        height = stage.app.main.list.size.height
        painted.clear()
        stage.source.send(*logged(1, NOON + 10))
        stage.app.tick()
        await stage.pilot.pause()
        assert 0 < painted["RequestList"] <= 2 * height


async def test_a_tick_without_news_paints_nothing(console: Opener, painted: Counter[str]) -> None:
    async with console() as stage:
        await stage.send(READY, *logged(500, NOON))
        painted.clear()
        for _ in range(20):
            stage.clock.advance(0.1)
            stage.app.tick()
            await stage.pilot.pause()
        assert not painted


async def test_a_running_answer_paints_its_own_line(console: Opener, painted: Counter[str]) -> None:
    """Not the other lines of the list, and not the other panes."""
    async with console() as stage:
        await stage.send(READY, *logged(500, NOON))
        await stage.send(RequestReceived("req_1", NOON, "s", "main", "m", True, 3))
        await stage.press("k")
        painted.clear()
        for number in range(10):
            stage.source.send(OutputDelta("req_1", "text", "word ", number))
            stage.app.tick()
            await stage.pilot.pause()
        assert painted["RequestList"] <= 3 * 10
        assert painted["Page"] == 0


@pytest.fixture
def laid_out(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often a whole screen was laid out."""
    counts: Counter[str] = Counter()
    real = Compositor.reflow

    def counted(self: Compositor, parent: Widget, size: Size) -> object:
        counts["reflow"] += 1
        return real(self, parent, size)

    monkeypatch.setattr(Compositor, "reflow", counted)
    yield counts


async def test_a_key_paints_the_line_it_leaves_and_the_one_it_comes_to(
    console: Opener, painted: Counter[str], laid_out: Counter[str]
) -> None:
    async with console() as stage:
        await stage.send(READY, *logged(500, NOON))
        await stage.press("k", "k")
        for key, line in [("k", 496), ("j", 497)]:
            painted.clear()
            laid_out.clear()
            await stage.press(key)
            assert stage.app.view.cursor == line
            assert painted["RequestList"] == 2 and not laid_out
            assert stage.app.main.inspector.found.id == stage.app.view.rows[line].id


async def test_the_cursor_is_seen_before_what_the_inspector_says_of_it(console: Opener) -> None:
    async with console() as stage:
        await stage.send(READY, *logged(500, NOON))
        await stage.press("k")
        main, seen = stage.app.main, list[bool]()
        real = main.inspector.sync

        def noted(row: RequestRow | None, moment: Moment) -> None:
            assert row is not None
            strips = main._compositor.render_strips()
            seen.append(any(f"▌  {clock(row.at)}" in strip.text for strip in strips))
            real(row, moment)

        main.inspector.sync = noted  # type: ignore[method-assign]
        await stage.pilot.press("k")
        await stage.pilot.pause()
        assert seen == [True]


async def test_what_the_cursor_only_passes_is_not_looked_into(console: Opener) -> None:
    async with console() as stage:
        await stage.send(READY, *logged(500, NOON))
        asked: list[str] = []
        real = stage.source.fake.detail

        async def noted(request_id: str) -> RequestDetail:
            asked.append(request_id)
            return await real(request_id)

        stage.source.fake.detail = noted  # type: ignore[method-assign]
        for _ in range(5):
            await stage.pilot.press("k")
            stage.app.tick()
            await stage.pilot.pause()
        assert not asked
        await stage.settle()
        row = stage.app.view.selected
        assert row is not None and asked == [row.id]


async def test_more_rows_move_the_scrollbar_and_lay_nothing_out(
    console: Opener, laid_out: Counter[str]
) -> None:
    async with console() as stage:
        await stage.send(READY, *logged(500, NOON))
        rows = stage.app.main.list
        laid_out.clear()
        await stage.send(*(e for n in range(20) for e in request(f"b{n:03d}", NOON + n)))
        assert rows.vertical_scrollbar.window_virtual_size == rows.virtual_size.height == 520
        assert rows.scroll_offset.y == rows.max_scroll_y and not laid_out


async def test_a_moving_figure_in_the_frame_paints_that_row_alone(
    console: Opener, painted: Counter[str]
) -> None:
    async with console() as stage:
        await stage.send(READY, *logged(500, NOON))
        before = stage.text().splitlines()
        painted.clear()
        pane = stage.app.main.requests
        pane._frame.show("1 Requests", "so many requests")
        await stage.pilot.pause()
        after = stage.text().splitlines()
        (changed,) = (n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)
        assert "so many requests" in after[changed] and changed == pane.region.bottom - 1
        assert not painted


async def test_lines_that_are_kept_take_the_colours_of_another_theme(console: Opener) -> None:
    async with console() as stage:
        await stage.send(READY, *logged(500, NOON))
        panes = (stage.app.main.list, stage.app.main.query_one("#cache", Page))
        before = [list(pane.render_line(0)) for pane in panes]
        assert before == [list(pane.render_line(0)) for pane in panes]
        stage.app.theme = "anyclaude-light"
        await stage.settle()
        for pane, old in zip(panes, before, strict=True):
            new = list(pane.render_line(0))
            assert [s.text for s in new] == [s.text for s in old]
            assert all(a.style != b.style for a, b in zip(new, old, strict=True))


# --------------------------------------------------------------------------------- what is kept


def test_what_the_store_keeps_is_bounded() -> None:
    store = Store()
    for event in islice(traffic(NOON), 20 * 60 * RATE):
        store.apply(event, NOON)
        store.take_changes()
    assert store.requests_total > KEEP_ROWS
    assert len(store.rows) == KEEP_ROWS
    with_text = [row for row in store.rows.values() if row.pieces]
    assert len(with_text) <= KEEP_OUTPUTS + len(store.active)
    assert len(store.active) <= 4
    assert len(store.events) <= KEEP_EVENTS and len(store.tool_errors) <= KEEP_EVENTS
    assert len(store._calls) <= KEEP_EVENTS and len(store._with_output) <= KEEP_OUTPUTS


# ---------------------------------------------------------------------------------- the benchmark


def test_the_traffic_is_fifty_events_a_second() -> None:
    events = list(islice(traffic(NOON), 10 * RATE))
    figures = [event for event in events if isinstance(event, Vitals)]
    assert [event.at - NOON for event in figures] == list(range(10))
    begun = [event for event in events if isinstance(event, RequestReceived)]
    ended = [event.record.id for event in events if isinstance(event, RequestFinished)]
    assert len(begun) > 40 and [event.id for event in begun][: len(ended) // 2] != []
    assert {event.id for event in begun} >= set(ended)
    assert len(begun) - len(ended) <= 4


@pytest.mark.parametrize(
    ("painted", "row"),
    [
        (b"nothing", None),
        ("▌".encode(), None),
        ("\x1b[7;3Htext\x1b[0m\x1b[31m▌>".encode(), 7),
        ("\x1b[2;1H▌a\x1b[9;1Hb▌c".encode(), 9),
        ("\x1b[1;1Ha\nb\nc▌".encode(), 3),
        ("\x1b[H▌".encode(), 1),
    ],
)
def test_the_row_of_a_mark(painted: bytes, row: int | None) -> None:
    assert row_of(painted, "▌".encode()) == row


def test_a_terminal_says_what_it_saw() -> None:
    code = "import os; print(os.get_terminal_size()); input(); print('typed'); input()"
    with Terminal([sys.executable, "-c", code], os.environ) as terminal:
        terminal.until(lambda painted: b"lines=40" in painted and b"columns=120" in painted, 30)
        terminal.forget()
        pressed = terminal.press("\n")
        seen = terminal.until(lambda painted: b"typed" in painted, 30)
        assert seen >= pressed > terminal.began
        assert not terminal.ended
        with pytest.raises(AnyclaudeError, match=r"wrote '.*typed"):
            terminal.until(lambda painted: b"never" in painted, 0.01)
    assert terminal.ended


@pytest.mark.parametrize("phase", ["append", "memory"])
def test_a_phase_on_the_stage(phase: str) -> None:
    found = bench._staged(phase, {"append": 1, "memory": 60}[phase])
    assert len(found) == {"append": 10, "memory": 1}[phase] and all(value > 0 for value in found)


def test_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def fixed(rounds: int, minutes: int) -> list[bench.Figure]:
        return [bench.Figure("a", float(rounds), "s", 3.5), bench.Figure("b", minutes, "MB")]

    monkeypatch.setattr(bench, "PHASES", {"one": fixed})
    said = CliRunner().invoke(bench.main, ["--phases", "one", "--rounds", "2"])
    assert said.exit_code == 0
    assert said.output.splitlines()[2:] == ["| a | 2.00 s | < 3.5 s |", "| b | 60.00 MB |  |"]
    missed = CliRunner().invoke(
        bench.main, ["--phases", "one", "--rounds", "4", "--format", "json"]
    )
    assert missed.exit_code == 1 and json.loads(missed.output)[0]["value"] == 4.0
    unknown = CliRunner().invoke(bench.main, ["--phases", "two"])
    assert unknown.exit_code == 2 and "no phase two; known: one" in unknown.output


def test_the_real_console_starts_and_answers(tmp_path: Path) -> None:
    with bench._console() as (terminal, port):
        terminal.until(lambda painted: b"Starting the server" in painted, 60)
        while not bench._answers(port):
            terminal.read(0.05)
            assert not terminal.ended, terminal.tail()
