"""One row of a result, every column on a line of its own and in full."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen

from tui.resizing import skip_stale
from tui.sql.grid import Grid, row_json, row_lines
from tui.widgets.foot import Foot
from tui.widgets.page import Page


class RowView(ModalScreen[None], inherit_bindings=False):
    """Shows a row; its neighbours are a key away."""

    DEFAULT_CSS = """
    RowView { align: center middle; }
    RowView > Vertical { width: 110; height: 90%; }
    RowView Page { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n,right", "turn(1)", "Next row", key_display="→", id="row.next"),
        Binding("p,left", "turn(-1)", "Row before", key_display="←", id="row.previous"),
        Binding("y", "copy", "Copy", tooltip="Copy the row as JSON", id="row.copy"),
        Binding("escape,enter,q", "close", "Close", key_display="esc", id="row.close"),
    ]

    def __init__(self, grid: Grid, row: int, copy: Callable[[str, str], None]) -> None:
        super().__init__()
        self._grid = grid
        self._row = row
        self._copy = copy

    def compose(self) -> ComposeResult:
        with Vertical(id="row-view", classes="dialog"):
            yield Page(id="row-text")
            yield Foot()

    def on_mount(self) -> None:
        self.query_one(Page).focus()
        self.call_after_refresh(self._show)

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)

    def _show(self) -> None:
        title = f"Row {self._row + 1:,} of {self._grid.height:,}"
        self.query_one("#row-view").border_title = Content(title)
        self.query_one(Page).show(row_lines(self._grid, self._row), anew=True)

    def action_turn(self, step: int) -> None:
        self._row = max(0, min(self._grid.height - 1, self._row + step))
        self._show()

    def action_copy(self) -> None:
        self._copy(row_json(self._grid.result, self._row), "the row as JSON")

    def action_close(self) -> None:
        self.dismiss(None)
