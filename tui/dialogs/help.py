"""Every key, from the bindings themselves and the user's own keymap."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.screen import ModalScreen

from tui.columns import MARKS
from tui.filters import FIELDS, FIGURES
from tui.keys import Section
from tui.lines import Line, line
from tui.resizing import skip_stale
from tui.widgets.foot import Foot
from tui.widgets.page import Page

_FILTER = (
    ("word", "anywhere in a request"),
    ("status: model:", f"one field; also {' '.join(f'{name}:' for name in FIELDS[2:])}"),
    ("ttft>1 in>20k", f"a figure; also {', '.join(FIGURES[2:])}; times in seconds"),
    ("!term", "everything but"),
)
_KEY_WIDTH = 15


class Help(ModalScreen[None]):
    """Lists the sections it is given; any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "close", "Close", key_display="esc", id="help.close"),
    ]

    def __init__(self, sections: tuple[Section, ...]) -> None:
        super().__init__()
        self._sections = sections

    def compose(self) -> ComposeResult:
        with Vertical(id="help", classes="dialog") as box:
            box.border_title = "Keys"
            yield Page(id="help-text")
            yield Foot()

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)

    def on_mount(self) -> None:
        page = self.query_one(Page)
        page.focus()
        self.call_after_refresh(lambda: page.show(self._text(), anew=True))

    def _text(self) -> list[Line]:
        lines: list[Line] = []
        for section in self._sections:
            lines += [Line(), line((f" {section.title}", "strong"))]
            lines += [
                line((f"   {entry.keys:<{_KEY_WIDTH}}", "accent"), entry.help, hang=_KEY_WIDTH + 3)
                for entry in section.entries
            ]
        for title, entries in ((" Marks before a request", MARKS), (" In the filter", _FILTER)):
            lines += [Line(), line((title, "strong"))]
            lines += [
                line((f"   {text:<{_KEY_WIDTH}}", "accent"), meaning, hang=_KEY_WIDTH + 3)
                for text, meaning in entries
            ]
        return lines

    def action_close(self) -> None:
        self.dismiss(None)
