"""A result as a grid of cells: how wide each column is, and what stands in it.

Made once per result, on a thread; what is drawn of it is a slice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from anyclaude.records import SqlResult
from tui import format as f
from tui.calls import pretty
from tui.lines import Line, Span, Tone, line, paragraphs

WIDEST = 48
"""Cells of a column; a longer text is cut, and whole in the row's own view."""

_LOOK = 200
"""Characters of a text that can matter to a cell."""

_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as one line of plain text, and how it looks."""

    text: str
    width: int
    tone: Tone = "text"
    right: bool = False


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column: its name, the cells it takes from ``start`` on, and whether it holds figures."""

    name: str
    start: int
    width: int
    right: bool


@dataclass(frozen=True, slots=True)
class Grid:
    """A result ready to be drawn, one gap of two between the columns."""

    result: SqlResult
    columns: tuple[ResultColumn, ...] = ()
    cells: tuple[tuple[Cell, ...], ...] = ()

    @property
    def width(self) -> int:
        return self.columns[-1].start + self.columns[-1].width if self.columns else 0

    @property
    def height(self) -> int:
        return len(self.cells)


GAP = 2


def grid_of(result: SqlResult) -> Grid:
    """The cells of every row, and columns as wide as what they hold needs."""
    cells = tuple(tuple(cell(value) for value in row) for row in result.rows)
    columns: list[ResultColumn] = []
    at = 1
    for index, name in enumerate(result.columns):
        heading = f.one_line(name)
        widest = max((row[index].width for row in cells), default=0)
        width = max(1, min(WIDEST, max(cell_len(heading), widest)))
        values = [row[index] for row in cells if row[index].tone != "muted"]
        right = bool(values) and all(value.right for value in values)
        columns.append(ResultColumn(heading, at, width, right))
        at += width + GAP
    return Grid(result, tuple(columns), cells)


def cell(value: object) -> Cell:
    """Any value of a result on one line, harmless to a terminal."""
    match value:
        case None:
            return Cell("null", 4, "muted")
        case bool():
            return _cell(str(value).lower())
        case int():
            text = str(value)
            return Cell(text, len(text), right=True)
        case float():
            text = _float(value)
            return Cell(text, len(text), right=True)
        case str():
            return _cell(_plain(value))
        case _:
            return _cell(_plain(whole(value)))


def whole(value: object) -> str:
    """A value as text, all of it; an instant as people write it."""
    if isinstance(value, str):
        found = _INSTANT.fullmatch(value)
        return f"{found[1]} {found[2]}{found[3] or ''}" if found else value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _float(value: float) -> str:
    if value == round(value, 3) and abs(value) < 1e12:
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return f"{value:.3f}" if 1 <= abs(value) < 1e12 else f"{value:.6g}"


def _plain(text: str) -> str:
    found = _INSTANT.fullmatch(text[:_LOOK])
    if found and len(text) <= _LOOK:
        # Of an instant people want the second, and the rest when they look closer.
        return f"{found[1]} {found[2]}"
    cut = f.one_line(text[:_LOOK])
    return f"{cut}…" if len(text) > _LOOK else cut


def _cell(text: str) -> Cell:
    return Cell(text, len(text) if text.isascii() else cell_len(text))


def summary(result: SqlResult) -> str:
    """How many rows there are, and if there are more than that."""
    count = len(result.rows)
    if result.truncated:
        return f"{count:,} of more than {count:,} rows"
    return f"{count:,} row{'' if count == 1 else 's'}"


def row_lines(grid: Grid, row: int) -> list[Line]:
    """One row with a column per line, every value in full, JSON laid out."""
    names = [column.name for column in grid.columns]
    label = max((cell_len(name) for name in names), default=0) + 2
    label = min(label, 26)
    lines: list[Line] = []
    for name, value in zip(names, grid.result.rows[row], strict=True):
        pad = " " * max(1, label - cell_len(name))
        head: Span = (f" {name}{pad}", "muted")
        text = whole(value)
        if value is None:
            lines.append(line(head, ("null", "muted")))
        elif isinstance(value, str) and text[:1] in "[{" and (laid := pretty(text)) != text:
            lines += [line(head), *paragraphs(laid, "text", 3)]
        elif "\n" in text:
            lines += [line(head), *paragraphs(text, "text", 3)]
        else:
            lines.append(line(head, text, hang=label + 1))
    return lines


def row_json(result: SqlResult, row: int) -> str:
    """One row as an object, to be copied."""
    values = dict(zip(result.columns, result.rows[row], strict=True))
    return json.dumps(values, ensure_ascii=False, default=whole)


def position(columns: Sequence[ResultColumn], x: int) -> int:
    """The column drawn at cell ``x`` of the whole grid."""
    for index, column in enumerate(columns):
        if x < column.start + column.width + GAP:
            return index
    return max(0, len(columns) - 1)
