"""A scrollable page of lines, drawn row by row, that stays quick with a megabyte of text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Resize
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.lines import Line, Span, wrap
from tui.widgets.drawn import Drawn
from tui.widgets.place import Hand

SLICE = 4_000
"""Rows wrapped in one go; the keys get their turn before the next ones."""


class Frame:
    """The title and subtitle of a pane's border."""

    def __init__(self, pane: Widget) -> None:
        self._pane = pane
        self._shown = ("", "")

    def show(self, title: str, subtitle: str = "") -> None:
        """Sets both, as plain text, when they are not what is there already."""
        (old_title, old_subtitle), self._shown = self._shown, (title, subtitle)
        if title != old_title:
            self._pane._border_title = _one_line(title)
            self._repaint_border(0)
        if subtitle != old_subtitle:
            self._pane._border_subtitle = _one_line(subtitle)
            self._repaint_border(self._pane.outer_size.height - 1)

    def _repaint_border(self, row: int) -> None:
        """Repaints one row of the border. What Textual offers for titles repaints the whole pane
        with all that is in it, and the figures in them change many times a second."""
        pane = self._pane
        left, top = pane.content_offset
        pane.refresh(Region(-left, row - top, pane.outer_size.width, 1))


def _one_line(text: str) -> Content:
    return Content(text).expand_tabs(4).split()[0]


class Page(Drawn, can_focus=True, inherit_bindings=False):
    """Shows lines wrapped to its width. Unchanged lines keep their rows between updates."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", "Down", show=False, id="page.down"),
        Binding("k,up", "scroll_up", "Up", show=False, id="page.up"),
        Binding("pagedown,ctrl+f", "page_down", "Page down", show=False, id="page.pagedown"),
        Binding("pageup,ctrl+b", "page_up", "Page up", show=False, id="page.pageup"),
        Binding("g,home", "scroll_home", "Top", show=False, id="page.home"),
        Binding("G,end", "scroll_end", "Bottom", show=False, id="page.end"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._entries: Sequence[Line] = ()
        self._rows: list[tuple[Span, ...]] = []
        self._starts: list[int] = []
        self._wrapped_at = 0
        self._more = False
        self._hand = Hand()
        self._place = (0, 0.0)
        self._resized = False

    @property
    def lines(self) -> Sequence[Line]:
        return self._entries

    def on_resize(self, event: Resize) -> None:
        self._hand.resized(self.size)
        self._resized = True
        if self._wrapped_at != self._room:
            self._wrap((), upto=self._place[0] + 1)
        self._to_place()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._hand.moved(self.size, new_value):
            self._resized = False
            self._place = self._place_of(round(new_value))

    def _place_of(self, row: int) -> tuple[int, float]:
        """The line at this row, and how far into its rows that is."""
        index = max(0, bisect_right(self._starts, row) - 1)
        if index >= len(self._starts):
            return 0, 0.0
        return index, (row - self._starts[index]) / max(1, self._height(index))

    def _height(self, index: int) -> int:
        starts = self._starts
        end = starts[index + 1] if index + 1 < len(starts) else len(self._rows)
        return end - starts[index]

    def _to_place(self) -> None:
        """Scrolls to what a person had at the top, however many rows it is down there now."""
        index, part = self._place
        if index < len(self._starts):
            row = self._starts[index] + round(part * self._height(index))
            self.scroll_to(y=self._hand.puts(row), animate=False, force=True)

    def show(self, lines: Sequence[Line], *, anew: bool, tail: bool = False) -> None:
        """Replaces the lines. ``anew``: other content, so back to the top, or with ``tail`` to
        the end; otherwise the place is kept, and the end stays in sight if it was."""
        at_end = self.scroll_offset.y >= self.max_scroll_y
        before, self._entries = self._entries, tuple(lines)
        if before == self._entries and not anew and self._wrapped_at == self._room:
            return
        kept = before if self._wrapped_at == self._room else ()
        self._wrap(kept, upto=len(self._entries) if tail else self._place[0] + 1)
        if anew and not tail:
            self._place = (0, 0.0)
            self.scroll_to(y=0, animate=False, force=True)
        elif tail and (anew or at_end):
            # Forced, since the scrollbar only knows of the new rows after a layout.
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)
        elif self._resized:
            self._to_place()

    def reveal(self, anchor: str) -> None:
        """Scrolls so that the line with this anchor is in sight."""
        for index, entry in enumerate(self._entries):
            if entry.anchor == anchor and index < len(self._starts):
                top = self._starts[index]
                if not self.scroll_offset.y <= top < self.scroll_offset.y + self.size.height - 2:
                    self.scroll_to(y=max(0, top - 1), animate=False, force=True)
                return

    def anchor_at(self, y: int) -> str:
        """The anchor of the line drawn at row ``y`` of the widget, or of the one before it."""
        row = y + self.scroll_offset.y
        found = ""
        for entry, start in zip(self._entries, self._starts, strict=False):
            if start > row:
                break
            found = entry.anchor or found
        return found

    def render_line(self, y: int) -> Strip:
        row = y + self.scroll_offset.y
        spans = self._rows[row] if row < len(self._rows) else ()
        return self.drawn(spans, lambda: spans)

    @property
    def _room(self) -> int:
        return self.scrollable_content_region.width

    def to_anchor(self, step: int) -> None:
        """Scrolls to the next line with an anchor below the top, or with -1 above it."""
        now = self.scroll_offset.y
        places = [
            start - 1
            for entry, start in zip(self._entries, self._starts, strict=False)
            if entry.anchor
        ]
        found = [y for y in places if (y > now if step > 0 else y < now)]
        if found:
            self.scroll_to(y=found[0] if step > 0 else found[-1], animate=False, force=True)

    def _wrap(self, before: Sequence[Line], *, upto: int = 0) -> None:
        """Rows of all lines; those of a common beginning with ``before`` are kept.

        Of a long text the first ``upto`` lines are there at once, the rest follows in slices.
        """
        width = self._room
        if width <= 0:
            return
        same = 0
        for old, new in zip(before, self._entries, strict=False):
            if old is not new and old != new:
                break
            same += 1
        seen = self._in_sight()
        self._rows = self._rows[: self._starts[same]] if same < len(self._starts) else self._rows
        self._starts = self._starts[:same]
        self._wrapped_at = width
        self._wrap_on(seen, upto)

    def _in_sight(self) -> list[tuple[Span, ...]]:
        """The rows there is room for, from the one at the top on."""
        top, height = self.scroll_offset.y, self.size.height
        rows = self._rows[top : top + height]
        return rows + [()] * (height - len(rows))

    def _wrap_on(self, seen: Sequence[tuple[Span, ...]], upto: int = 0) -> None:
        """Wraps a slice of rows, but at least so many lines, and comes back for the rest; what
        then looks otherwise than in ``seen`` is repainted."""
        rows, starts, width = self._rows, self._starts, self._wrapped_at
        end = len(rows) + SLICE
        for entry in self._entries[len(starts) :]:
            if len(rows) >= end and len(starts) >= upto:
                break
            starts.append(len(rows))
            rows += wrap(entry, width)
        self.set_extent(width, len(rows))
        pairs = enumerate(zip(seen, self._in_sight(), strict=True))
        self.repaint([y for y, (old, new) in pairs if old is not new and old != new])
        if len(starts) < len(self._entries) and not self._more:
            self._more = True
            self.call_later(self._wrap_rest)

    def _wrap_rest(self) -> None:
        self._more = False
        self._wrap_on(self._in_sight())
