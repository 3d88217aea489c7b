"""The columns of the request list at a given width, and one request as its cells.

Columns drop as room does: backend, time to first token and hours below 72 cells, then output
and cache below 50. A glyph says the state of a request, so colour is never the only cue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anyclaude.types import Tier
from tui import format as f
from tui.lines import Span, Tone, fit
from tui.request_row import Phase, RequestRow

PINNED = "◆"
MARKS = (
    (".", "waits for its turn"),
    (">", "runs"),
    ("!", "a tool call was not valid as the model wrote it"),
    ("+", "results of a web search were put in unasked"),
    ("x", "failed"),
    ("-", "cancelled"),
    (PINNED, "its session is pinned in memory"),
)
"""What stands before a row, and what it means."""
WIDE = 72
NARROW = 50

_REASONS = {
    400: "invalid",
    401: "bad key",
    403: "refused",
    404: "not found",
    405: "method",
    408: "too slow",
    413: "too large",
    415: "not json",
    429: "too many",
    500: "failed",
    503: "not ready",
    529: "busy",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """What cells depend on besides the row: the time, and its place among those waiting."""

    now: float
    position: int = 0


@dataclass(frozen=True, slots=True)
class Column:
    """A column: heading, width in cells (0 takes what is left), and how a cell is made."""

    heading: str
    width: int
    cell: Callable[[RequestRow, Moment], Span]
    right: bool = False


def glyph(row: RequestRow) -> Span:
    """One of :data:`MARKS`, or a space for a request that went as it should."""
    if row.failed:
        return "x", "error"
    if row.phase is Phase.CANCELLED:
        return "-", "warn"
    if row.bad_calls:
        return "!", "warn"
    if row.phase is Phase.QUEUED:
        return ".", "muted"
    if row.active:
        return ">", "run"
    injected = any(made.inserted and made.search.results for made in row.searches)
    return ("+", "accent") if injected else (" ", "text")


def status(row: RequestRow, moment: Moment) -> Span:
    """The last column in words."""
    match row.phase:
        case Phase.QUEUED:
            return f"queued #{moment.position}", "muted"
        case Phase.PREFILL:
            return f"prefill {f.percent(row.prefill_done, row.prompt_tokens or 0)}", "run"
        case Phase.DECODING:
            return "decoding", "run"
        case Phase.CANCELLED:
            return "cancelled", "warn"
        case Phase.FAILED:
            code = row.record.status if row.record else 500
            return f"{code} {_REASONS.get(code, 'failed')}", "error"
        case Phase.DONE:
            if row.role == "count":
                return "count", "muted"
            reason = (row.record.stop_reason if row.record else None) or "ok"
            return reason.replace("stop_sequence", "stop_seq"), "text"


def cache(row: RequestRow) -> Span:
    """The tier and the share of the prompt that was read from it."""
    if row.phase is Phase.QUEUED and row.prompt_tokens is None:
        return "...", "muted"
    if not row.prompt_tokens or row.role == "count":
        return "-", "muted"
    if not row.cache_read_tokens:
        return "miss", "muted"
    share = f.percent(row.cache_read_tokens, row.prompt_tokens)
    tone: Tone = "ok" if row.cache_read_tokens * 2 >= row.prompt_tokens else "text"
    tier = "ssd" if row.cache_tier == Tier.KV_DISK else row.cache_tier or "kv"
    return f"{tier} {share}", tone


def _model(row: RequestRow, moment: Moment) -> Span:
    return f.short_model(row.model_requested), "text"


def _route(row: RequestRow, moment: Moment) -> Span:
    name = f.short_model(row.model_requested)
    return (f"{name}>{f.one_line(row.backend)}" if row.backend else name), "text"


def _tokens_in(row: RequestRow, moment: Moment) -> Span:
    return ("-", "muted") if row.prompt_tokens is None else (f.count(row.prompt_tokens), "text")


def _tokens_out(row: RequestRow, moment: Moment) -> Span:
    return (f.count(row.output_tokens), "text") if row.output_tokens else ("-", "muted")


def _short_out(row: RequestRow, moment: Moment) -> Span:
    if row.output_tokens < 10_000:
        return _tokens_out(row, moment)
    return f"{row.output_tokens // 1000}k", "text"


def _ttft(row: RequestRow, moment: Moment) -> Span:
    return ("-", "muted") if row.ttft_ms is None else (f.seconds(row.ttft_ms), "text")


def _speed(row: RequestRow, moment: Moment) -> Span:
    speed = row.tokens_per_second(moment.now)
    return ("-", "muted") if speed is None else (f.rate(speed), "text")


_STATUS = Column("STATUS", 0, status)
_ID = Column("ID", 4, lambda r, m: (f.short_id(r.id), "text"))
_IN = Column("IN", 6, _tokens_in, right=True)
_OUT = Column("OUT", 5, _tokens_out, right=True)
_CACHE = Column("CACHE", 7, lambda r, m: cache(r))
_SHORT_IN = Column("IN", 5, _tokens_in, right=True)
_SHORT_OUT = Column("OUT", 4, _short_out, right=True)
_SPEED = Column("TOK/S", 5, _speed, right=True)
_CLOCK = Column("TIME", 8, lambda r, m: (f.clock(r.at), "muted"))
_MINUTES = Column("TIME", 5, lambda r, m: (f.clock(r.at)[3:], "muted"))


_WIDE = (
    _CLOCK,
    _ID,
    Column("MODEL>BACKEND", 14, _route),
    _IN,
    _OUT,
    _CACHE,
    Column("TTFT", 6, _ttft, right=True),
    _SPEED,
    _STATUS,
)
_MODEL = Column("MODEL", 6, _model)
_MIDDLE = (_MINUTES, _ID, _MODEL, _SHORT_IN, _SHORT_OUT, _CACHE, _SPEED, _STATUS)
_LEAST = (_MINUTES, _ID, _MODEL, _SHORT_IN, _STATUS)


def columns(width: int) -> tuple[Column, ...]:
    """The columns that fit in ``width`` cells, in order."""
    if width >= WIDE:
        return _WIDE
    return _MIDDLE if width >= NARROW else _LEAST


def heading(chosen: tuple[Column, ...], width: int) -> str:
    """The line above the list."""
    cells = [fit(c.heading, c.width or len(c.heading), right=c.right) for c in chosen]
    return fit("   " + " ".join(cells), width)


def cells(row: RequestRow, chosen: tuple[Column, ...], moment: Moment, width: int) -> list[Span]:
    """One request as spans that fill ``width`` cells, from its glyph on."""
    mark, tone = glyph(row)
    spans: list[Span] = [(f" {mark} ", tone)]
    if row.pinned:
        spans = [(PINNED, "accent"), (f"{mark} ", tone)]
    left = width - 3
    for column in chosen:
        text, tone = column.cell(row, moment)
        room = min(column.width, max(left, 0)) if column.width else max(left, 0)
        spans.append((fit(text, room, right=column.right), tone))
        left -= room + 1
        if column.width and left >= 0:
            spans.append((" ", "text"))
    return spans
