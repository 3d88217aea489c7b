"""The SQL room by its keys, on a real log: what is asked, shown, and what can be stopped."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import duckdb
import pytest
from textual.events import Paste
from textual.widgets import Input, Static
from textual.worker import WorkerCancelled

from anyclaude.errors import Unavailable
from anyclaude.logs import queries
from anyclaude.logs.questions import questions
from anyclaude.logs.schema import REQUESTS
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import READY, FakeSource
from tests.tui.log_scenes import HOSTILE, log_at, logged_source
from tui.dialogs.pick import Pick
from tui.dialogs.row import RowView
from tui.dialogs.sql_export import SqlExport
from tui.rooms.sql import SqlRoom
from tui.sql import history

ENDLESS = "SELECT sum(a.range + b.range) FROM range(100_000) a, range(100_000) b, range(100_000) c"
NAMES = {
    " ": "space", "*": "asterisk", ",": "comma", ".": "full_stop", "(": "left_parenthesis",
    ")": "right_parenthesis", "'": "apostrophe", "_": "underscore", ";": "semicolon",
    "/": "slash", "~": "tilde", "-": "minus", "?": "question_mark",
}  # fmt: skip


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[FakeSource]:
    async with logged_source(tmp_path / "data") as source:
        yield source


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when an endless query is at DuckDB's door."""
    begun = threading.Event()
    real = queries.check_read_only

    def check(con: duckdb.DuckDBPyConnection, sql: str) -> None:
        real(con, sql)
        if sql == ENDLESS:
            begun.set()

    monkeypatch.setattr(queries, "check_read_only", check)
    return begun


def room(stage: Stage) -> SqlRoom:
    found = stage.app.screen_stack[1]
    assert isinstance(found, SqlRoom)
    return found


def typed(text: str) -> list[str]:
    return [NAMES.get(letter, letter) for letter in text]


async def ask(stage: Stage, query: str) -> None:
    room(stage).editor.write(query)
    await stage.press("ctrl+j")


def said(stage: Stage) -> list[str]:
    return [notice.message for notice in stage.app._notifications]


# ---------------------------------------------------------------------------------- asking


async def test_a_query_is_typed_and_run(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("s", *typed("select count(*) as n, min(id) from requests"))
        await stage.press("ctrl+j")
        text = stage.text()
        assert "1 row, 2 columns  0.00s" in text
        assert "15  req_00000000000000000001" in text


@pytest.mark.parametrize("key", ["ctrl+j", "f5"])
async def test_of_several_statements_the_one_at_the_cursor_runs(
    console: Opener, source: FakeSource, key: str
) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        editor = room(stage).editor
        editor.write("SELECT 'first' AS a;\nSELECT 'second' AS b")
        await stage.press(key)
        assert "second" in stage.text().split("Result")[1]
        await stage.press("up", key)
        assert "first" in stage.text().split("Result")[1]


async def test_a_selection_is_run_alone(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        room(stage).editor.write("SELECT 7 AS a")
        await stage.press("home", *["shift+right"] * 8, "ctrl+j")
        assert room(stage).table.grid_shown.result.columns == ("7",)


async def test_a_ready_question_is_written_down_and_asked(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        assert all(q.title in stage.text() for q in questions())
        await stage.press("down", "j")
        assert "Per hour (UTC)" in stage.text()
        await stage.press("enter")
        assert room(stage).editor.text == "SELECT * FROM hit_rate"
        assert room(stage).table.grid_shown.result.columns[0] == "hour"
        assert stage.app.focused is room(stage).table


@pytest.mark.parametrize("key", ["ctrl+g", "f2"])
async def test_a_question_is_found_by_a_few_letters(
    console: Opener, source: FakeSource, key: str
) -> None:
    async with console(source=source) as stage:
        await stage.press("s", key, *"wrong")
        assert isinstance(stage.app.screen, Pick) and "What is wrong with calls" in stage.text()
        await stage.press("enter")
        assert room(stage).editor.text == "SELECT * FROM tool_issues"
        assert room(stage).has_class("-table")


async def test_picking_moves_and_is_left(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("s", "ctrl+g", "down", "down", "up", "escape")
        assert stage.app.screen is room(stage) and room(stage).editor.text == ""
        await stage.press("ctrl+g", *"zzzz")
        assert "Nothing fits" in stage.text()
        await stage.press("enter")
        assert isinstance(stage.app.screen, Pick)


async def test_only_so_many_rows_are_shown_and_that_is_said(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        await ask(stage, "SELECT i FROM range(100_000) t(i)")
        assert "500 of more than 500 rows" in stage.text()
        assert room(stage).table.virtual_size.height == 501


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("DELETE FROM requests", "DELETE is refused, the log is read-only here"),
        ("SELECT 1; DROP TABLE requests;", "DROP is refused"),
        (
            "WITH n AS (INSERT INTO messages VALUES ('h', '', '') RETURNING 1) SELECT * FROM n",
            "read-only",
        ),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled by configuration"),
        ("selec", "syntax error"),
        ("SELECT nothing FROM requests", "not found"),
    ],
)
async def test_what_is_refused_is_said_in_plain_words(
    console: Opener, source: FakeSource, query: str, words: str
) -> None:
    async with console(size=(160, 45), source=source) as stage:
        await stage.press("s")
        await ask(stage, query)
        assert words in stage.text() and "no answer" in stage.text()
        await ask(stage, "SELECT count(*) AS all_of_them FROM requests")
        assert "15" in stage.text().split("all_of_them")[2]


async def test_a_log_that_cannot_be_asked_says_so_and_is_asked_again(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        source.fake.failure = Unavailable("the log database /x/log.duckdb is not open")
        await stage.press("s")
        await ask(stage, "SELECT 1 AS one")
        assert "log.duckdb is not open" in stage.text() and "asks again" in stage.text()
        source.fake.failure = None
        await stage.press("ctrl+j")
        assert "1 row, 1 column" in stage.text()
        assert room(stage).editor.catalog.columns


async def test_without_a_server_the_room_says_what_it_waits_for(console: Opener) -> None:
    async with console() as stage:
        stage.app._started = False
        await stage.press("s")
        await ask(stage, "SELECT 1")
        assert "the server is not up yet" in stage.text()


async def test_hostile_values_are_plain_text(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        await ask(stage, 'SELECT message, name AS "[red]x\x1b[0m" FROM events, tool_calls')
        text = stage.text()
        assert "[bold]ré�d[/bold]" in text and "[red]x␛[0m" in text
        assert "\x1b" not in text and "\u202e" not in text
        await stage.press("tab", "enter")
        assert "[bold]ré�d[/bold]" in stage.text() and "\x07" not in stage.text()


async def test_a_megabyte_in_a_cell_is_cut_and_says_so(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        await ask(stage, "SELECT repeat('long ', 200_000) AS text")
        await stage.press("tab", "enter")
        await stage.press("G")  # Once it is laid out: before that there is no end to go to.
        assert "996,000" in stage.text()


# -------------------------------------------------------------------------------- stopping


async def _start_endless(stage: Stage, begun: threading.Event) -> None:
    room(stage).editor.write(ENDLESS)
    await stage.pilot.press("ctrl+j")
    assert await asyncio.to_thread(begun.wait, 60)
    stage.clock.advance(3.25)
    stage.app.tick()
    await stage.pilot.pause()


async def _rest(stage: Stage) -> None:
    """Waits for the workers, those included that were cancelled."""
    for _ in range(5):
        with suppress(WorkerCancelled):
            await stage.app.workers.wait_for_complete()
        await stage.pilot.pause()


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_a_query_that_would_run_for_hours_is_stopped(
    console: Opener, source: FakeSource, begun: threading.Event, key: str
) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        for _ in range(6):  # more than there are reading threads: none may stay behind
            begun.clear()
            await _start_endless(stage, begun)
            assert "running 3.2s  esc stops it" in stage.text()
            assert "Running … 3.2 s" in stage.text()
            await stage.pilot.press("space")
            assert room(stage).editor.text == f"{ENDLESS} "
            await stage.pilot.press(key)
            await _rest(stage)
            assert "Stopped after 3.2 s" in stage.text() and not room(stage).stoppable
        assert stage.app.is_running and stage.app.screen is room(stage)
        await ask(stage, "SELECT 'still here' AS it")
        assert "still here" in stage.text()


async def test_leaving_twice_leaves_and_nothing_runs_on(
    console: Opener, source: FakeSource, begun: threading.Event
) -> None:
    async with console(source=source) as stage:
        for _ in range(5):
            await stage.press("s")
            begun.clear()
            await _start_endless(stage, begun)
            await stage.pilot.press("escape", "escape", "escape")
            await _rest(stage)
            assert stage.app.screen is stage.app.main
        await stage.press("s")
        await ask(stage, "SELECT 'still here' AS it")
        assert "still here" in stage.text()


async def test_another_query_takes_the_place_of_one_that_runs(
    console: Opener, source: FakeSource, begun: threading.Event
) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        await _start_endless(stage, begun)
        room(stage).editor.write("SELECT 'the other' AS it")
        await stage.pilot.press("ctrl+j")
        await _rest(stage)
        assert "the other" in stage.text() and "1 row" in stage.text()


async def test_ctrl_c_copies_a_selection_and_never_quits_from_here(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        await stage.press("s", *"abc", "shift+left", "shift+left", "ctrl+c")
        assert stage.copied == ["bc"]
        await stage.press("right", "ctrl+c")
        assert "ctrl+q quits" in said(stage)[-1] and stage.app.is_running


# ------------------------------------------------------------------------------ completion


async def test_suggestions_come_while_typing_and_tab_takes_one(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        await stage.press("s", *typed("select ttf"))
        editor = room(stage).editor
        assert editor.suggestions.display and "ttft_ms" in stage.text()
        await stage.press("down", "up", "tab")
        assert editor.text == "select ttft_ms" and not editor.suggestions.display
        await stage.press(*typed(" from req"), "tab", "ctrl+j")
        assert editor.text == "select ttft_ms from requests"
        assert room(stage).table.grid_shown.height == 15


async def test_enter_is_a_new_line_until_one_was_moved_to(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        await stage.press("s", *typed("sel"), "enter")
        editor = room(stage).editor
        assert editor.text == "sel\n" and not editor.suggestions.display
        await stage.press(*typed("from tool_"), "down", "enter")
        assert editor.text.startswith("sel\nfrom tool_failures")


async def test_escape_closes_the_suggestions_before_the_room(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        await stage.press("s", *"sel", "escape")
        assert not room(stage).editor.suggestions.display and room(stage).editor.text == "sel"
        await stage.press("escape")
        assert stage.app.screen is stage.app.main


async def test_suggestions_on_demand_by_the_mouse_and_out_of_the_way(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        await stage.press("s", *typed("from "))
        editor = room(stage).editor
        if editor.suggestions.display:
            await stage.press("escape")
        await stage.press("ctrl+@")
        assert editor.suggestions.display
        await stage.pilot.click("#suggestions", offset=(4, 1))
        await stage.settle()
        assert editor.text == "from tool_calls"
        assert stage.app.focused is editor
        await stage.press("space", *"wh", "left", "left", "left")
        assert not editor.suggestions.display


async def test_suggestions_stay_on_a_small_screen(console: Opener, source: FakeSource) -> None:
    async with console(size=(40, 20), source=source) as stage:
        await stage.press("s", *typed("select id, model, backend, cache_"))
        popup = room(stage).editor.suggestions
        assert popup.display and stage.app.screen.region.contains_region(popup.region)


async def test_a_paste_is_made_harmless_and_has_an_end(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        editor = room(stage).editor
        editor.post_message(Paste(f"SELECT 1 -- {HOSTILE}\n"))
        await stage.settle()
        assert editor.text == "SELECT 1 -- ␛[31m[bold]ré�d[/bold]␇\n"
        editor.post_message(Paste("x" * 100_001))
        await stage.settle()
        assert len(editor.text) < 100 and "too long" in said(stage)[-1]
        editor.post_message(Paste("y" * 60_000))
        await stage.settle()
        assert len(editor.text) > 60_000
        await stage.press("ctrl+z")
        stage.app.copy_to_clipboard("pasted\x07")
        await stage.press("ctrl+v")
        assert editor.text.endswith("pasted␇")


# --------------------------------------------------------------------------------- history


async def test_queries_are_kept_over_runs(
    console: Opener, source: FakeSource, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    async with console(source=source, data_dir=folder) as stage:
        await stage.press("s")
        for query in ("SELECT 1 AS a", "SELECT 2 AS b"):
            await ask(stage, query)
    path = folder / history.FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with console(source=source, data_dir=folder) as stage:
        await stage.press("s", *"draft")
        editor = room(stage).editor
        await stage.press("up")
        assert editor.text == "SELECT 2 AS b"
        await stage.press("ctrl+up")
        assert editor.text == "SELECT 1 AS a"
        await stage.press("up")
        assert editor.text == "SELECT 1 AS a"
        await stage.press("down", "ctrl+down")
        assert editor.text == "draft"
        await stage.press("ctrl+r", *"1", "enter")
        assert editor.text == "SELECT 1 AS a" and stage.app.focused is editor


async def test_a_folder_that_cannot_be_written_is_said_once_per_query(
    console: Opener, source: FakeSource, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    async with console(source=source, data_dir=blocked) as stage:
        await stage.press("s")
        await ask(stage, "SELECT 1 AS a")
        assert "can't be written" in said(stage)[-1]
        await stage.press("ctrl+r")
        assert isinstance(stage.app.screen, Pick)


async def test_without_earlier_queries_there_is_nothing_to_find(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        await stage.press("s", "ctrl+r")
        assert stage.app.screen is room(stage) and said(stage) == ["No query was run before."]


# ------------------------------------------------------------------------------- the table


async def test_the_cursor_moves_over_cells_and_wide_tables_scroll(
    console: Opener, source: FakeSource
) -> None:
    async with console(size=(80, 24), source=source) as stage:
        await stage.press("s")
        await ask(stage, "SELECT * FROM requests ORDER BY started_at")
        await stage.press("tab", "j", "l")
        table = room(stage).table
        assert (table.row, table.column) == (1, 1)
        await stage.press("G", "end")
        assert (table.row, table.column) == (14, len(table.grid_shown.columns) - 1)
        assert REQUESTS.column_names[-1] in stage.text() and table.scroll_offset.x > 0
        await stage.press(
            "g", "home", "pagedown", "pageup", "down", "right", "up", "left", "k", "h"
        )
        assert (table.row, table.column) == (0, 0) and table.scroll_offset == (0, 0)
        await stage.press("dollar_sign", "0", "ctrl+end", "ctrl+home")
        assert (table.row, table.column) == (0, 0)
        await stage.pilot.click("#sql-result", offset=(30, 3))
        await stage.settle()
        assert (table.row, table.column) == (2, 1)


async def test_ten_thousand_cells_are_drawn_a_screen_at_a_time(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        columns = ", ".join(f"i * {n} AS c{n}" for n in range(60))
        await ask(stage, f"SELECT {columns} FROM range(500) t(i)")
        await stage.press("tab", "G", "end")
        table = room(stage).table
        assert (table.row, table.column) == (499, 59) and "29441" in stage.text()
        assert len(table.children) == 0


async def test_a_cell_and_a_row_are_copied(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        await ask(stage, "SELECT 1 AS n, 'té\nxt' AS text, NULL AS nothing")
        await stage.press("tab", "l", "y", "Y")
        assert stage.copied[0] == "té\nxt"
        assert json.loads(stage.copied[1]) == {"n": 1, "text": "té\nxt", "nothing": None}


async def test_a_row_in_full_and_its_neighbours(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        await ask(stage, "SELECT i AS n, '{\"a\": [' || i || ']}' AS body FROM range(3) t(i)")
        await stage.press("tab", "enter")
        assert isinstance(stage.app.screen, RowView) and "Row 1 of 3" in stage.text()
        await stage.press("n", "right", "right")
        assert "Row 3 of 3" in stage.text() and '"a": [' in stage.text()
        await stage.press("p", "left", "y")
        assert stage.copied == ['{"n": 0, "body": "{\\"a\\": [0]}"}']
        await stage.press("escape")
        assert stage.app.screen is room(stage)


async def test_an_empty_result_has_its_columns(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        await ask(stage, "SELECT id, role FROM requests WHERE false")
        assert "No rows." in stage.text() and "0 rows, 2 columns" in stage.text()
        await stage.press("tab", "enter", "y", "Y", "down", "G", "end")
        assert stage.app.screen is room(stage) and stage.copied == []


async def test_resizing_keeps_the_cell(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        await ask(stage, "SELECT * FROM requests")
        await stage.press("tab", *["j"] * 4, *["l"] * 6)
        table = room(stage).table
        for size in ((60, 40), (40, 20), (160, 45), (120, 40)):
            await stage.pilot.resize_terminal(*size)
            await stage.settle()
            assert (table.row, table.column) == (4, 6)
            assert "backend" in stage.text()


# --------------------------------------------------------------------------------- leaving


async def test_escape_goes_back_one_level_at_a_time(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        await ask(stage, "SELECT 1 AS a")
        await stage.press("tab")
        assert stage.app.focused is room(stage).table
        await stage.press("escape")
        assert stage.app.focused is room(stage).editor
        await stage.press("escape")
        assert stage.app.screen is stage.app.main


async def test_letters_in_the_editor_are_no_commands(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        await stage.send(READY)
        await stage.press("s", *typed("qFXm5?/~ "))
        assert room(stage).editor.text == "qFXm5?/~ "


# ---------------------------------------------------------------------------------- export


async def _open_export(stage: Stage, query: str) -> SqlExport:
    await stage.press("s")
    await ask(stage, query)
    await stage.press("ctrl+s")
    return cast(SqlExport, stage.app.screen)


async def _name(stage: Stage, dialog: SqlExport, path: str) -> None:
    dialog.query_one(Input).value = path
    await stage.settle()


def _note(dialog: SqlExport) -> str:
    return str(dialog.query_one(".note", Static).content)


@pytest.mark.parametrize(("turns", "format"), [(0, "csv"), (1, "json"), (2, "parquet")])
async def test_the_whole_result_goes_to_a_file(
    console: Opener, source: FakeSource, home: Path, turns: int, format: str
) -> None:
    async with console(source=source) as stage:
        query = "SELECT i, repeat('x', 9_000) AS text FROM range(1_200) t(i)"
        dialog = await _open_export(stage, query)
        path = home / f"anyclaude-range-20251009-120900.{format}"
        await stage.press(*["down"] * turns)
        assert dialog.query_one(Input).value == str(path)
        await stage.press("enter")
        assert f"1,200 rows written to {path}" in said(stage)
        assert stage.app.screen is room(stage)
    read: dict[str, Callable[[str], duckdb.DuckDBPyRelation]] = {
        "csv": duckdb.read_csv, "json": duckdb.read_json, "parquet": duckdb.read_parquet
    }  # fmt: skip
    rows = read[format](str(path)).aggregate("count(*), min(length(text))").fetchall()
    assert rows == [(1_200, 9_000)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_formats_turn_both_ways_and_by_the_mouse(console: Opener, source: FakeSource) -> None:
    async with console(source=source) as stage:
        dialog = await _open_export(stage, "SELECT 1 AS a")
        await stage.press("up")
        assert dialog.query_one(Input).value.endswith(".parquet")
        await stage.press("tab", "shift+tab")
        assert dialog.query_one(Input).value.endswith(".parquet")
        await stage.pilot.click("Formats", offset=(9, 0))
        await stage.settle()
        assert dialog.query_one(Input).value.endswith(".json")
        await stage.press("escape")
        assert stage.app.screen is room(stage)


async def test_a_file_that_is_there_is_replaced_only_when_asked_again(
    console: Opener, source: FakeSource, home: Path
) -> None:
    mine = home / "mine.csv"
    mine.write_text("mine")
    async with console(source=source) as stage:
        dialog = await _open_export(stage, "SELECT 1 AS a")
        await _name(stage, dialog, "~/mine.csv")
        await stage.press("enter")
        assert "is there already" in _note(dialog) and mine.read_text() == "mine"
        await stage.press("end", "backspace", "v")
        await stage.press("enter")
        assert "is there already" in _note(dialog) and mine.read_text() == "mine"
        await stage.press("enter")
        assert mine.read_text() == "a\n1\n"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("~/out.txt", "End the name with .csv, .json or .parquet"),
        ("", "End the name with"),
        ("~/nowhere/out.csv", "No such file or directory"),
        ("~/folder.csv", "is a folder"),
    ],
)
async def test_a_file_that_cannot_be_is_said_in_place(
    console: Opener, source: FakeSource, home: Path, path: str, words: str
) -> None:
    (home / "folder.csv").mkdir()
    async with console(source=source) as stage:
        dialog = await _open_export(stage, "SELECT 1 AS a")
        await _name(stage, dialog, path)
        await stage.press("enter")
        assert words in _note(dialog) and stage.app.screen is dialog
    assert [entry.name for entry in home.iterdir()] == ["folder.csv"]


async def test_a_bad_query_and_two_columns_of_a_name_are_said_in_place(
    console: Opener, source: FakeSource, home: Path
) -> None:
    async with console(source=source) as stage:
        await _open_export(stage, "DELETE FROM requests")
        await stage.press("enter")
        assert "DELETE is refused" in stage.text()
        await stage.press("escape")
        room(stage).editor.write("SELECT 1 AS a, 2 AS a")
        await stage.press("ctrl+s", "down", "enter")
        assert "two columns are named 'a'" in stage.text()
    assert list(home.iterdir()) == []


async def test_an_export_is_stopped_and_leaves_no_file(
    console: Opener, source: FakeSource, home: Path, begun: threading.Event
) -> None:
    async with console(source=source) as stage:
        await stage.press("s")
        room(stage).editor.write(ENDLESS)
        await stage.press("ctrl+s")
        await stage.pilot.press("enter")
        assert await asyncio.to_thread(begun.wait, 60)
        stage.clock.advance(4)
        stage.app.tick()
        await stage.pilot.pause()
        assert "Writing … 4s" in stage.text()
        await stage.pilot.press("enter")  # once is enough
        await stage.pilot.press("escape")
        await _rest(stage)
        assert "Stopped; there is no file" in stage.text()
        await stage.press("escape")
        assert stage.app.screen is room(stage)
    assert list(home.iterdir()) == []


async def test_an_empty_editor_exports_the_last_query_or_nothing(
    console: Opener, source: FakeSource
) -> None:
    async with console(source=source) as stage:
        await stage.press("s", "ctrl+s")
        assert stage.app.screen is room(stage) and "Write a query first" in said(stage)[-1]
        await ask(stage, "SELECT 1 AS a")
        room(stage).editor.write("")
        await stage.press("ctrl+s", "enter")
        assert "1 row written" in said(stage)[-1]


async def test_an_empty_log_is_asked_too(console: Opener, tmp_path: Path) -> None:
    async with log_at(tmp_path / "empty") as log:
        source = FakeSource()
        source.fake.log = log
        async with console(source=source) as stage:
            await stage.press("s", "down", "enter")
            assert "No rows." in stage.text()
