"""One of many things, found by a few letters: an earlier query, or a question that is ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Input

from tui import format as f
from tui.lines import Line, Span, fit, line, paragraphs
from tui.palette import Command, Match, find
from tui.resizing import skip_stale
from tui.widgets.foot import Foot
from tui.widgets.page import Page
from tui.widgets.rows import Rows

_TITLE = 200
"""Characters of an entry that are looked at and drawn."""


class Pick(ModalScreen[str], inherit_bindings=False):
    """Ends with the action of what was chosen, ``None`` when it was left.

    Each entry's ``help`` is shown below the list while the cursor is on it.
    """

    DEFAULT_CSS = """
    Pick { align: center top; }
    Pick > Vertical { width: 96; height: 80%; margin: 2 0 0 0; }
    Pick Input { background: $surface; color: $foreground; margin: 1 1 0 1; }
    Pick Rows { height: 3fr; margin: 1 0 0 0; background: $surface; }
    Pick Page { height: 1fr; min-height: 2; max-height: 7; margin: 1 0 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Choose", key_display="⏎", priority=True, id="pick.choose"),
        Binding("down,ctrl+n", "move(1)", "Down", show=False, priority=True, id="pick.down"),
        Binding("up,ctrl+b", "move(-1)", "Up", show=False, priority=True, id="pick.up"),
        Binding("escape", "close", "Close", key_display="esc", id="pick.close"),
    ]

    def __init__(self, title: str, hint: str, entries: Sequence[Command]) -> None:
        super().__init__()
        self._title = title
        self._hint = hint
        self._entries = [
            Command(f.one_line(e.title[:_TITLE]), e.action, e.keys, e.help) for e in entries
        ]
        self._found: list[Match] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title)
            entry = Input(placeholder=self._hint, compact=True)
            entry.cursor_blink = False
            yield entry
            rows = Rows(id="pick-rows")
            rows.can_focus = False
            yield rows
            page = Page(id="pick-note")
            page.can_focus = False
            yield page
            yield Foot()

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self.call_after_refresh(self._search)

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)

    def on_input_changed(self) -> None:
        self._search()

    def on_rows_sized(self) -> None:
        self._search()

    def on_rows_moved(self) -> None:
        self._explain()

    def on_rows_opened(self) -> None:
        self.action_choose()

    def _search(self) -> None:
        self._found = find(self._entries, self.query_one(Input).value)
        rows = self.query_one(Rows)
        rows.show(len(self._found), lambda at: _line(self._found[at], rows.room), 0)
        self._explain()

    def _chosen(self) -> Command | None:
        at = self.query_one(Rows).cursor
        return self._found[at].command if at is not None and at < len(self._found) else None

    def _explain(self) -> None:
        command = self._chosen()
        lines: list[Line] = [line((" Nothing fits these letters.", "muted"))]
        if command is not None:
            lines = paragraphs(command.help, "muted", 1)
        self.query_one(Page).show(lines, anew=True)

    def action_move(self, step: int) -> None:
        self.query_one(Rows).action_move(step)
        self._explain()

    def action_choose(self) -> None:
        command = self._chosen()
        if command is not None:
            self.dismiss(command.action)

    def action_close(self) -> None:
        self.dismiss(None)


def _line(match: Match, room: int) -> Line:
    """The title with the letters that were found, and a word at the right."""
    right = match.command.keys
    width = max(8, room - 2 - (len(right) + 2 if right else 0))
    title = fit(match.command.title, width)
    spans: list[Span] = [("  ", "text")]
    for at, letter in enumerate(title):
        spans.append((letter, "pick" if at in match.letters else "text"))
    if right:
        spans.append((f"  {right}", "muted"))
    return Line(tuple(spans))
