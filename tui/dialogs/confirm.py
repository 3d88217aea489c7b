"""A question that is asked once: what will happen, yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen

from tui.lines import Line, line
from tui.resizing import skip_stale
from tui.widgets.foot import Foot
from tui.widgets.page import Page


class Confirm(ModalScreen[bool]):
    """Ends with True for yes. ``again`` is the key that asked: pressed twice, it means yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", "Yes", key_display="y", id="confirm.yes"),
        Binding("n,escape", "answer(False)", "No", key_display="n", id="confirm.no"),
    ]

    def __init__(self, title: str, lines: Sequence[Line], *, again: str = "") -> None:
        super().__init__()
        self._title = title
        self._text = lines
        if again:
            self._bindings.bind(again, "answer(True)", show=False)

    def compose(self) -> ComposeResult:
        with Vertical(id="confirm", classes="dialog") as box:
            box.border_title = Content(self._title)
            yield Page(id="confirm-text")
            yield Foot()

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)

    def on_mount(self) -> None:
        page = self.query_one(Page)
        page.can_focus = False
        self.query_one("#confirm").styles.height = len(self._text) + 5
        self.call_after_refresh(lambda: page.show([Line(), *self._text, line()], anew=True))

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)
