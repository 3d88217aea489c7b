"""The difference of two prompts as lines to read: what is new, what is gone, the rest folded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tui.inspect.diff import Run, compare, shared_ends
from tui.inspect.text import parts, shown
from tui.lines import Line, Span, Tone, line

CONTEXT = 3
"""Unchanged lines shown on each side of a change."""

MOST = 2_000
"""Lines shown of one change."""

_LONG = 400  # characters of an unchanged line, and around the place where two lines part
_HEADING = re.compile(r"<\|[\w ]{1,40}\|>|<start_of_turn>|\[INST\]|── ")


@dataclass(frozen=True, slots=True)
class Changes:
    """Lines to show, and how many lines of the texts were added and removed.

    Each change begins at a line whose anchor is its number, counted from 0.
    """

    lines: tuple[Line, ...]
    added: int
    removed: int
    places: int


def changes(before: str, after: str) -> Changes:
    """Compares two prompts. Takes a while for big ones: not for the event loop."""
    old, new = (parts(text.removesuffix("\n")) for text in (before, after))
    runs = compare(old, new)
    digits = len(str(max(len(old), len(new))))
    pen = _Pen(old, new, digits)
    lines: list[Line] = []
    places = 0
    for index, run in enumerate(runs):
        if run.same:
            lines += pen.same(run, first=index == 0, last=index == len(runs) - 1)
        else:
            lines += pen.changed(run, str(places))
            places += 1
    differing = [run for run in runs if not run.same]
    return Changes(
        tuple(lines),
        sum(len(run.after) for run in differing),
        sum(len(run.before) for run in differing),
        places,
    )


class _Pen:
    """Writes runs as lines, numbers in front; those of what is gone are the old text's."""

    def __init__(self, old: Sequence[str], new: Sequence[str], digits: int) -> None:
        self._old, self._new = old, new
        self._digits = digits
        self._hang = digits + 4

    def same(self, run: Run, *, first: bool, last: bool) -> Iterator[Line]:
        """What both have: some lines beside the changes, and in place of the rest its number."""
        head = 0 if first else CONTEXT
        tail = 0 if last else CONTEXT
        hidden = len(run.after) - head - tail
        if hidden < 2:
            yield from map(self._context, run.after)
            return
        yield from map(self._context, run.after[:head])
        noun = f"{hidden:,} lines the same"
        folded: list[Span] = [(f"{'':{self._digits + 1}}   … {noun}", "muted")]
        if not last and (heading := self._heading(run.after[head : head + hidden])):
            folded.append((f"  {heading}", "accent"))
        yield line(*folded, hang=self._hang)
        yield from map(self._context, run.after[len(run.after) - tail :])

    def changed(self, run: Run, anchor: str) -> Iterator[Line]:
        """What is gone, then what is new; in lines that have a partner the rest stays pale."""
        paired = len(run.before) == len(run.after)
        for sign, places, texts, partners, others in (
            ("-", run.before, self._old, run.after, self._new),
            ("+", run.after, self._new, run.before, self._old),
        ):
            tone: Tone = "error" if sign == "-" else "ok"
            for place, index in enumerate(places[:MOST]):
                other = others[partners[place]] if paired else None
                spans = _marked(texts[index], other, tone)
                front: Span = (f" {index + 1:>{self._digits}} ", "muted")
                yield Line((front, (f"{sign} ", tone), *spans), self._hang, anchor)
                anchor = ""
            if len(places) > MOST:
                more = f"{'':{self._digits + 2}}{sign} … {len(places) - MOST:,} more lines"
                yield line((more, tone), hang=self._hang)

    def _context(self, index: int) -> Line:
        text = shown(self._new[index], _LONG)
        return Line(((f" {index + 1:>{self._digits}}   ", "muted"), (text, "text")), self._hang)

    def _heading(self, hidden: range) -> str:
        """The last line among those hidden that opens a turn."""
        for index in reversed(hidden[-MOST:]):
            if _HEADING.match(self._new[index]):
                return shown(self._new[index][:40])
        return ""


def _marked(text: str, other: str | None, tone: Tone) -> list[Span]:
    """The line with the part that differs from its partner standing out."""
    if other is None:
        return [(shown(text), tone)]
    head, tail = shared_ends(text, other)
    # Two lines with little in common are two lines, not one that changed.
    if 3 * (head + tail) < max(len(text), len(other)):
        return [(shown(text), tone)]
    lead, rest = text[:head], text[len(text) - tail :]
    before = "" if len(lead) <= _LONG else "… "
    spans: list[Span] = [
        (before + shown(lead[-_LONG:]), "text"),
        (shown(text[head : len(text) - tail]), tone),
        (shown(rest, _LONG), "text"),
    ]
    return [span for span in spans if span[0]]
