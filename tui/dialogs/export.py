"""Where requests are to be written, and which."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Click, Resize
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.dialogs.choices import content
from tui.lines import Line, line
from tui.resizing import skip_stale
from tui.widgets.foot import Foot

Scope: TypeAlias = Literal["list", "one"]


class Scopes(Static):
    """Which requests; a click on the other one picks it."""

    def on_click(self, event: Click) -> None:
        self.screen.run_worker(self.screen.run_action(f"scope({event.y})"))


class Export(ModalScreen[None], inherit_bindings=False):
    """Asks for a file; stays open until it is written, or says why it can't be."""

    DEFAULT_CSS = """
    Export { align: center middle; }
    Export > Vertical { width: 76; height: auto; }
    Export Scopes { height: 2; margin: 1 0 0 0; }
    Export Horizontal { height: 1; margin: 1 0 0 0; }
    Export #export-label { width: 7; color: $text-muted; }
    Export Input { width: 1fr; background: $panel; color: $foreground; }
    Export .note { height: auto; margin: 1 0; padding: 0 1; color: $text-muted; }
    Export .note.-problem { color: $error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "write", "Write", key_display="⏎", priority=True, id="export.write"),
        Binding(
            "up,down,tab",
            "scope",
            "Which requests",
            key_display="↑↓",
            priority=True,
            tooltip="The list as filtered, or the selected request",
            id="export.scope",
        ),
        Binding("escape", "close", "Close", key_display="esc", id="export.close"),
    ]

    class Write(Message):
        """Someone named a file."""

        def __init__(self, path: str, scope: Scope) -> None:
            super().__init__()
            self.path = path
            self.scope: Scope = scope

    def __init__(self, path: str, listed: str, one: str) -> None:
        """``listed`` and ``one`` say what the two scopes hold; ``one`` empty: nothing selected."""
        super().__init__()
        self._path = path
        self._names = (listed, one)
        self._scope: Scope = "list"

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Export as JSON Lines"
            yield Scopes("", markup=False)
            with Horizontal():
                yield Static(" file", id="export-label", markup=False)
                entry = Input(self._path, compact=True, select_on_focus=False)
                entry.cursor_blink = False
                yield entry
            yield Static("", classes="note", markup=False)
            yield Foot()

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self._show()

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)

    def _show(self) -> None:
        listed, one = self._names
        rows = [_mark(self._scope == "list", listed)]
        if one:
            rows.append(_mark(self._scope == "one", one))
        self.query_one(Scopes).update(Content("\n").join(content(row) for row in rows))
        self._note("A new file that only you can read; one that exists is never written over.")

    def show_problem(self, problem: str) -> None:
        self._note(problem, problem=True)

    def suggest(self, path: str) -> None:
        """Puts another name into the field, as when the one in it is taken."""
        entry = self.query_one(Input)
        entry.value = path
        entry.cursor_position = len(path)

    def _note(self, text: str, *, problem: bool = False) -> None:
        note = self.query_one(".note", Static)
        note.set_class(problem, "-problem")
        note.update(content(line(text)))

    def action_scope(self, row: int | None = None) -> None:
        other: Scope = "one" if self._scope == "list" else "list"
        wanted = other if row is None else ("one" if row else "list")
        if wanted == "list" or self._names[1]:
            self._scope = wanted
            self._show()

    def action_write(self) -> None:
        path = self.query_one(Input).value.strip()
        if path:
            self._note("Writing…")
            self.post_message(self.Write(path, self._scope))
        else:
            self.show_problem("Name a file.")

    def action_close(self) -> None:
        self.dismiss(None)


def _mark(chosen: bool, text: str) -> Line:
    return line((" (•) " if chosen else " ( ) ", "accent" if chosen else "muted"), text)
