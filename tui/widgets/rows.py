"""A list with a cursor whose lines are drawn when they come in sight."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.message import Message
from textual.strip import Strip

from tui.lines import Line
from tui.widgets.drawn import TONE_CLASSES, Drawn


class Rows(Drawn, can_focus=True, inherit_bindings=False):
    """Draws ``count`` lines, none of which is wrapped; the first cell of each is the cursor's."""

    COMPONENT_CLASSES = TONE_CLASSES | {"rows--cursor", "rows--cursor-blurred"}
    DEFAULT_CSS = """
    Rows {
        background: $background;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
    }
    Rows .rows--cursor { background: $block-cursor-background; }
    Rows .rows--cursor-blurred { background: $block-cursor-blurred-background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", key_display="⏎", id="rows.open"),
        Binding("j,down", "move(1)", "Down", show=False, id="rows.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="rows.up"),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False, id="rows.pagedown"),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False, id="rows.pageup"),
        Binding("g,home", "first", "First", show=False, id="rows.first"),
        Binding("G,end", "last", "Last", show=False, id="rows.last"),
    ]

    class Moved(Message):
        """The cursor was moved by hand."""

    class Opened(Message):
        """Someone wants what the cursor is on."""

    class Sized(Message):
        """The list has another width."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._count = 0
        self._draw_line: Callable[[int], Line] = lambda index: Line()
        self._cursor = 0

    @property
    def room(self) -> int:
        """Cells of a line."""
        return self.scrollable_content_region.width

    @property
    def cursor(self) -> int | None:
        """The line with the cursor, ``None`` where there are no lines."""
        return self._cursor if self._count else None

    def show(self, count: int, draw: Callable[[int], Line], cursor: int) -> None:
        """Repaints; ``draw`` gives the line of an index."""
        self._count, self._draw_line = count, draw
        self.set_extent(self.room, count)
        moved = cursor != self._cursor
        self._cursor = max(0, min(count - 1, cursor))
        self.refresh()
        if moved:
            self._reveal()

    def on_resize(self, event: Resize) -> None:
        self.set_extent(self.room, self._count)
        self._reveal()
        self.post_message(self.Sized())

    def render_line(self, y: int) -> Strip:
        index = y + self.scroll_offset.y
        if index >= self._count:
            return self.blank()
        spans = self._draw_line(index).spans
        return self.drawn(spans, lambda: spans, self._cursor_class(index))

    def _cursor_class(self, index: int) -> str:
        if index != self._cursor:
            return ""
        return "rows--cursor" if self.has_focus else "rows--cursor-blurred"

    def _reveal(self) -> None:
        height, top = self.scrollable_content_region.height, self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif height and self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, force=True)

    # -------------------------------------------------------------------------------- by hand

    def _move_to(self, index: int) -> None:
        index = max(0, min(self._count - 1, index))
        if self._count and index != self._cursor:
            self.refresh_line(self._cursor)
            self._cursor = index
            self.refresh_line(index)
            self.post_message(self.Moved())
        self._reveal()

    def action_move(self, lines: int) -> None:
        self._move_to(self._cursor + lines)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.scrollable_content_region.height - 1))

    def action_first(self) -> None:
        self._move_to(0)

    def action_last(self) -> None:
        self._move_to(self._count - 1)

    def action_open(self) -> None:
        if self._count:
            self.post_message(self.Opened())

    def on_click(self, event: Click) -> None:
        index = event.y + self.scroll_offset.y
        if index < self._count:
            self._move_to(index)
            if event.chain > 1:
                self.action_open()

    def on_focus(self) -> None:
        self.refresh_line(self._cursor)

    def on_blur(self) -> None:
        self.refresh_line(self._cursor)
