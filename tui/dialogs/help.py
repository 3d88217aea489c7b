"""Every key, from the bindings themselves and the user's own keymap."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.screen import ModalScreen

from tui.keys import Section
from tui.lines import Line, line
from tui.resizing import skip_stale
from tui.widgets.foot import Foot
from tui.widgets.page import Page

_FILTER = (
    ("word", "anywhere in a request"),
    ("status: model:", "one field; also tool: cache: role: id:"),
    ("ttft>1 in>20k", "figures; also out, tps, time (seconds)"),
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
        lines += [Line(), line((" In the filter", "strong"))]
        for text, meaning in _FILTER:
            lines.append(line((f"   {text:<{_KEY_WIDTH}}", "accent"), meaning, hang=_KEY_WIDTH + 3))
        return lines

    def action_close(self) -> None:
        self.dismiss(None)
