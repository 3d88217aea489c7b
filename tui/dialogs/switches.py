"""The switches: what can be turned on and off while anyclaude runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from anyclaude.control import Switch
from tui import format as f
from tui.dialogs.choices import Choice, Choices, content
from tui.lines import Span, line
from tui.resizing import skip_stale
from tui.widgets.foot import Foot


class Switches(ModalScreen[None], inherit_bindings=False):
    """Stays open; what a switch does is below the list while the cursor is on it."""

    DEFAULT_CSS = """
    Switches { align: center middle; }
    Switches > Vertical { width: 72; height: auto; }
    Switches Choices { max-height: 24; margin: 1 0 0 0; }
    Switches .note { height: 3; margin: 1 0; padding: 0 1; color: $text-muted; }
    Switches .note.-problem { color: $error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "flip", "On or off", tooltip="Turn it on or off", id="switches.toggle"),
        Binding("escape,o,q", "close", "Close", key_display="esc", id="switches.close"),
    ]

    class Set(Message):
        """Someone turned a switch."""

        def __init__(self, name: str, on: bool) -> None:
            super().__init__()
            self.name = name
            self.on = on

    def __init__(self) -> None:
        super().__init__()
        self._switches: dict[str, Switch] = {}

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Switches, for requests from now on"
            yield Choices()
            yield Static("", classes="note", markup=False)
            yield Foot()

    def on_mount(self) -> None:
        self.query_one(Choices).focus()

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)

    def show_switches(self, switches: Sequence[Switch]) -> None:
        """Shows them under their groups; the cursor stays where it is."""
        self._switches = {switch.name: switch for switch in switches}
        choices: list[Choice] = []
        for group, members in groupby(sorted(switches, key=lambda s: s.group), lambda s: s.group):
            heading = line((f" {f.one_line(group)}", "strong"))
            choices.append(Choice(f"group:{group}", heading, enabled=False))
            choices += [_choice(switch) for switch in members]
        self.query_one(Choices).show(choices)
        self._explain()

    def show_problem(self, problem: str) -> None:
        note = self.query_one(".note", Static)
        note.add_class("-problem")
        note.update(content(line(problem)))

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._explain()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_flip()

    def _explain(self) -> None:
        note = self.query_one(".note", Static)
        switch = self._switches.get(self.query_one(Choices).chosen or "")
        note.remove_class("-problem")
        note.update(content(line(f.one_line(switch.help) if switch else "")))

    def action_flip(self) -> None:
        switch = self._switches.get(self.query_one(Choices).chosen or "")
        if switch is not None:
            self.post_message(self.Set(switch.name, not switch.on))

    def action_close(self) -> None:
        self.dismiss(None)


def _choice(switch: Switch) -> Choice:
    box: Span = ("   [x] ", "ok") if switch.on else ("   [ ] ", "muted")
    return Choice(switch.name, line(box, (f.one_line(switch.name), "text")))
