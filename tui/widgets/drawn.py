"""What widgets of many lines share: a line is drawn once and kept until it says something else,
and their height changes without a layout of the whole screen.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.css.styles import RenderStyles
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.lines import TONES, Span, Tone

KEEP_LINES = 512
"""Drawn lines that are kept: some screens full."""

BAR = "▌"
TONE_CLASSES: set[str] = {f"tone--{tone}" for tone in TONES}


class Drawn(ScrollView, inherit_bindings=False):
    """Draws lines of spans. What was drawn is kept under the caller's key, which says all that
    the line depends on, until the stylesheet or the width is another."""

    COMPONENT_CLASSES: ClassVar[set[str]] = TONE_CLASSES

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._styled: tuple[RenderStyles | None, int] = (None, 0)
        self._styles_kept: dict[str, Style] = {}
        self._lines_kept: LRUCache[Hashable, Strip] = LRUCache(KEEP_LINES)

    def _renew_styles(self) -> None:
        """Forgets what was drawn otherwise than it would be now."""
        # Whenever the stylesheet is applied to a widget, these are made anew.
        styled = (self._component_styles.get("tone--text"), self.size.width)
        if styled[0] is not self._styled[0] or styled[1] != self._styled[1]:
            self._styled = styled
            self._styles_kept.clear()
            self._lines_kept.clear()

    def _style(self, name: str) -> Style:
        """The style of a component class; of none, the widget's own."""
        found = self._styles_kept.get(name)
        if found is None:
            found = self.get_component_rich_style(name) if name else self.rich_style
            self._styles_kept[name] = found
        return found

    def tone(self, tone: Tone) -> Style:
        return self._style(f"tone--{tone}")

    def blank(self) -> Strip:
        """A line with nothing on it."""
        self._renew_styles()
        return Strip.blank(self.size.width, self._style(""))

    def drawn(
        self, key: Hashable, spans: Callable[[], Sequence[Span]], under: str = "", bar: str = BAR
    ) -> Strip:
        """A line as wide as the widget. ``under`` is the component class of the cursor on it, and
        ``bar`` what then takes its first cell; both count as part of ``key``."""
        self._renew_styles()
        key = (key, under, bar)
        strip = self._lines_kept.get(key)
        if strip is None:
            strip = self._lines_kept[key] = self._draw(spans(), under, bar)
        return strip

    def _draw(self, spans: Sequence[Span], under: str, bar: str) -> Strip:
        behind = Style()
        if under:
            style = self._style(under)
            behind = Style(bgcolor=style.bgcolor, bold=style.bold or None)
        segments = [Segment(text, self.tone(tone) + behind) for text, tone in spans]
        if under and segments:
            first = segments[0]
            segments[0] = Segment(first.text[1:], first.style)
            segments.insert(0, Segment(bar, self.tone("pick") + behind))
        return Strip(segments).adjust_cell_length(self.size.width, self._style("") + behind)

    # ---------------------------------------------------------------------------- what changed

    def set_extent(self, width: int, rows: int) -> None:
        """How much there is to scroll over.

        The screen is laid out anew only where the scrollbar comes or goes, or where the widget
        is as high as what it shows; otherwise it is the scrollbar alone that changes.
        """
        before, extent = self.virtual_size, Size(width, rows)
        if extent == before:
            return
        height = self.container_size.height
        fixed = bool(height) and not self.styles.is_auto_height
        if not fixed or width != before.width or (before.height > height) != (rows > height):
            self.virtual_size = extent
            return
        self.set_reactive(Widget.virtual_size, extent)
        if self.show_vertical_scrollbar:
            self.vertical_scrollbar.window_virtual_size = rows
        self.scroll_y = min(self.scroll_y, self.max_scroll_y)

    def repaint(self, lines: Sequence[int]) -> None:
        """Has these lines of those in sight drawn again, counted from the top of the widget."""
        width, height = self.size
        if 2 * len(lines) > height:
            self.refresh()
        else:
            for y in lines:
                self.refresh(Region(0, y, width, 1))
