"""The room of web searches: what was asked, who answered, and what it took of the prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from anyclaude.control import Control
from anyclaude.errors import AnyclaudeError
from anyclaude.events import SearchMade
from tui import format as f
from tui import searches
from tui.lines import line
from tui.rooms.base import AskingRoom
from tui.state import Store
from tui.widgets.foot import Foot
from tui.widgets.page import Frame, Page
from tui.widgets.rows import Rows

SWITCH = "proactive_search"
_KEY = "i"


class SearchesRoom(AskingRoom):
    """One line per search, newest first, above the facts of the one under the cursor."""

    DEFAULT_CSS = """
    SearchesRoom #searches { height: 2fr; }
    SearchesRoom #searches-heading { height: 1; color: $text-muted; }
    SearchesRoom #searches-rows { height: 1fr; }
    SearchesRoom #searches-note { height: 1fr; display: none; }
    SearchesRoom.-note #searches-rows, SearchesRoom.-note #searches-heading { display: none; }
    SearchesRoom.-note #searches-note { display: block; }
    SearchesRoom.-note #search { display: none; }
    SearchesRoom #search { height: 1fr; min-height: 9; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("W", "leave", "Back", show=False, tooltip="Back", id="searches.leave"),
        Binding(
            _KEY,
            "unasked",
            "Unasked on/off",
            tooltip="Search the web unasked where a turn asks for fresh facts, or don't",
            id="searches.unasked",
        ),
    ]

    def __init__(
        self, control: Callable[[], Control | None], store: Store, now: Callable[[], float]
    ) -> None:
        super().__init__(control, store, now)
        self._unasked: bool | None = None
        self._chosen: SearchMade | None = None
        self._painted: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        with Vertical(id="searches", classes="pane") as box:
            self._frame = Frame(box)
            yield Static("", id="searches-heading", markup=False)
            yield Rows(id="searches-rows")
            yield Page(id="searches-note")
        facts = Page(id="search")
        facts.add_class("pane")
        yield facts
        yield Foot()

    def on_mount(self) -> None:
        self._facts_frame = Frame(self.query_one("#search"))
        self._rows = self.query_one(Rows)
        self._rows.focus()
        self.sync()

    async def fetch(self, control: Control) -> None:
        switches = {switch.name: switch.on for switch in await control.switches()}
        self._unasked = switches.get(SWITCH)

    def _found(self) -> list[SearchMade]:
        return list(reversed(self._store.searches))

    def paint(self) -> None:
        """Draws anew when there is another search, or the switch or the width is another."""
        if not self.is_mounted:
            return
        found, width = self._found(), self._rows.room
        newest = id(found[0]) if found else 0
        key = (newest, len(found), self._unasked, self.problem, self.size, width, self._chosen)
        if key == self._painted:
            return
        self._painted = key
        self.set_class(not found, "-note")
        state = {True: "unasked: on", False: "unasked: off", None: ""}[self._unasked]
        if not found:
            self._frame.show("Web searches", state)
            lines = searches.empty_lines(self._unasked, _KEY)
            if self.problem:
                lines.append(line((f"  {self.problem}", "error"), hang=2))
            self.query_one("#searches-note", Page).show(lines, anew=False)
            return
        at = next((i for i, made in enumerate(found) if made is self._chosen), 0)
        chosen = found[at]
        self.query_one("#searches-heading", Static).update(Content(searches.heading(width).plain))
        self._rows.show(len(found), lambda i: searches.row(found[i], width), at)
        unasked = sum(made.inserted for made in found)
        count = f"{len(found)} searches, {unasked} of them unasked"
        self._frame.show("Web searches", f.one_line(self.problem) or f"{count}  {state}".rstrip())
        self._facts_frame.show("Search")
        self.query_one("#search", Page).show(searches.facts(chosen), anew=False)

    # --------------------------------------------------------------------------------- by hand

    def on_rows_moved(self) -> None:
        found = self._found()
        at = self._rows.cursor or 0
        self._chosen = found[at] if at < len(found) else None
        self.paint()

    def on_rows_sized(self) -> None:
        self.paint()

    def on_rows_opened(self) -> None:
        """The request that the search was made for."""
        found, at = self._found(), self._rows.cursor or 0
        if at < len(found):
            self.post_message(self.Open(found[at].search.request_id))
            self.dismiss(None)

    def action_unasked(self) -> None:
        """Turns searching unasked on or off."""
        control = self._control()
        if control is not None:
            self.run_worker(self._turn(control), group="steer", exit_on_error=False)

    async def _turn(self, control: Control) -> None:
        try:
            await control.set_switch(SWITCH, not self._unasked)
            await self.fetch(control)
        except AnyclaudeError as error:
            self.problem = error.message
            self.app.notify(f.clean(error.message), severity="warning", markup=False)
        else:
            self.problem = ""
            state = "on" if self._unasked else "off"
            self.app.notify(f"Searching unasked is {state}", markup=False)
        self.paint()
