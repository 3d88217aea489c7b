"""The SQL room: questions to the log, in its own words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.worker import Worker

from anyclaude.control import Control
from anyclaude.errors import AnyclaudeError, Unavailable
from anyclaude.logs.questions import Question, questions
from tui import format as f
from tui.dialogs.pick import Pick
from tui.dialogs.row import RowView
from tui.dialogs.sql_export import SqlExport
from tui.lines import Line, fit, line
from tui.palette import Command
from tui.rooms.base import NOT_UP, Room
from tui.sql import history
from tui.sql.completion import CATALOG_ROWS, CATALOG_SQL, catalog_of
from tui.sql.grid import grid_of, row_json, summary, whole
from tui.sql.target import suggestion
from tui.state import Store
from tui.taking import CopyText
from tui.widgets.foot import Foot
from tui.widgets.page import Frame, Page
from tui.widgets.query import Editor, QueryPane
from tui.widgets.result import ResultTable
from tui.widgets.rows import Rows

ROWS = 500
"""Rows of an answer that are shown; an export has them all."""

LONGEST = 4_000
"""Characters of a text that are shown; an export has them all."""

_PATIENCE_S = 0.3
"""An answer that comes sooner takes the place of the last one without a word in between."""

_Shown: TypeAlias = Literal["questions", "table", "note"]


class SqlRoom(Room):
    """An editor above the answer; before the first one, the questions that are ready."""

    DEFAULT_CSS = """
    SqlRoom #sql-answer { height: 1fr; overflow: hidden; }
    SqlRoom #sql-about { height: 4; display: none; }
    SqlRoom.-questions.-tall #sql-about { display: block; }
    SqlRoom ResultTable, SqlRoom #sql-questions, SqlRoom #sql-note { height: 1fr; display: none; }
    SqlRoom.-questions #sql-questions { display: block; }
    SqlRoom.-table ResultTable { display: block; }
    SqlRoom.-note #sql-note { display: block; }
    SqlRoom.-short QueryPane { height: 7; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+j,f5,ctrl+enter",
            "run",
            "Run",
            key_display="^j",
            priority=True,
            tooltip="Run the selected text, or the statement at the cursor",
            id="sql.run",
        ),
        Binding(
            "ctrl+g,f2",
            "questions",
            "Questions",
            key_display="^g",
            tooltip="Questions that are ready to be asked",
            id="sql.questions",
        ),
        Binding(
            "ctrl+r",
            "history",
            "History",
            key_display="^r",
            tooltip="Find an earlier query",
            id="sql.history",
        ),
        Binding(
            "ctrl+s",
            "export",
            "Export",
            key_display="^s",
            tooltip="Write the whole result to a file",
            id="sql.export",
        ),
    ]

    editor = getters.query_one(Editor)
    table = getters.query_one(ResultTable)
    ready = getters.query_one("#sql-questions", Rows)
    note = getters.query_one("#sql-note", Page)

    def __init__(
        self,
        control: Callable[[], Control | None],
        store: Store,
        now: Callable[[], float],
        folder: Path | None = None,
    ) -> None:
        """Earlier queries are kept in ``folder``; without one, for as long as the room is open."""
        super().__init__(control, store, now)
        self._past = folder / history.FILE_NAME if folder is not None else None
        self._questions = questions()
        self._work: Worker[None] | None = None
        self._since = 0.0
        self._query = ""
        self._stopping = False
        self._catalog_wanted = False
        self._message: tuple[Line, ...] = ()

    def compose(self) -> ComposeResult:
        yield QueryPane()
        with Vertical(id="sql-answer", classes="pane") as box:
            self._frame = Frame(box)
            yield Rows(id="sql-questions")
            about = Page(id="sql-about")
            about.can_focus = False
            yield about
            yield ResultTable()
            yield Page(id="sql-note")
        yield Foot()

    def on_mount(self) -> None:
        self._show("questions")
        self._frame.show("Questions that are ready", f"{len(self._questions)}  ↓ and ⏎ ask one")
        self.editor.focus()
        self.run_worker(self._remember(""), group="past", exit_on_error=False)
        self._want_catalog()

    def _show(self, shown: _Shown) -> None:
        for name in ("questions", "table", "note"):
            self.set_class(name == shown, f"-{name}")

    def on_rows_sized(self) -> None:
        width = self.ready.room
        cursor = self.ready.cursor or 0
        self.ready.show(
            len(self._questions), lambda at: question_line(self._questions[at], width), cursor
        )
        self.on_rows_moved()

    def on_rows_moved(self) -> None:
        """What the question under the cursor brings."""
        about = self._questions[self.ready.cursor or 0].about
        page = self.query_one("#sql-about", Page)
        page.show([line(), line((f" {about}", "muted"), hang=1)], anew=True)

    # --------------------------------------------------------------------------------- running

    def sync(self) -> None:
        if self._work is None or self._stopping:
            return
        passed = max(0.0, self._now() - self._since)
        self._frame.show("Result", f"running {passed:.1f}s  esc stops it")
        if passed >= _PATIENCE_S:
            keys = line(
                (" esc", "accent"),
                (" or ", "muted"),
                ("ctrl+c", "accent"),
                (" stops it, here and on the server.", "muted"),
            )
            self._say(line((" Running … ", "run"), f"{passed:.1f} s"), line(), keys)

    def _say(self, *lines: Line) -> None:
        self._message = lines
        if not self.has_class("-note"):
            self._show("note")
            # The page has no width before it is laid out.
            self.call_after_refresh(lambda: self.note.show(self._message, anew=True))
        self.note.show(lines, anew=False)

    def action_run(self) -> None:
        query = self.editor.statement
        if query:
            self._ask(query)

    def _ask(self, query: str) -> None:
        control = self._control()
        if control is None:
            self._problem(Unavailable(NOT_UP))
            return
        self._query = query
        self._since, self._stopping = self._now(), False
        self._work = self.run_worker(
            self._run(control, query), group="sql", exclusive=True, exit_on_error=False
        )
        self.run_worker(self._remember(query), group="past", exit_on_error=False)
        self.sync()

    async def _run(self, control: Control, query: str) -> None:
        me = self._work
        try:
            result = await control.sql(query, ROWS, LONGEST)
            grid = await asyncio.to_thread(grid_of, result)
        except AnyclaudeError as error:
            self._work = None
            self._problem(error)
        except asyncio.CancelledError:
            if self._work is me and self.is_running:
                self._work = None
                self._stopped()
            raise
        else:
            self._work = None
            took = max(0.0, self._now() - self._since)
            self.table.show(grid)
            self._show("table")
            columns = len(result.columns)
            words = f"{summary(result)}, {columns} column{'' if columns == 1 else 's'}"
            self._frame.show("Result", f"{words}  {took:.2f}s")
            if self.focused in (self.ready, self.note):
                self.table.focus()
            self._want_catalog()

    def _problem(self, error: AnyclaudeError) -> None:
        lines = [line((" x ", "error"), (error.message, "error"), hang=3)]
        if isinstance(error, Unavailable):
            lines += [
                line(),
                line(
                    (" The log can't be asked now. ", "muted"),
                    ("^j", "accent"),
                    (" asks again.", "muted"),
                ),
            ]
        self._frame.show("Result", "no answer")
        self._say(*lines)

    def _stopped(self) -> None:
        passed = max(0.0, self._now() - self._since)
        self._frame.show("Result", "stopped")
        self._say(line((" - ", "warn"), f"Stopped after {passed:.1f} s."))

    @property
    def stoppable(self) -> bool:
        """Whether a query runs that nobody has stopped yet."""
        return self._work is not None and not self._stopping

    def stop(self) -> None:
        """Ends the query that runs, for real: the server interrupts it."""
        if self._work is not None:
            self._stopping = True
            self._frame.show("Result", "stopping …")
            self._work.cancel()

    def interrupt(self) -> None:
        """What ctrl+c means here: stop, or copy; it never ends the console."""
        if self._work is not None:
            self.stop()
        elif self.focused is self.editor and self.editor.selected_text:
            self.post_message(CopyText(self.editor.selected_text, "the selected text"))
        else:
            self.notify("ctrl+q quits; ctrl+c stops a query, or copies what is selected.")

    def action_leave(self) -> None:
        """Stops what runs; back to the editor; out."""
        if self._work is not None:
            self.stop()
        elif self.focused is not self.editor:
            self.editor.focus()
        else:
            self.dismiss(None)

    # ------------------------------------------------------------------------ what is known of

    def _want_catalog(self) -> None:
        """Tables and columns, for the suggestions, until they are here."""
        control = self._control()
        if control is not None and not self._catalog_wanted and not self.editor.catalog.columns:
            self._catalog_wanted = True
            self.run_worker(self._fetch_catalog(control), group="catalog")

    async def _fetch_catalog(self, control: Control) -> None:
        try:
            with suppress(AnyclaudeError):
                found = await control.sql(CATALOG_SQL, CATALOG_ROWS)
                self.editor.catalog = catalog_of(found)
        finally:
            self._catalog_wanted = False

    async def _remember(self, query: str) -> None:
        """Reads the earlier queries, and adds this one."""
        past = self.editor.past
        if self._past is None:
            past.set(history.add(past.queries, query))
            return
        try:
            if query:
                past.set(await asyncio.to_thread(history.remember, self._past, query))
            else:
                past.set(await asyncio.to_thread(history.load, self._past))
        except OSError as error:
            past.set(history.add(past.queries, query))
            why = error.strerror or str(error)
            self.notify(f"{self._past} can't be written: {why}", severity="warning", markup=False)

    # ----------------------------------------------------------------------------- by hand

    def on_editor_left(self) -> None:
        """Down from the last line leads to what is below."""
        shown = {"-questions": self.ready, "-table": self.table, "-note": self.note}
        next(widget for name, widget in shown.items() if self.has_class(name)).focus()

    def on_rows_opened(self) -> None:
        self._pose(self._questions[self.ready.cursor or 0])

    def _pose(self, question: Question) -> None:
        """Writes a question down and asks it."""
        self.editor.write(question.sql)
        self._ask(question.sql)

    def action_questions(self) -> None:
        def answered(name: str | None) -> None:
            found = next((q for q in self._questions if q.name == name), None)
            if found is not None:
                self._pose(found)

        entries = [Command(q.title, q.name, q.name, q.about) for q in self._questions]
        self.app.push_screen(Pick("Questions", "a few letters of it", entries), answered)

    def action_history(self) -> None:
        past = list(reversed(self.editor.past.queries))
        if not past:
            self.notify("No query was run before.")
            return

        def answered(at: str | None) -> None:
            if at is not None:
                self.editor.write(past[int(at)])
                self.editor.focus()

        entries = [Command(query, str(at), help=query) for at, query in enumerate(past)]
        self.app.push_screen(Pick("Earlier queries", "a few letters of it", entries), answered)

    def action_export(self) -> None:
        query = self.editor.statement or self._query
        if not query:
            self.notify("Write a query first; its whole result goes to a file.")
            return

        def answered(done: str | None) -> None:
            if done is not None:
                self.notify(done, markup=False)

        path = suggestion(query, self._now(), Path.home())
        self.app.push_screen(SqlExport(self._control, self._now, query, path), answered)

    def on_result_table_opened(self) -> None:
        table = self.table
        self.app.push_screen(RowView(table.grid_shown, table.row, self._copy))

    def on_result_table_copied(self, event: ResultTable.Copied) -> None:
        result, row = self.table.grid_shown.result, self.table.row
        if event.row:
            self._copy(row_json(result, row), "the row as JSON")
        else:
            column = self.table.column
            self._copy(whole(result.rows[row][column]), f.one_line(result.columns[column]))

    def _copy(self, text: str, what: str) -> None:
        self.post_message(CopyText(text, what))


def question_line(question: Question, width: int) -> Line:
    """A question of the list, and the view that answers it."""
    name = 16 if width >= 60 else 0
    title = fit(question.title, max(8, width - 2 - name))
    return line("  ", title, (fit(question.name, name), "muted"))
