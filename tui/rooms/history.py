"""The history room: requests and sessions out of the log, as far back as it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from anyclaude.control import Control
from anyclaude.errors import AnyclaudeError
from tui import format as f
from tui.columns import Moment
from tui.details import Details, Wish
from tui.history import VIEWS, History, RequestPages, SessionPages, request_heading
from tui.history_sql import PAGE
from tui.lines import Line, line
from tui.request_row import RequestRow
from tui.rooms.base import NOT_UP, Room
from tui.sessions import session_heading
from tui.state import Store
from tui.taking import CopyText
from tui.widgets.foot import Foot
from tui.widgets.inspector import Inspector, InspectorPage
from tui.widgets.page import Frame, Page
from tui.widgets.past import PastRows
from tui.widgets.requests import FilterBar
from tui.widgets.tabrow import TabRow


class HistoryRoom(Room):
    """One list of two, and the inspector once a request is opened."""

    DEFAULT_CSS = """
    HistoryRoom #past-body { height: 1fr; }
    HistoryRoom #past { height: 3fr; overflow: hidden; }
    HistoryRoom #past-tabs, HistoryRoom #past-heading { height: 1; }
    HistoryRoom #past-heading { color: $text-muted; text-wrap: nowrap; }
    HistoryRoom #past-rows { height: 1fr; }
    HistoryRoom #past-note { height: 1fr; display: none; }
    HistoryRoom.-note #past-rows, HistoryRoom.-note #past-heading { display: none; }
    HistoryRoom.-note #past-note { display: block; }
    HistoryRoom #inspector { height: 2fr; display: none; }
    HistoryRoom.-inspect #inspector { display: block; }
    HistoryRoom.-short.-inspect #past { display: none; }
    HistoryRoom.-ultrawide.-inspect #past-body { layout: horizontal; }
    HistoryRoom.-ultrawide.-inspect #past { width: 1fr; height: 1fr; }
    HistoryRoom.-ultrawide.-inspect #inspector { width: 1fr; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "tab", "turn_view", "Other view", tooltip="Requests, or sessions", id="history.view"
        ),
        Binding(
            "slash", "filter", "Filter", key_display="/", tooltip="Filter the log",
            id="history.filter",
        ),
        Binding("y", "copy", "Copy", tooltip="Copy the id, or what is on show", id="history.copy"),
        Binding("f5,ctrl+r", "reload", "Reload", tooltip="Ask the log again", id="history.reload"),
        Binding(
            "left_square_bracket",
            "tab(-1)",
            "Tab left",
            show=False,
            tooltip="Inspector: tab to the left",
            id="history.left",
        ),
        Binding(
            "right_square_bracket",
            "tab(1)",
            "Tab right",
            show=False,
            tooltip="Inspector: tab to the right",
            id="history.right",
        ),
    ]  # fmt: skip

    list = getters.query_one(PastRows)
    inspector = getters.query_one(Inspector)
    bar = getters.query_one(FilterBar)
    note = getters.query_one("#past-note", Page)

    def __init__(
        self, control: Callable[[], Control | None], store: Store, now: Callable[[], float]
    ) -> None:
        super().__init__(control, store, now)
        self.history = History(store)
        self._details = Details(store)
        self._loading: set[str] = set()
        self._problem = ""
        self._noted: tuple[Line, ...] = ()

    def compose(self) -> ComposeResult:
        with Container(id="past-body"):
            with Vertical(id="past", classes="pane") as box:
                self._frame = Frame(box)
                yield TabRow(VIEWS, (), id="past-tabs")
                yield Static("", id="past-heading", markup=False)
                yield PastRows()
                yield Page(id="past-note")
                yield FilterBar(self.history)
            yield Inspector(self._store)
        yield Foot()

    def on_mount(self) -> None:
        self.bar.display = False
        self.list.focus()
        self.action_reload()

    # --------------------------------------------------------------------------------- loading

    def action_reload(self) -> None:
        """From the first page on, as the log is now."""
        self.history.restart()
        self._want()
        self.paint()

    def _want(self) -> None:
        """Asks for the next page if its rows may soon be looked at."""
        pages = self.history.pages
        if pages.noun in self._loading or not pages.wants_more(self.list.last_line):
            return
        control = self._control()
        if control is None:
            self._problem = NOT_UP
            return
        self._loading.add(pages.noun)
        self.run_worker(self._load(control, pages), group=pages.noun, exit_on_error=False)

    async def _load(self, control: Control, pages: RequestPages | SessionPages) -> None:
        """Pages until there are enough, of whatever is wanted by then."""
        try:
            while True:
                loads = pages.loads
                result = await control.sql(pages.page_sql, PAGE)
                take = await asyncio.to_thread(pages.reader, result)
                if loads == pages.loads:
                    take()
                    self._problem = ""
                    if not pages.complete and pages.total is None:
                        await self._count(control, pages)
                    if not self.is_running or not pages.wants_more(self.list.last_line):
                        break
                    self.paint()
        except AnyclaudeError as error:
            self._problem = error.message
        finally:
            self._loading.discard(pages.noun)
        if self.is_running:
            self.paint()

    async def _count(self, control: Control, pages: RequestPages | SessionPages) -> None:
        loads = pages.loads
        result = await control.sql(pages.count_sql, 1)
        if loads == pages.loads and result.rows and isinstance(result.rows[0][0], int):
            pages.total = result.rows[0][0]

    # -------------------------------------------------------------------------------- painting

    def sync(self) -> None:
        """Requests of this run may still be under way, and their inspector with them."""
        if self.has_class("-inspect"):
            self._sync_inspector()
        if self._problem == NOT_UP and self._control() is not None:
            self._problem = ""
            self.action_reload()

    def paint(self) -> None:
        """Brings list, title and note up to date with what is known."""
        history, pages, width = self.history, self.history.pages, self.list.room
        self.query_one(TabRow).sync(history.view, False)
        note = self._note()
        self.set_class(bool(note), "-note")
        if note:
            self._show_note(note)
        else:
            heads = request_heading if history.view == "Requests" else session_heading
            self.query_one("#past-heading", Static).update(Content(heads(width)))
            self.list.show_pages(pages)
        where = f"  session {f.one_line(history.session)[:8]}" if history.session else ""
        ending = "  the rest can't be read: f5 tries again" if self._problem and not note else ""
        self._frame.show(f"History{where}", f"{pages.summary}{ending}")
        if self.bar.display:
            self.bar.sync()
        self._sync_inspector()

    def _show_note(self, note: tuple[Line, ...]) -> None:
        if note != self._noted:
            self._noted = note
            # The page has no width before it is laid out.
            self.call_after_refresh(lambda: self.note.show(self._noted, anew=True))

    def _note(self) -> tuple[Line, ...]:
        history, pages = self.history, self.history.pages
        if pages.rows:
            return ()
        if self._problem:
            again = line((" f5", "accent"), (" asks again.", "muted"))
            return (line((" x ", "error"), (self._problem, "error"), hang=3), line(), again)
        if not pages.complete:
            return (line((" Reading the log …", "muted")),)
        if history.filter or history.session:
            return (line((" Nothing in the log fits. ", "muted"), ("esc", "accent"),
                         (" shows everything again.", "muted"), hang=1),)  # fmt: skip
        words = " The log is empty. Each request shows here once it has ended, and in later runs."
        return (line((words, "muted"), hang=1),)

    # ------------------------------------------------------------------------------- inspector

    @property
    def _chosen(self) -> RequestRow | None:
        selected = self.history.requests.selected
        return selected if self.history.view == "Requests" else None

    def _sync_inspector(self) -> None:
        if not self.has_class("-inspect"):
            return
        row = self._chosen
        self.inspector.sync(row, Moment(self._now()))
        wish, control = self._details.wish(row, self.inspector.tab), self._control()
        if row is not None and wish is not None and control is not None:
            self.run_worker(self._find(control, row, wish), group="detail", exclusive=True)

    async def _find(self, control: Control, row: RequestRow, wish: Wish) -> None:
        found = await self._details.find(control, row, wish)
        if found.detail is not None and found.detail.tool_calls and row.id not in self._store.rows:
            row.calls = [*found.detail.tool_calls]
            row.version += 1
        self.inspector.set_found(found)
        self._sync_inspector()

    def on_inspector_wanted(self) -> None:
        self._sync_inspector()

    # --------------------------------------------------------------------------------- by hand

    def on_rows_moved(self) -> None:
        self._want()
        self.paint()

    def on_rows_sized(self) -> None:
        self.paint()

    def on_past_rows_scrolled(self) -> None:
        self._want()

    def on_rows_opened(self) -> None:
        history = self.history
        if history.view == "Requests":
            if history.requests.selected is not None:
                self.add_class("-inspect")
                self.query_one(InspectorPage).focus()
                self._sync_inspector()
        elif history.sessions.selected is not None:
            history.enter(history.sessions.selected.id)
            self._show_view("Requests")

    def on_tab_row_picked(self, event: TabRow.Picked) -> None:
        if event.tab in VIEWS:
            self._show_view(event.tab)
        else:
            self.inspector.pick(event.tab)

    def _show_view(self, name: str) -> None:
        self.history.view = next(view for view in VIEWS if view == name)
        self._close_inspector()
        self._want()
        self.paint()

    def _close_inspector(self) -> None:
        self.remove_class("-inspect")
        self.list.focus()

    def action_turn_view(self) -> None:
        self._show_view(VIEWS[1 - VIEWS.index(self.history.view)])

    def action_tab(self, step: int) -> None:
        if self.has_class("-inspect"):
            self.inspector.turn(step)
            self._sync_inspector()

    def action_filter(self) -> None:
        self._close_inspector()
        self.bar.open()
        self.bar.sync()

    def on_filter_bar_changed(self) -> None:
        self._want()
        self.paint()
        if self.history.left_out:
            words = f" {self.history.left_out} can't be asked of the log"
            self.query_one("#filter-count", Static).update(Content(words))

    def on_filter_bar_closed(self) -> None:
        self.list.focus()
        self.paint()

    def action_copy(self) -> None:
        pages = self.history.pages
        if self.has_class("-inspect"):
            text, what = self.inspector.copied()
        else:
            text, what = (pages.selected.id, "id") if pages.selected is not None else ("", "")
        if text:
            self.post_message(CopyText(text, what))

    def action_leave(self) -> None:
        """Out of the inspector, of the session, of the filter, and of the room, one at a time."""
        if self.has_class("-inspect"):
            self._close_inspector()
            self.paint()
        elif self.history.session is not None:
            self.history.enter(None)
            self._show_view("Sessions")
        elif self.query_one(Input).value:
            self.bar.clear()
            self.list.focus()
        else:
            self.dismiss(None)
