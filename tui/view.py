"""The filtered view of the store: which rows, where the cursor is, and whether it follows.

The cursor stands on a request, not on a line, so that filtering, trimming and resizing leave
it where it was. While frozen the rows are copies that no event touches.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import attrgetter

from tui.filters import Filter
from tui.request_row import RequestRow
from tui.state import Changes, Store

_seq = attrgetter("seq")


class ListView:
    """What the request list shows of a :class:`Store`; ``trimmed`` counts the lines that left it
    at the top because the store let go of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.rows: list[RequestRow] = list(store.rows.values())
        self.filter = Filter()
        self.errors_only = False
        self.follow = True
        self.frozen = False
        self.unseen = 0
        self.trimmed = 0
        self._cursor_seq: int | None = None
        self._still: list[RequestRow] = []

    @property
    def total(self) -> int:
        """Rows before filtering."""
        return len(self._still) if self.frozen else len(self._store.rows)

    @property
    def narrowed(self) -> bool:
        """True when a filter hides rows."""
        return bool(self.filter) or self.errors_only

    @property
    def cursor(self) -> int | None:
        """The line of the selected request, or of the nearest one after it."""
        if not self.rows:
            return None
        if self._cursor_seq is None:
            return len(self.rows) - 1
        return min(bisect_left(self.rows, self._cursor_seq, key=_seq), len(self.rows) - 1)

    @property
    def selected(self) -> RequestRow | None:
        line = self.cursor
        return None if line is None else self.rows[line]

    def update(self, changes: Changes) -> None:
        """Takes in a batch."""
        if self.frozen:
            self.unseen += len(changes.added)
            return
        self._trim()
        fresh = {row.id for row in changes.added}
        for row in (*changes.added, *(r for r in changes.changed.values() if r.id not in fresh)):
            if row.id not in self._store.rows:
                continue
            line = bisect_left(self.rows, row.seq, key=_seq)
            present = line < len(self.rows) and self.rows[line].seq == row.seq
            if self._wanted(row) == present:
                continue
            if present:
                del self.rows[line]
                continue
            insort(self.rows, row, key=_seq)
            if not self.follow and row.id in fresh:
                self.unseen += 1
        if self.follow:
            self._to_end()

    def set_filter(self, new: Filter) -> None:
        self.filter = new
        self.rebuild()

    def toggle_errors(self) -> None:
        self.errors_only = not self.errors_only
        self.rebuild()

    def toggle_follow(self) -> None:
        self.follow = not self.follow
        if self.follow:
            self._to_end()

    def toggle_freeze(self) -> None:
        self.frozen = not self.frozen
        self.unseen = 0
        self._still = [row.still() for row in self._store.rows.values()] if self.frozen else []
        self.rebuild()

    def rebuild(self) -> None:
        """Filters again: the store's rows, or the copies made when the view was frozen."""
        rows = self._still if self.frozen else self._store.rows.values()
        self.rows = [row for row in rows if self._wanted(row)]
        if self.follow and not self.frozen:
            self._to_end()

    def move(self, lines: int) -> None:
        """Moves the cursor; going up ends following."""
        line = self.cursor
        if line is None:
            return
        if lines < 0:
            self.follow = False
        self._select(max(0, min(len(self.rows) - 1, line + lines)))

    def to_first(self) -> None:
        self.follow = False
        if self.rows:
            self._select(0)

    def to_last(self) -> None:
        """The newest row, and following from there."""
        self.follow = True
        self._to_end()

    def select(self, request_id: str) -> bool:
        """Puts the cursor on a request, if the view shows it; following ends."""
        for line, row in enumerate(self.rows):
            if row.id == request_id:
                self.follow = False
                self._select(line)
                return True
        return False

    def select_line(self, line: int) -> None:
        """Puts the cursor on a line that someone clicked; following goes on at the last one."""
        if 0 <= line < len(self.rows):
            self.follow = self.follow and line == len(self.rows) - 1
            self._select(line)

    def _select(self, line: int) -> None:
        self._cursor_seq = self.rows[line].seq

    def _to_end(self) -> None:
        if not self.frozen:
            self.unseen = 0
        self._cursor_seq = self.rows[-1].seq if self.rows else None

    def _trim(self) -> None:
        oldest = next(iter(self._store.rows.values()), None)
        if oldest is not None and self.rows and self.rows[0].seq < oldest.seq:
            gone = bisect_left(self.rows, oldest.seq, key=_seq)
            del self.rows[:gone]
            self.trimmed += gone

    def _wanted(self, row: RequestRow) -> bool:
        if self.errors_only and not (row.failed or row.bad_calls):
            return False
        return self.filter.matches(row)
