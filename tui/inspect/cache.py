"""Cache: what each tier gave, where the prefix broke and why, and what that cost."""

from __future__ import annotations

from collections.abc import Sequence

from anyclaude.events import SystemEvent
from anyclaude.types import PrefixBreak, Tier
from tui import format as f
from tui.beside import Column, beside
from tui.inspect.diff import shared_ends
from tui.inspect.subject import Subject
from tui.lines import Line, Span, Tone, labelled, line, meter
from tui.misses import Miss
from tui.request_row import RequestRow

_WITH_BARS = 50
_EVENTS = 2

WHY: dict[str, str] = {
    PrefixBreak.NONE: "The prompt goes on where the last one of its conversation ended.",
    PrefixBreak.COLD: "The cache held nothing at all when it came.",
    PrefixBreak.NEW_SESSION: "It is the first prompt of its conversation: of the cache it could "
    "only take what others begin with alike.",
    PrefixBreak.OTHER_MODEL: "The last prompt of the conversation was read by another model, "
    "whose keys and values don't fit this one.",
    PrefixBreak.SYSTEM_CHANGED: "The system prompt isn't what it was in the last prompt.",
    PrefixBreak.TOOLS_CHANGED: "The tools aren't what they were in the last prompt, and they "
    "stand before the messages.",
    PrefixBreak.BILLING_LINE: "The client's billing line at the head of the system prompt is "
    "another one than last time; the rule billing_line takes it out.",
    PrefixBreak.BUDGET_MARKER: "The client's count of the tokens left has changed; the rule "
    "token_budget takes it out.",
    PrefixBreak.SYSTEM_MOVED: "A system message stands in another place than last time.",
    PrefixBreak.THINKING_DROPPED: "The client left out reasoning that the last prompt had.",
    PrefixBreak.HISTORY_CHANGED: "The client sent an earlier message in other words than last "
    "time; everything after it had to be read again.",
    PrefixBreak.COMPACTION: "The conversation was compacted: a summary took the place of its "
    "history.",
    PrefixBreak.ECHO_CHANGED: "The client sent an answer back in other words than the model wrote.",
    PrefixBreak.EVICTED: "It had been in the cache, which dropped it to make room.",
    PrefixBreak.FLUSHED: "It had been in the cache, which was emptied on purpose.",
}
"""Why a prompt wasn't in the cache, by its cause."""

_KINDS: dict[str, tuple[str, ...]] = {
    PrefixBreak.COLD: ("flush", "reset", "model"),
    PrefixBreak.FLUSHED: ("flush", "reset", "model"),
    PrefixBreak.OTHER_MODEL: ("model",),
    PrefixBreak.EVICTED: ("memory", "cache"),
    PrefixBreak.TOOLS_CHANGED: ("tools",),
}
_GONE = (PrefixBreak.EVICTED, PrefixBreak.FLUSHED, PrefixBreak.OTHER_MODEL)
_FIRST = (PrefixBreak.COLD, PrefixBreak.NEW_SESSION)


def cache_lines(subject: Subject) -> list[Line]:
    """The tiers' shares, what they were worth, and the story of the prefix."""
    row = subject.row
    if row.role == "count":
        return [line((" Counting tokens asks no cache.", "muted"))]
    if row.prompt_tokens is None:
        text = "Not looked up yet." if row.active else "It ended before the caches were asked."
        return [line((f" {text}", "muted"))]
    lines = [*_tiers(row, row.prompt_tokens, subject.width), *_worth(row)]
    return [*lines, Line(), *_break(row.miss, subject)]


def _tiers(row: RequestRow, prompt: int, width: int) -> list[Line]:
    """Where the prompt's tokens came from, as shares of the whole."""
    read, disk = row.cache_read_tokens, row.from_disk
    tier = row.cache_tier or Tier.KV
    if tier in (Tier.KV, Tier.KV_DISK):
        parts = [("kv", read - disk, "from memory"), ("kv-disk", disk, "from disk")]
    else:
        parts = [(str(tier), read, "reused")]
    parts.append(("computed", prompt - read, "read by the model"))
    room = min(40, width - 46) if width >= _WITH_BARS else 0
    tones: dict[str, Tone] = {"computed": "warn"}
    lines: list[Line] = []
    for name, tokens, note in parts:
        full, rest = meter(tokens / prompt if prompt else 0.0, room)
        bar: list[Span] = [(full[0], tones.get(name, "ok")), (f"{rest[0]}  ", "muted")]
        share = f"{tokens:>9,} {f.percent(tokens, prompt):>4}"
        figures: Span = (share, "text" if tokens else "muted")
        lines.append(labelled(name, *(bar if room else ()), figures, (f"  {note}", "muted")))
    gap = " " * (room + 2 if room else 0)
    return [*lines, labelled("prompt", gap, (f"{prompt:>9,}", "strong"), " tokens")]


def _worth(row: RequestRow) -> list[Line]:
    """What the reuse saved, and what was kept for the next request."""
    record = row.record
    if record is None:
        return []
    lines: list[Line] = []
    if record.tokens_reused and record.time_saved_ms:
        lines.append(labelled("saved", (f"{f.seconds(record.time_saved_ms)} of reading", "ok")))
    if record.kv_bytes:
        lines.append(labelled("kept", f"{f.size(record.kv_bytes)} of keys and values"))
    return lines


def _break(miss: Miss, subject: Subject) -> list[Line]:
    """The cause in words, the place, the cost, what happened before it, and both texts."""
    if not miss.cause:
        return []
    why = WHY.get(miss.cause, "")
    if miss.cause == PrefixBreak.NONE:
        return [labelled("prefix", ("unbroken", "ok")), labelled("", (why, "muted"))]
    tone: Tone = "muted" if miss.cause in _FIRST and not miss.tokens else "warn"
    words = "broken" if miss.cause not in (*_GONE, *_FIRST) else "not there"
    lines = [
        labelled("prefix", (f"{words}: {miss.cause.replace('_', ' ')}", tone)),
        labelled("", why),
    ]
    if miss.at:
        lines.append(labelled("where", f"{_message(miss)}token {miss.at:,}"))
    if miss.tokens:
        time = f", about {f.seconds(miss.ms)}" if miss.ms else ""
        lines.append(labelled("lost", (f"{miss.tokens:,} tokens to be read again{time}", "warn")))
    lines += _happened(miss.cause, subject.events)
    if miss.before != miss.after:
        lines += [Line(), *_texts(miss, subject.width)]
    return lines


def _message(miss: Miss) -> str:
    if miss.message is None:
        return ""
    if miss.message < 0:
        return "the system prompt or the tools, "
    return f"message {miss.message} (the first is 0), "


def _happened(cause: str, events: Sequence[SystemEvent]) -> list[Line]:
    """The latest of those events before it that can have to do with the cause."""
    kinds = _KINDS.get(cause, ())
    found = [event for event in events if event.kind in kinds][:_EVENTS]
    return [
        labelled("before it", (f"{f.clock(event.at)} {event.kind}  ", "muted"), event.message)
        for event in found
    ]


def _texts(miss: Miss, width: int) -> list[Line]:
    """Then and now, with what they share pale."""
    before, after = (f.clean(text).expandtabs(4) for text in (miss.before, miss.after))
    head, _ = shared_ends(before, after)
    return beside(
        Column("then", _marked(before, head, "error")),
        Column("now", _marked(after, head, "ok")),
        width,
    )


def _marked(text: str, head: int, tone: Tone) -> list[Line]:
    lines: list[Line] = []
    at = 0
    for part in text.split("\n"):
        pale = max(0, min(len(part), head - at))
        lines.append(Line(((part[:pale], "muted"), (part[pale:], tone))))
        at += len(part) + 1
    if head >= len(text):
        lines.append(Line((("(its end)", tone),)))
    return lines
