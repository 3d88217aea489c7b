"""The rows of the history with the days between them."""

from __future__ import annotations

from textual.message import Message

from tui.history import RequestPages, SessionPages, request_line
from tui.lines import Line, fit, line
from tui.request_row import RequestRow
from tui.sessions import session_line
from tui.widgets.rows import Rows


class PastRows(Rows):
    """Draws pages of requests or of sessions; the cursor skips what is no row."""

    class Scrolled(Message):
        """Another part is in sight, by whatever means."""

    def __init__(self) -> None:
        super().__init__(id="past-rows")
        self._pages: RequestPages | SessionPages | None = None

    @property
    def last_line(self) -> int:
        """The last line in sight."""
        return self.scroll_offset.y + self.scrollable_content_region.height

    def show_pages(self, pages: RequestPages | SessionPages) -> None:
        """Repaints, from these pages from now on."""
        other, self._pages = self._pages is not pages, pages
        self.show(pages.height, self._line, pages.line)
        if other:
            self._reveal()

    def _line(self, index: int) -> Line:
        assert self._pages is not None, "lines are drawn once there are pages"
        found = self._pages.at(index)
        if isinstance(found, str):
            last = index == self._pages.height - 1
            return ending_line(found, self.room) if last else day_line(found, self.room)
        if isinstance(found, RequestRow):
            return request_line(found, self.room)
        return session_line(found, self.room)

    def _move_to(self, index: int) -> None:
        pages = self._pages
        if pages is None or not pages.rows:
            return
        index = max(0, min(pages.height - 1, index))
        step = 1 if index >= pages.line else -1
        row = pages.row_at(index)
        while row is None and 0 < index < pages.height - 1:
            index += step
            row = pages.row_at(index)
        if row is None:
            row = 0 if index <= 0 else len(pages.rows) - 1
        pages.cursor = row
        super()._move_to(pages.line)

    def _reveal(self) -> None:
        """The day above the first row of all comes in sight with it."""
        super()._reveal()
        if self._pages is not None and self._pages.cursor == 0:
            self.scroll_to(y=0, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Scrolled())


def day_line(day: str, width: int) -> Line:
    """The heading of a day."""
    room = max(0, width - len(day) - 6)
    return line((" ── ", "muted"), (day, "accent"), (" " + "─" * room, "muted"))


def ending_line(words: str, width: int) -> Line:
    """What stands below the last row."""
    return line((fit(f"   {words}", width), "muted"))
