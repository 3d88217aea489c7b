"""The command palette: everything that can be done now, found by a few letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static

from tui.dialogs.choices import Choice, Choices, content
from tui.lines import Line, Span, fit, line
from tui.palette import Command, Match, find
from tui.resizing import skip_stale
from tui.widgets.foot import Foot

_KEYS = 10


class Palette(ModalScreen[str], inherit_bindings=False):
    """Ends with the action of the chosen command."""

    DEFAULT_CSS = """
    Palette { align: center top; }
    Palette > Vertical { width: 76; height: auto; margin: 2 0 0 0; }
    Palette Input { background: $surface; color: $foreground; margin: 1 1 0 1; }
    Palette Choices { max-height: 18; margin: 1 0 0 0; }
    Palette .note { height: 1; margin: 1 0 0 0; padding: 0 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "run", "Run", key_display="⏎", priority=True, id="palette.run"),
        Binding("down,ctrl+n", "move(1)", "Down", show=False, priority=True, id="palette.down"),
        Binding("up,ctrl+b", "move(-1)", "Up", show=False, priority=True, id="palette.up"),
        Binding("escape,ctrl+p", "close", "Close", key_display="esc", id="palette.close"),
    ]

    def __init__(self, commands: Sequence[Command]) -> None:
        super().__init__()
        self._commands = list(commands)
        self.found: list[Match] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Commands"
            entry = Input(placeholder="a few letters of what to do", compact=True)
            entry.cursor_blink = False
            yield entry
            choices = Choices()
            choices.can_focus = False
            yield choices
            yield Static("", classes="note", markup=False)
            yield Foot()

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self.call_after_refresh(self._search)

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)
        self.call_after_refresh(self._search)

    def add(self, commands: Sequence[Command]) -> None:
        """More commands that took a moment to find out."""
        self._commands += commands
        if self.is_mounted:
            self._search()

    def on_input_changed(self) -> None:
        self._search()

    def _search(self) -> None:
        self.found = find(self._commands, self.query_one(Input).value)
        choices = self.query_one(Choices)
        room = max(20, choices.scrollable_content_region.width)
        choices.show(
            [Choice(str(n), command_line(match, room)) for n, match in enumerate(self.found)], at=0
        )
        self._explain()

    def on_option_list_option_highlighted(self) -> None:
        self._explain()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_run()

    def _chosen(self) -> Command | None:
        at = self.query_one(Choices).highlighted
        return self.found[at].command if at is not None and at < len(self.found) else None

    def _explain(self) -> None:
        command = self._chosen()
        text = command.help if command else "Nothing is called that."
        self.query_one(".note", Static).update(content(line(text)))

    def action_move(self, step: int) -> None:
        choices = self.query_one(Choices)
        if step > 0:
            choices.action_cursor_down()
        else:
            choices.action_cursor_up()

    def action_run(self) -> None:
        command = self._chosen()
        if command is not None:
            self.dismiss(command.action)

    def action_close(self) -> None:
        self.dismiss(None)


def command_line(match: Match, room: int) -> Line:
    """The title with the letters that were found, and its key at the right."""
    title = fit(match.command.title, max(8, room - _KEYS - 3))
    spans: list[Span] = [(" ", "text")]
    for at, letter in enumerate(title):
        spans.append((letter, "pick" if at in match.letters else "text"))
    spans.append((fit(f" {match.command.keys}", _KEYS, right=True), "muted"))
    return line(*spans)
