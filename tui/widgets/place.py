"""Telling where a person scrolled to from where a resize made something scroll."""

from __future__ import annotations

from textual.geometry import Size


class Hand:
    """Watches the scrolling of one widget. What a resize does is no choice of anybody's, and is
    taken back when there is room again."""

    def __init__(self) -> None:
        self._size: Size | None = None
        self._put: int | None = None

    def resized(self, size: Size) -> None:
        """The widget has this size now."""
        self._size = size

    def puts(self, y: int) -> int:
        """Notes that the widget itself scrolls to ``y``, which is no one's choice either."""
        self._put = y
        return y

    def moved(self, size: Size, y: float) -> bool:
        """Whether a scroll to ``y`` was by hand; ``size`` is the widget's."""
        if size != self._size or round(y) == self._put:
            return False
        self._put = None
        return True
