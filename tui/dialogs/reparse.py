"""The tool calls of a request as the present parser reads them, beside what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen

from anyclaude.records import ToolCallRecord
from tui.lines import line
from tui.reparse import reparse_lines
from tui.resizing import skip_stale
from tui.widgets.foot import Foot
from tui.widgets.page import Page


class Reparse(ModalScreen[None], inherit_bindings=False):
    """Opens at once and shows what it is handed when it comes."""

    DEFAULT_CSS = """
    Reparse { align: center middle; }
    Reparse > Vertical { width: 96%; height: 90%; max-width: 140; }
    Reparse Page { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,A,q", "close", "Close", key_display="esc", id="reparse.close"),
    ]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name_shown = name
        self._calls: tuple[Sequence[ToolCallRecord], Sequence[ToolCallRecord]] | None = None
        self._problem = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(f"Parse {self._name_shown} again")
            yield Page()
            yield Foot()

    def on_mount(self) -> None:
        self.query_one(Page).focus()
        self.call_after_refresh(self._show)

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)
        self.call_after_refresh(self._show)

    def show_calls(self, sent: Sequence[ToolCallRecord], now: Sequence[ToolCallRecord]) -> None:
        """The calls as they were, and as they are read now."""
        self._calls = (sent, now)
        self.call_after_refresh(self._show)

    def show_problem(self, problem: str) -> None:
        self._problem = problem
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        page = self.query_one(Page)
        if self._problem:
            page.show([line((f" {self._problem}", "error"), hang=1)], anew=False)
        elif self._calls is None:
            page.show([line((" Parsing…", "muted"))], anew=False)
        else:
            width = page.scrollable_content_region.width or 80
            page.show(reparse_lines(*self._calls, width), anew=False)

    def action_close(self) -> None:
        self.dismiss(None)
