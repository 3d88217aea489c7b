"""Two texts beside each other where there is room, else one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

from rich.cells import cell_len

from tui.lines import Line, Span, fit, line, wrap

SIDE_BY_SIDE = 72
"""Cells from which on two texts stand beside each other."""

ROWS = 12
"""Rows of each of the two in a narrow pane, if not told otherwise; a wide one shows three times
as many."""

_PAD = "   "


@dataclass(frozen=True, slots=True)
class Column:
    """A text and what stands above it."""

    title: str
    text: Sequence[Line]


def beside(one: Column, other: Column, width: int, rows: int = ROWS) -> list[Line]:
    """Both texts, each cut to ``rows`` with the number of those left out."""
    if width < SIDE_BY_SIDE:
        return [*_below(one, rows), *_below(other, rows)]
    room = (width - 2 * len(_PAD)) // 2
    left, right = (_wrapped(column.text, room) for column in (one, other))
    lines = [line((f"{_PAD}{fit(one.title, room)} │ {other.title}", "strong"))]
    for first, second in islice(zip_longest(left, right, fillvalue=()), 3 * rows):
        gap = " " * (room - cell_len("".join(text for text, _ in first)))
        bar: Span = (f"{gap} │ ", "muted")
        lines.append(Line(((_PAD, "text"), *first, bar, *second)))
    hidden = max(len(left), len(right)) - 3 * rows
    return [*lines, _more(hidden)] if hidden > 0 else lines


def _wrapped(text: Sequence[Line], width: int) -> list[tuple[Span, ...]]:
    return [row for entry in text for row in wrap(entry, width)]


def _below(column: Column, rows: int) -> list[Line]:
    lines = [line((f"{_PAD}{column.title}", "strong"))]
    lines += [Line(((_PAD, "text"), *entry.spans), len(_PAD)) for entry in column.text[:rows]]
    hidden = len(column.text) - rows
    return [*lines, _more(hidden)] if hidden > 0 else lines


def _more(count: int) -> Line:
    return line((f"{_PAD}… {count} more lines", "muted"))
