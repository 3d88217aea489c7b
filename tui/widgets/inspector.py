"""Pane 5: everything about the selected request, a tab for each question."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.message import Message

from anyclaude.events import SystemEvent
from anyclaude.records import RequestDetail, ToolFailure
from tui import format as f
from tui.columns import Moment
from tui.inspect import TABS, Found, Subject, tab_lines
from tui.lines import line, plain_text
from tui.request_row import RequestRow
from tui.state import Store
from tui.widgets.page import Frame, Page
from tui.widgets.tabrow import TabRow

_STREAMS = frozenset({"Output"})
_ON_THE_CLOCK = frozenset({"Overview", "Timing"})


class InspectorPage(Page):
    """The lines of the tab on show."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "right",
            "screen.tab(1)",
            "Next tab",
            tooltip="Tab to the right",
            id="inspector.page_right",
        ),
        Binding(
            "d",
            "whole",
            "Diff/all",
            tooltip="Prompt: what changed, or all of it",
            id="inspector.diff",
        ),
        Binding(
            "n",
            "part(1)",
            "Next part",
            show=False,
            tooltip="To the next change, tool call or part",
            id="inspector.next_part",
        ),
        Binding(
            "N",
            "part(-1)",
            "Part before",
            show=False,
            tooltip="To the change, tool call or part before",
            id="inspector.previous_part",
        ),
        Binding("left", "screen.tab(-1)", "Tab to the left", show=False, id="inspector.page_left"),
    ]

    class Toggled(Message):
        """Someone wants the other of the prompt's two views."""

    def __init__(self) -> None:
        super().__init__(id="inspector-page")
        self.in_prompt = False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only a prompt has two views."""
        return self.in_prompt if action == "whole" else True

    def action_whole(self) -> None:
        self.post_message(self.Toggled())

    def action_part(self, step: int) -> None:
        self.to_anchor(step)


class Inspector(Vertical):
    """Shows one request. Which one, and what was found of it, the app hands in."""

    class Wanted(Message):
        """Another tab is on show, which may need more than what is here."""

    def __init__(self, store: Store) -> None:
        super().__init__(id="inspector", classes="pane")
        self._store = store
        self._frame = Frame(self)
        self.tab = TABS[0]
        self.whole = False
        self._row: RequestRow | None = None
        self._moment = Moment(0.0)
        self._found = Found("")
        self._news = 0
        self._shown: tuple[object, ...] = ()
        self._view: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield TabRow(TABS, _STREAMS, id="tabs")
        yield InspectorPage()

    @property
    def found(self) -> Found:
        """What is known of the request on show; empty while it is being fetched."""
        row_id = self._row.id if self._row is not None else ""
        return self._found if self._found.id == row_id else Found(row_id)

    @property
    def detail(self) -> RequestDetail | None:
        """What the server keeps of the request on show, once it is here."""
        return self.found.detail

    def on_resize(self, event: Resize) -> None:
        self._shown = ()
        self.call_after_refresh(self._again)

    def _again(self) -> None:
        self.sync(self._row, self._moment)

    def turn(self, step: int) -> None:
        """To the next tab, or with -1 to the one before."""
        self.pick(TABS[(TABS.index(self.tab) + step) % len(TABS)])

    def pick(self, tab: str) -> None:
        self.tab = tab
        self.post_message(self.Wanted())

    def set_found(self, found: Found) -> None:
        """Takes in what was found; parts that other tabs had asked for stay."""
        old = self._found
        if old.id == found.id and found.detail is not None:
            found = replace(
                found,
                prompt=found.prompt or old.prompt,
                raw=found.raw or old.raw,
                said=old.said if found.said is None else found.said,
            )
        self._found = found
        self._news += 1

    def on_inspector_page_toggled(self, event: InspectorPage.Toggled) -> None:
        event.stop()
        self.whole = not self.whole
        self._again()

    def sync(self, row: RequestRow | None, moment: Moment) -> None:
        """Brings the page up to date; cheap when nothing it shows has changed."""
        page = self.query_one(InspectorPage)
        self._row, self._moment = row, moment
        self.query_one(TabRow).sync(self.tab, bool(row and row.active))
        if page.in_prompt != (self.tab == "Prompt"):
            page.in_prompt = self.tab == "Prompt"
            self.screen.refresh_bindings()
        if row is None:
            self._show_nothing(page)
            return
        ms = row.elapsed_ms(moment.now)
        took = f.span(ms // 1000) if row.active else f.seconds(ms)
        title = f"5 Inspector  {f.short_id(row.id)}"
        self._frame.show(title, f"{f.count(row.output_tokens)} tok  {took}")
        # Twice a second is often enough for figures that move by themselves.
        ticking = round(moment.now * 2) if row.active and self.tab in _ON_THE_CLOCK else 0
        refused = self._store.tool_calls_refused if self.tab == "Tools" else 0
        # Of the tabs that don't move with the row, one that is long isn't made again.
        version = 0 if self.tab in ("Prompt", "Raw") and row.active else row.version
        state = (row.id, self.tab, self.whole, version, self._news, refused, ticking)
        if state == self._shown:
            return
        view = state[:3]
        anew, self._view, self._shown = self._view != view, view, state
        lines = tab_lines(self.tab, self._subject(row, page.scrollable_content_region.width))
        page.show(lines, anew=anew, tail=row.active and self.tab in _STREAMS)

    def _subject(self, row: RequestRow, width: int) -> Subject:
        events: tuple[SystemEvent, ...] = ()
        refusals: dict[str, ToolFailure] = {}
        if self.tab == "Cache":
            events = tuple(e for e in reversed(self._store.events) if e.at <= row.at)
        if self.tab == "Tools":
            errors = self._store.tool_errors
            refusals = {e.call.tool_use_id: e.refusal for e in errors if e.refusal is not None}
        found, moment = self.found, self._moment
        return Subject(row, moment, found, width or 80, self.whole, events, refusals)

    def _show_nothing(self, page: Page) -> None:
        if self._shown == ("nothing",):
            return
        self._shown = ("nothing",)
        self._frame.show("5 Inspector")
        page.show([line((" No request is selected.", "muted"))], anew=True)

    def copied(self) -> tuple[str, str]:
        """What is copied from the tab on show, and what to call it."""
        row, found = self._row, self.found
        if row is None:
            return "", ""
        match self.tab:
            case "Overview":
                return row.id, "id"
            case "Prompt":
                changed = found.prompt.changes if found.prompt is not None else None
                if changed is not None and not self.whole:
                    return plain_text(changed.lines), "changes of the prompt"
                return (found.prompt.text if found.prompt is not None else ""), "prompt"
            case "Raw":
                return (found.detail.body if found.detail is not None else ""), "request body"
            case _:
                return plain_text(self.query_one(Page).lines), self.tab.lower()
