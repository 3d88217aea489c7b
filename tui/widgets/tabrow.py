"""The names of an inspector's tabs in one row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from textual.content import Content
from textual.events import Click, Resize
from textual.message import Message

from tui.widgets.status import Row


def window(names: Sequence[str], current: str, width: int) -> range:
    """The names around the current one that fit in ``width`` cells, each with two beside it and
    a mark at each end where some are left out."""
    first = last = names.index(current)
    while True:
        wider = [(first, last + 1), (first - 1, last)]
        for low, high in wider:
            marks = 2 * (low > 0) + 2 * (high < len(names) - 1)
            size = sum(len(name) + 2 for name in names[max(low, 0) : high + 1]) + marks
            if low >= 0 and high < len(names) and size <= width:
                first, last = low, high
                break
        else:
            return range(first, last + 1)


class TabRow(Row):
    """The one on show stands out, a star says that a tab is being written."""

    class Picked(Message):
        """Someone clicked a tab's name."""

        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    def __init__(self, names: Sequence[str], streams: Collection[str], *, id: str) -> None:
        super().__init__(id=id)
        self._names = names
        self._streams = streams
        self._current, self._live = names[0], False
        self._made_of: tuple[str, bool, int] | None = None
        self._ends: list[tuple[int, str]] = []

    def sync(self, current: str, live: bool) -> None:
        self._current, self._live = current, live
        before, self._made_of = self._made_of, (current, live, self.size.width)
        if before == self._made_of:
            return
        shown = window(self._names, current, self.size.width or 80)
        parts: list[tuple[str, str]] = []
        self._ends = []
        if shown.start > 0:
            parts.append((" ‹", "$text-muted"))
            self._ends.append((2, self._names[shown.start - 1]))
        for tab in self._names[shown.start : shown.stop]:
            style = "bold $accent underline" if tab == current else "$text-muted"
            star = "*" if live and tab in self._streams else " "
            parts += [(" ", ""), (tab, style), (star, "$accent")]
            self._ends.append((sum(len(text) for text, _ in parts), tab))
        if shown.stop < len(self._names):
            parts.append(("› ", "$text-muted"))
            self._ends.append((self._ends[-1][0] + 2, self._names[shown.stop]))
        self.show(Content.assemble(*parts))

    def on_resize(self, event: Resize) -> None:
        self.sync(self._current, self._live)

    def places(self) -> Iterator[tuple[str, int]]:
        """Each name in sight and the cell where it begins."""
        at = 0
        for end, tab in self._ends:
            yield tab, at
            at = end

    def on_click(self, event: Click) -> None:
        for end, tab in self._ends:
            if event.x < end:
                self.post_message(self.Picked(tab))
                return
