"""Why a request was slow, in words, from its row in the log."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anyclaude.records import RequestRecord
from anyclaude.types import PrefixBreak

REASONS: Mapping[PrefixBreak, tuple[str, str]] = {
    PrefixBreak.COLD: (
        "the cache was empty, as it is after a start",
        "the next request goes on from this one; a restart keeps the prefix with cache.l3 on",
    ),
    PrefixBreak.NEW_SESSION: (
        "a conversation's first prompt is read from its beginning",
        "nothing: the turns that follow go on from it",
    ),
    PrefixBreak.OTHER_MODEL: (
        "another model had been loaded, and what one has read is no use to the other",
        "keep to one model in a session",
    ),
    PrefixBreak.SYSTEM_CHANGED: (
        "the system prompt isn't the one of the request before",
        "look at the texts below: whatever writes a changing value there breaks every prompt",
    ),
    PrefixBreak.TOOLS_CHANGED: (
        "the tools aren't those of the request before",
        "connect MCP servers before the session begins and leave them connected",
    ),
    PrefixBreak.BILLING_LINE: (
        "the client's billing line changed at the head of the prompt",
        "turn the rule billing_line on again, or set CLAUDE_CODE_ATTRIBUTION_HEADER=0",
    ),
    PrefixBreak.BUDGET_MARKER: (
        "the client's <total_tokens> counter changed",
        "turn the rule token_budget on again",
    ),
    PrefixBreak.SYSTEM_MOVED: (
        "a system message stands elsewhere than before",
        "nothing, if it happens once in a while",
    ),
    PrefixBreak.THINKING_DROPPED: (
        "the client left out reasoning that an earlier turn had",
        "set MAX_THINKING_TOKENS=0 if it happens at every turn",
    ),
    PrefixBreak.HISTORY_CHANGED: (
        "an earlier message isn't what it was",
        "look for a hook or an edit of the conversation that changes it",
    ),
    PrefixBreak.COMPACTION: (
        "the conversation was compacted, so its beginning is another",
        "nothing: the turns that follow go on from the summary",
    ),
    PrefixBreak.ECHO_CHANGED: (
        "a turn came back other than the model wrote it",
        "look for a hook that changes tool inputs",
    ),
    PrefixBreak.EVICTED: (
        "the cache was short of memory and had let go of this conversation",
        "raise cache.memory_gb, or pin the session in the console",
    ),
    PrefixBreak.FLUSHED: ("the cache had been flushed", "nothing: it fills again"),
}
"""What each cause means, and what to do about it; all but ``none``."""

_LEAST_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Typical:
    """Medians of a model's earlier requests; ``requests`` 0 when there were none."""

    requests: int = 0
    ttft_ms: float = 0.0
    duration_ms: float = 0.0
    tokens_per_second: float = 0.0


def typical_sql(record: RequestRecord) -> str:
    """The question whose one row :func:`typical_of` reads: the last 200 before ``record``."""
    return f"""
        SELECT count(*), median(ttft_ms), median(duration_ms), median(tokens_per_second)
        FROM (SELECT * FROM requests
              WHERE model = {_literal(record.model)} AND backend = {_literal(record.backend)}
                    AND status = 200 AND role NOT IN ('count', 'probe', 'title')
                    AND epoch(started_at) < {record.started_at!r}
              ORDER BY started_at DESC LIMIT 200)
    """


def typical_of(row: Sequence[object]) -> Typical:
    count, *medians = row
    ttft, duration, speed = (float(m) if isinstance(m, int | float) else 0.0 for m in medians)
    return Typical(int(count) if isinstance(count, int) else 0, ttft, duration, speed)


@dataclass(frozen=True, slots=True)
class RanHere:
    """Calls of one MCP tool in the request, and how long the longest of them took."""

    server: str
    tool: str
    calls: int
    longest_ms: float


def ran_here_sql(record: RequestRecord) -> str:
    """The question whose rows :func:`ran_here_of` reads, the slowest tool first."""
    return f"""
        SELECT server, tool, count(*), max(ms) FROM mcp_calls
        WHERE request_id = {_literal(record.id)} GROUP BY ALL ORDER BY max(ms) DESC LIMIT 5
    """


def ran_here_of(row: Sequence[object]) -> RanHere:
    server, tool, calls, longest = row
    return RanHere(
        str(server),
        str(tool),
        int(calls) if isinstance(calls, int) else 0,
        float(longest) if isinstance(longest, int | float) else 0.0,
    )


def explain(record: RequestRecord, typical: Typical, ran: Sequence[RanHere] = ()) -> str:
    """Where the time of one request went, why, and what to do; all figures are the log's."""
    parts = [_headline(record), "", "Where the time went:", *_shares(record)]
    parts += [
        f"- {each.calls} of its calls ran here: {each.tool} of the MCP server {each.server}, up to"
        f" {_seconds(each.longest_ms)} each"
        for each in ran
    ]
    if because := _because(record):
        parts += ["", "Why:", *because]
    if compared := _compared(record, typical):
        parts += ["", compared]
    return "\n".join(parts)


def one_line(record: RequestRecord) -> str:
    """A request among others."""
    clock = time.strftime("%H:%M:%S", time.localtime(record.started_at))
    first = "-" if record.ttft_ms is None else _seconds(record.ttft_ms)
    cause = record.prefix_break_cause or "-"
    return (
        f"{clock} {record.id} {record.role} status {record.status}: {_seconds(record.duration_ms)}"
        f" in all, first token after {first}, {_prompt(record):,} prompt tokens of which"
        f" {record.tokens_reused:,} from a cache, {record.output_tokens:,} written, break: {cause}"
    )


# ------------------------------------------------------------------------------------ pieces


def _headline(record: RequestRecord) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(record.started_at))
    who = f"{record.model or record.model_requested} at {record.backend or 'no backend'}"
    text = (
        f"Request {record.id} ({record.role}, {who}, {clock}) took {_seconds(record.duration_ms)}"
    )
    if record.ttft_ms is not None:
        text += f", its first token came after {_seconds(record.ttft_ms)}"
    if record.error_message:
        text += f". It failed with status {record.status}: {record.error_message}"
    return text + "."


def _shares(record: RequestRecord) -> list[str]:
    prompt = _prompt(record)
    new = max(0, prompt - record.tokens_reused)
    speed = f" at {record.tokens_per_second:.1f} tokens/s" if record.tokens_per_second else ""
    named = (
        (record.queue_ms, "waiting for the model", "other requests were before it"),
        (
            record.prefill_ms,
            "reading the prompt",
            f"{new:,} of its {prompt:,} tokens were new, {record.tokens_reused:,} came from a cache"
            + (
                f", {record.tokens_from_disk:,} of them from disk"
                if record.tokens_from_disk
                else ""
            ),
        ),
        (record.decode_ms, "writing the answer", f"{record.output_tokens:,} tokens{speed}"),
    )
    total = max(record.duration_ms, 1e-9)
    rest = record.duration_ms - sum(ms for ms, _, _ in named)
    lines = [
        f"- {_seconds(ms)} ({ms / total:.0%}) {what}: {how}"
        for ms, what, how in named
        if ms / total >= _LEAST_SHARE
    ]
    if rest / total >= _LEAST_SHARE:
        why = "routing, rendering, the network of a backend elsewhere, tools run here, delivery"
        lines.append(f"- {_seconds(rest)} ({rest / total:.0%}) everything else: {why}")
    if record.retries:
        lines.append(f"- {record.retries} attempts failed before one was answered")
    return lines


def _because(record: RequestRecord) -> list[str]:
    try:
        cause = PrefixBreak(record.prefix_break_cause or "none")
    except ValueError:  # of a newer release
        return [f"- the prefix cache broke: {record.prefix_break_cause}"]
    if cause is PrefixBreak.NONE:
        return []
    reason, advice = REASONS[cause]
    lines = [f"- {cause.value}: {reason}{_place(record)}"]
    if record.tokens_lost:
        lost = f"- {record.tokens_lost:,} tokens had been read before and were read again"
        if record.prefix_lost_ms:
            lost += f", which took about {_seconds(record.prefix_lost_ms)}"
        lines.append(lost)
    if record.prefix_break_before or record.prefix_break_after:
        lines.append(f"- the text there before: {_quoted(record.prefix_break_before)}")
        lines.append(f"- the text there now: {_quoted(record.prefix_break_after)}")
    lines.append(f"- what to do: {advice}")
    return lines


def _place(record: RequestRecord) -> str:
    if record.prefix_break_at is None:
        return ""
    words = f", from token {record.prefix_break_at:,} on"
    if record.prefix_break_message is None:
        return words
    if record.prefix_break_message < 0:
        return f"{words}, in the system prompt or the tools"
    return f"{words}, in message {record.prefix_break_message}"


def _compared(record: RequestRecord, typical: Typical) -> str:
    if not typical.requests:
        return ""
    text = (
        f"The median of this model's {typical.requests} requests before it:"
        f" {_seconds(typical.duration_ms)} in all, first token after {_seconds(typical.ttft_ms)}"
    )
    if typical.tokens_per_second:
        text += f", {typical.tokens_per_second:.1f} tokens/s"
    return f"{text}."


def _prompt(record: RequestRecord) -> int:
    return record.input_tokens + record.cache_read_tokens + record.cache_creation_tokens


def _seconds(ms: float) -> str:
    return f"{ms / 1000:.2f} s" if ms < 10_000 else f"{ms / 1000:.1f} s"


def _quoted(text: str | None) -> str:
    return json.dumps(text or "", ensure_ascii=False)


def _literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"
