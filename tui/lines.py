"""Text as styled lines, and their wrapping to a width.

Panes and inspector tabs are functions that return lines; one widget draws them. A line is a
run of spans, each with the name of a tone that the stylesheet gives a colour to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from rich.cells import cell_len, get_character_cell_size

from tui.clean import LONGEST_LINE, clean

Tone: TypeAlias = Literal[
    "text", "muted", "strong", "accent", "ok", "warn", "error", "run", "think", "pick"
]
TONES: tuple[Tone, ...] = get_args(Tone)
Span: TypeAlias = tuple[str, Tone]

_TAB = "    "
# One cell each, so that most lines need no look at every character.
_NARROW = re.compile(
    "[\x20-\x7e\xa0-\xac\xae-\u02ff\u0370-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e\u2500-\u257f]*"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line before wrapping; what is wrapped goes on ``hang`` cells from the left."""

    spans: tuple[Span, ...] = ()
    hang: int = 0
    anchor: str = ""

    @property
    def plain(self) -> str:
        return "".join(text for text, _ in self.spans)


def line(*spans: Span | str, hang: int = 0, anchor: str = "") -> Line:
    """A line of spans; a bare string is ordinary text. Everything is made harmless here."""
    pairs: list[Span] = [(s, "text") if isinstance(s, str) else s for s in spans]
    return Line(
        tuple((clean(text).replace("\t", _TAB).replace("\n", "␊"), tone) for text, tone in pairs),
        hang,
        anchor,
    )


def paragraphs(text: str, tone: Tone = "text", indent: int = 0) -> list[Line]:
    """Foreign text of any shape, one line per line of it."""
    pad = " " * indent
    return [Line(((pad + part.expandtabs(4), tone),), indent) for part in clean(text).split("\n")]


LABEL = 11
"""Cells that a label takes in front of what it names."""


def labelled(label: str, *spans: Span | str) -> Line:
    """A line that begins with its name, in a column of names."""
    return line((f" {label:<{LABEL - 1}}", "muted"), *spans, hang=LABEL)


def meter(fraction: float, width: int) -> tuple[Span, Span]:
    """A bar of ``width`` cells: the part that is reached, and the rest."""
    full = round(max(0.0, min(1.0, fraction)) * width)
    return ("━" * full, "run"), ("─" * (width - full), "muted")


def plain_text(lines: Iterable[Line]) -> str:
    """The lines without tones, as they are copied."""
    return "\n".join(entry.plain.rstrip() for entry in lines)


def wrap(entry: Line, width: int) -> list[tuple[Span, ...]]:
    """The rows of at most ``width`` cells that a line takes, broken at spaces where it can."""
    text = entry.plain
    if len(text) <= width and (text.isascii() or cell_len(text) <= width):
        return [entry.spans]
    hang = entry.hang if entry.hang < width // 2 else 0
    rows: list[tuple[Span, ...]] = []
    start = 0
    while start < len(text):
        room = width - (hang if rows else 0)
        end, following = _break(text, start, max(1, room))
        piece = _cut(entry.spans, start, end)
        rows.append(((" " * hang, "text"), *piece) if rows and hang else piece)
        start = following
    return rows


def _break(text: str, start: int, width: int) -> tuple[int, int]:
    """Where a row that begins at ``start`` ends, and where the next one begins."""
    end = _fit(text, start, width)
    if end >= len(text):
        return len(text), len(text)
    space = text.rfind(" ", start, end + 1)
    # A break that would leave the row mostly empty is worse than a cut word.
    if space > start and space - start >= width // 3 and text[start:space].strip():
        return space, space + 1
    return end, end


def _fit(text: str, start: int, width: int) -> int:
    """Where ``width`` cells from ``start`` on end; what has no width of its own comes along."""
    if _NARROW.fullmatch(text, start, start + width):
        end = min(start + width, len(text))
        while end < len(text) and text[end] > "\u02ff" and not get_character_cell_size(text[end]):
            end += 1
        return end
    cells = 0
    for offset in range(start, len(text)):
        cells += get_character_cell_size(text[offset])
        if cells > width:
            return max(offset, start + 1)
    return len(text)


def _cut(spans: Sequence[Span], start: int, end: int) -> tuple[Span, ...]:
    """The part of the spans between two character offsets."""
    found: list[Span] = []
    at = 0
    for text, tone in spans:
        low, high = max(start - at, 0), min(end - at, len(text))
        if low < high:
            found.append((text[low:high], tone))
        at += len(text)
        if at >= end:
            break
    return tuple(found)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """``text`` in exactly ``width`` cells: made harmless, cut with an ellipsis, or padded."""
    text = text[:LONGEST_LINE]
    if not (text.isascii() and text.isprintable()):
        text = clean(text).replace("\t", " ").replace("\n", "␊")
    cells = len(text) if text.isascii() else cell_len(text)
    if cells > width:
        end = _fit(text, 0, width - 1) if width > 1 else 0
        # A first character that is too wide by itself goes altogether.
        end = end if cell_len(text[:end]) < width else 0
        text = text[:end] + "…"[:width]
        cells = cell_len(text)
    pad = " " * (width - cells)
    return pad + text if right else text + pad
