"""A session of the history: what it asked for and what it was spared, and the line that says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tui import format as f
from tui.lines import Line, Span, fit, line


@dataclass(frozen=True, slots=True)
class SessionRow:
    """What a session asked for and what it was spared. Times are Unix seconds."""

    id: str
    first_at: float
    at: float
    requests: int
    prompt_tokens: int
    output_tokens: int
    reused_tokens: int
    saved_ms: float
    errors: int
    model: str


def session_of(values: Sequence[object]) -> SessionRow:
    """A row of :func:`tui.history_sql.sessions_sql`."""
    id, first, last, count, prompt, output, reused, saved, errors, model = values
    return SessionRow(
        str(id or ""),
        _number(first) / 1_000_000,
        _number(last) / 1_000_000,
        int(_number(count)),
        int(_number(prompt)),
        int(_number(output)),
        int(_number(reused)),
        _number(saved),
        int(_number(errors)),
        str(model or ""),
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    width: int
    cell: Callable[[SessionRow], Span]
    least: int = 0


def _errors(row: SessionRow) -> Span:
    return (str(row.errors), "error") if row.errors else ("-", "muted")


def _hits(row: SessionRow) -> Span:
    share = f.percent(row.reused_tokens, row.prompt_tokens)
    return share, "ok" if row.reused_tokens * 2 >= row.prompt_tokens > 0 else "text"


def _saved(row: SessionRow) -> Span:
    return (f.span(row.saved_ms / 1000), "ok") if row.saved_ms >= 500 else ("-", "muted")


_SESSION_COLUMNS = (
    _Column("FIRST", 8, lambda s: (_first(s), "muted"), 72),
    _Column("LAST", 5, lambda s: (f.clock(s.at)[:5], "muted")),
    _Column("SPAN", 6, lambda s: (_span(s.at - s.first_at), "text"), 60),
    _Column("REQ", 5, lambda s: (f.count(s.requests), "text")),
    _Column("IN", 5, lambda s: (f.count(s.prompt_tokens), "text")),
    _Column("OUT", 5, lambda s: (f.count(s.output_tokens), "text"), 50),
    _Column("HIT", 4, _hits),
    _Column("SAVED", 6, _saved, 44),
    _Column("ERR", 4, _errors),
)
_WIDE_ID = 36


def _span(value: float) -> str:
    hours = round(value / 3600)
    return f.span(value) if hours < 48 else f"{hours // 24}d{hours % 24:02d}h"


def _first(row: SessionRow) -> str:
    """The clock, or of a session that began on another day how long ago that was."""
    days = time.localtime(row.at).tm_yday - time.localtime(row.first_at).tm_yday
    if days == 0:
        return f.clock(row.first_at)[:5]
    return time.strftime("%d %b", time.localtime(row.first_at))


def _shown(width: int) -> tuple[list[_Column], int, int]:
    """The columns that fit, and what is left for the model's name and for the id."""
    chosen = [column for column in _SESSION_COLUMNS if width >= column.least]
    rest = width - 3 - sum(column.width + 1 for column in chosen)
    if rest >= _WIDE_ID + 8:
        return chosen, min(16, rest - _WIDE_ID - 1), _WIDE_ID
    short = min(8, max(4, rest))
    return chosen, max(0, min(16, rest - short - 1)), short


def session_heading(width: int) -> str:
    """The line above the sessions."""
    chosen, model, name = _shown(width)
    text = f"   {fit('SESSION', name)}"
    text += f" {fit('MODEL', model)}" if model >= 6 else ""
    text += "".join(f" {fit(c.heading, c.width, right=True)}" for c in chosen)
    return fit(text, width)


def session_line(row: SessionRow, width: int) -> Line:
    """A session in one line."""
    chosen, model, name = _shown(width)
    mark: Span = (" x ", "error") if row.errors else ("   ", "text")
    # A session is known by how its id begins; an ellipsis would only take a place.
    spans: list[Span] = [mark, (fit((f.one_line(row.id) or "(none)")[:name], name), "text")]
    if model >= 6:
        spans.append((f" {fit(f.short_model(row.model), model)}", "muted"))
    for column in chosen:
        text, tone = column.cell(row)
        spans.append((f" {fit(text, column.width, right=True)}", tone))
    return line(*spans)
