"""A result as a table that draws only what is in sight, whatever its size."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from anyclaude.records import SqlResult
from tui.lines import Tone, fit
from tui.sql.grid import Grid, ResultColumn, position
from tui.widgets.drawn import TONE_CLASSES

_NOTHING = Grid(SqlResult((), ()))


class ResultTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows and columns under a heading that stays; the cursor is on a cell."""

    COMPONENT_CLASSES = TONE_CLASSES | {"result--row", "result--cell", "result--blurred"}
    DEFAULT_CSS = """
    ResultTable {
        background: $background;
        overflow-x: auto;
        overflow-y: auto;
        scrollbar-size: 1 1;
        scrollbar-gutter: stable;
    }
    ResultTable .result--row { background: $block-cursor-blurred-background; }
    ResultTable .result--cell { background: $block-cursor-background; text-style: bold; }
    ResultTable .result--blurred { background: $block-cursor-blurred-background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Whole row", key_display="⏎", id="result.open"),
        Binding("y", "copy", "Copy cell", tooltip="Copy the cell", id="result.copy"),
        Binding("Y", "copy_row", "Copy row", tooltip="Copy the row as JSON", id="result.copy_row"),
        Binding("j,down", "move(1, 0)", "Down", show=False, id="result.down"),
        Binding("k,up", "move(-1, 0)", "Up", show=False, id="result.up"),
        Binding("h,left", "move(0, -1)", "Left", show=False, id="result.left"),
        Binding("l,right", "move(0, 1)", "Right", show=False, id="result.right"),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False, id="result.pagedown"),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False, id="result.pageup"),
        Binding("g,ctrl+home", "edge(-1, 0)", "First row", show=False, id="result.first"),
        Binding("G,ctrl+end", "edge(1, 0)", "Last row", show=False, id="result.last"),
        Binding("home,0", "edge(0, -1)", "First column", show=False, id="result.home"),
        Binding("end,dollar_sign", "edge(0, 1)", "Last column", show=False, id="result.end"),
    ]

    class Opened(Message):
        """Someone wants the whole row."""

    class Copied(Message):
        """Someone wants the cell, or the row, in the clipboard."""

        def __init__(self, *, row: bool) -> None:
            super().__init__()
            self.row = row

    def __init__(self) -> None:
        super().__init__(id="sql-result")
        self.grid_shown = _NOTHING
        self.row = 0
        self.column = 0

    def show(self, grid: Grid) -> None:
        """Another result; the cursor goes to its first cell."""
        self.grid_shown, self.row, self.column = grid, 0, 0
        self.virtual_size = self._whole()
        self.scroll_to(0, 0, animate=False, force=True)
        self.refresh()

    def _whole(self) -> Size:
        # One more row than there are: the heading lies over the first one.
        return Size(self.grid_shown.width + 1, self.grid_shown.height + 1)

    def on_resize(self, event: Resize) -> None:
        self._reveal()

    # -------------------------------------------------------------------------------- drawing

    def render_line(self, y: int) -> Strip:
        grid, (x, top) = self.grid_shown, self.scroll_offset
        width = self.size.width
        row = y + top - 1
        if not grid.columns or row >= grid.height:
            text = " No rows." if grid.columns and not grid.height and y == 1 else ""
            segments = [Segment(fit(text, width), self._tone("muted"))]
            return Strip(segments).apply_style(self.rich_style)
        chosen = y > 0 and row == self.row
        under = self._background("result--row") if chosen else Style()
        segments = [Segment(" ", under)]
        if chosen and self.has_focus:
            segments = [Segment("▌", self._tone("pick") + under)]
        at = 1
        for index, column in enumerate(grid.columns):
            if column.start > at:
                segments.append(Segment(" " * (column.start - at), under))
            if y == 0:
                segments.append(self._heading(column, index))
            else:
                segments.append(self._cell(row, index, under))
            at = column.start + column.width
        strip = Strip(segments).adjust_cell_length(max(at, x + width), self.rich_style + under)
        return strip.crop(x, x + width).apply_style(self.rich_style)

    def _heading(self, column: ResultColumn, index: int) -> Segment:
        tone: Tone = "accent" if index == self.column and self.has_focus else "muted"
        return Segment(fit(column.name, column.width, right=column.right), self._tone(tone))

    def _cell(self, row: int, index: int, under: Style) -> Segment:
        column, cell = self.grid_shown.columns[index], self.grid_shown.cells[row][index]
        style = self._tone(cell.tone) + under
        if row == self.row and index == self.column and self.has_focus:
            style += self._background("result--cell")
        return Segment(fit(cell.text, column.width, right=column.right), style)

    def _tone(self, tone: Tone) -> Style:
        return self.get_component_rich_style(f"tone--{tone}")

    def _background(self, name: str) -> Style:
        style = self.get_component_rich_style(name)
        return Style(bgcolor=style.bgcolor, bold=style.bold)

    # -------------------------------------------------------------------------------- by hand

    def _go(self, row: int, column: int) -> None:
        self.row = max(0, min(self.grid_shown.height - 1, row))
        self.column = max(0, min(len(self.grid_shown.columns) - 1, column))
        self._reveal()
        self.refresh()

    def _reveal(self) -> None:
        """Brings the cell in sight; a wide one by its beginning."""
        grid, region = self.grid_shown, self.scrollable_content_region
        if not grid.cells or not region.width:
            return
        x, y = self.scroll_offset
        column = grid.columns[self.column]
        right = column.start + column.width + 1
        if self.column == 0:
            x = 0
        elif column.start - 1 < x or column.width >= region.width:
            x = column.start - 1
        elif right > x + region.width:
            x = right - region.width
        y = max(min(y, self.row), self.row + 2 - region.height)
        if (x, y) != self.scroll_offset:
            self.scroll_to(x, y, animate=False, force=True)

    def action_move(self, rows: int, columns: int) -> None:
        self._go(self.row + rows, self.column + columns)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.scrollable_content_region.height - 2), 0)

    def action_edge(self, rows: int, columns: int) -> None:
        ends = {-1: 0, 0: self.row, 1: self.grid_shown.height}
        sides = {-1: 0, 0: self.column, 1: len(self.grid_shown.columns)}
        self._go(ends[rows], sides[columns])

    def action_open(self) -> None:
        if self.grid_shown.cells:
            self.post_message(self.Opened())

    def action_copy(self) -> None:
        if self.grid_shown.cells:
            self.post_message(self.Copied(row=False))

    def action_copy_row(self) -> None:
        if self.grid_shown.cells:
            self.post_message(self.Copied(row=True))

    def on_click(self, event: Click) -> None:
        x, top = self.scroll_offset
        row = event.y + top - 1
        if event.y > 0 and row < self.grid_shown.height:
            self._go(row, position(self.grid_shown.columns, event.x + x))
            if event.chain > 1:
                self.action_open()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()
