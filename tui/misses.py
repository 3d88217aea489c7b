"""What the console says of cache misses: why a prompt was not reused and what that cost, and
how each system prompt fares.

Pure functions. The figures per system prompt come out of the log's view ``system_prompts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude.events import RequestAdmitted
from anyclaude.records import RequestRecord, SqlResult
from tui import format as f
from tui.lines import Line, Span, Tone, fit, labelled, line

KEEP_HEADS = 8
HEADS_SQL = (
    "SELECT system_id, model, roles, tokens, requests, hits, first_ttft_ms, cached_ttft_ms, "
    f"tokens_saved FROM system_prompts LIMIT {KEEP_HEADS}"
)
_WITHOUT_CHANGE = ("cold", "new_session", "other_model", "evicted", "flushed")
_HARMLESS = ("cold", "new_session")


@dataclass(frozen=True, slots=True)
class Miss:
    """Why a prompt didn't just go on where the last one ended; ``cause`` is empty until a
    backend has said so. Tokens are counted from the prompt's start, ``message`` -1 is the head.
    """

    cause: str = ""
    at: int | None = None
    message: int | None = None
    before: str = ""
    after: str = ""
    tokens: int = 0
    ms: float = 0.0


def miss_of_admission(event: RequestAdmitted) -> Miss:
    miss = event.miss
    return Miss(
        event.break_cause,
        miss.at,
        miss.message,
        miss.before,
        miss.after,
        miss.tokens_lost,
        miss.seconds_lost * 1000,
    )


def miss_of_record(record: RequestRecord, before: Miss) -> Miss:
    """The record's own; texts it doesn't have, since bodies aren't logged, stay as they were."""
    if record.prefix_break_cause is None:
        return before
    return Miss(
        record.prefix_break_cause,
        record.prefix_break_at,
        record.prefix_break_message,
        record.prefix_break_before or before.before,
        record.prefix_break_after or before.after,
        record.tokens_lost,
        record.prefix_lost_ms,
    )


def read_lines(read: int, from_disk: int, prompt: int) -> list[Line]:
    """How much of a prompt the caches gave, and which."""
    if not read:
        return []
    memory, share = read - from_disk, f.percent(read, prompt)
    if memory > 0 < from_disk:
        words = f"{read:,} tokens ({share}): {memory:,} from memory, {from_disk:,} from disk"
    else:
        words = f"{read:,} tokens from {'disk' if from_disk else 'memory'} ({share})"
    return [labelled("cache", (words, "ok"))]


def miss_lines(miss: Miss) -> list[Line]:
    """The cause and its place, what it cost, and both texts with what differs standing out."""
    if miss.cause in ("", "none"):
        return []
    tone: Tone = "muted" if miss.cause in _HARMLESS and not miss.tokens else "warn"
    lines = [labelled("prefix", (f"{miss.cause.replace('_', ' ')}{_place(miss)}", tone))]
    if miss.tokens:
        time = f", about {f.seconds(miss.ms)}" if miss.ms else ""
        lines.append(labelled("lost", (f"{miss.tokens:,} tokens to be read again{time}", "warn")))
    if miss.before != miss.after:
        shared = _shared(miss.before, miss.after)
        lead: Span = (f"…{miss.before[:shared]}", "muted")
        lines.append(labelled("then", lead, (miss.before[shared:] or "(its end)", "error")))
        lines.append(labelled("now", lead, (miss.after[shared:] or "(its end)", "ok")))
    return lines


def _place(miss: Miss) -> str:
    if miss.at is None:
        return ""
    words = f" at token {miss.at:,}"
    if miss.cause in _WITHOUT_CHANGE:
        words = f", from token {miss.at:,} on"
    if miss.message is None:
        return words
    return f"{words}, in {'the head' if miss.message < 0 else f'message {miss.message}'}"


def _shared(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


# ---------------------------------------------------------------------------- system prompts


@dataclass(frozen=True, slots=True)
class SystemPrompt:
    """A system prompt with its tools, as one row of the view; times are medians."""

    id: str
    model: str
    roles: str
    tokens: int
    requests: int
    hits: int
    first_ms: float | None
    cached_ms: float | None
    saved: int

    @property
    def name(self) -> str:
        """Whose it is, and enough of its hash to tell neighbours apart."""
        role = "main" if "main" in self.roles.split(", ") else self.roles.partition(",")[0]
        return f"{role} {self.id[:4]}"


def heads_of(result: SqlResult) -> tuple[SystemPrompt, ...]:
    """The rows of :data:`HEADS_SQL`."""
    return tuple(
        SystemPrompt(
            str(row[0]),
            str(row[1]),
            str(row[2]),
            _whole(row[3]),
            _whole(row[4]),
            _whole(row[5]),
            _ms(row[6]),
            _ms(row[7]),
            _whole(row[8]),
        )
        for row in result.rows
    )


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _ms(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def head_lines(heads: Sequence[SystemPrompt], width: int) -> list[Line]:
    """A table: the head's tokens, hits, and the first token's time without and with a hit."""
    if not heads:
        return []
    wide = width >= 50
    name = max(4, width - (36 if wide else 24))
    more = "  REQS SAVED" if wide else ""
    title = f" {'SYSTEM PROMPT':<{name}} {'TOK':>5} {'HIT%':>4} {'1ST':>5} {'HIT':>5}{more}"
    lines = [line((fit(title, width), "muted"))]
    for head in heads:
        figures = (
            f" {f.count(head.tokens):>5} {f.percent(head.hits, head.requests):>4}"
            f" {_time(head.first_ms):>5} {_time(head.cached_ms):>5}"
        )
        if wide:
            figures += f" {f.count(head.requests):>5} {f.count(head.saved):>5}"
        lines.append(line((f" {fit(head.name, name)}", "strong"), figures))
    return lines


def _time(ms: float | None) -> str:
    return "-" if ms is None else f.seconds(ms)
