"""What the present parser makes of an old output, beside what was sent then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest

from anyclaude.records import ToolCallRecord
from tui import format as f
from tui.beside import Column, beside
from tui.calls import pretty, verdict, what_happened
from tui.lines import Line, line, paragraphs

_NOTHING = "(nothing)"
_ROWS = 60


def reparse_lines(
    sent: Sequence[ToolCallRecord], now: Sequence[ToolCallRecord], width: int
) -> list[Line]:
    """Call by call, in order: what became of each then and now, and whether that differs."""
    if not sent and not now:
        return [line((" No tool call, neither then nor now.", "muted"), hang=1)]
    differ = sum(_differs(a, b) for a, b in zip_longest(sent, now))
    total = max(len(sent), len(now))
    lines = [
        line(
            (f" {differ} of {total} differ" if differ else f" The same {total}", "strong"),
            (
                " from what was sent; nothing was changed in the log."
                if differ
                else ", as they were sent.",
                "muted",
            ),
            hang=1,
        )
    ]
    for number, (before, after) in enumerate(zip_longest(sent, now), 1):
        lines += [Line(), *_pair(number, before, after, width)]
    return lines


def _differs(before: ToolCallRecord | None, after: ToolCallRecord | None) -> bool:
    if before is None or after is None:
        return True
    return (before.name, _value(before.final)) != (after.name, _value(after.final))


def _value(text: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def _pair(
    number: int, before: ToolCallRecord | None, after: ToolCallRecord | None, width: int
) -> list[Line]:
    call = after or before
    assert call is not None
    differs = _differs(before, after)
    lines = [
        line(
            (f" {number} ", "muted"),
            (f.one_line(call.name) or "?", "strong"),
            ("  differs" if differs else "  the same", "warn" if differs else "ok"),
            hang=3,
        )
    ]
    word, text = _side(before)
    sent = Column(f"as sent  {word}", paragraphs(text, "muted"))
    word, text = _side(after)
    lines += beside(sent, Column(f"as read now  {word}", paragraphs(text)), width, _ROWS)
    return [*lines, *(what_happened(after) if after is not None else ())]


def _side(call: ToolCallRecord | None) -> tuple[str, str]:
    if call is None:
        return "", _NOTHING
    word, _ = verdict(call)
    return word, pretty(call.final) if call.final else f"{_NOTHING}\n{call.raw.strip()}"
