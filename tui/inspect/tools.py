"""Tools: each call as the model wrote it and as the client got it, and what was on offer."""

from __future__ import annotations

from collections.abc import Sequence

from anyclaude.records import ToolCallRecord
from tui import format as f
from tui.calls import comparison, served_lines, verdict, what_happened
from tui.inspect.subject import Subject
from tui.lines import Line, Span, line

_ROWS = 200  # of each text of a call


def tools_lines(subject: Subject) -> list[Line]:
    """The calls, newest last, then the tools of the request."""
    row, detail = subject.row, subject.found.detail
    calls: Sequence[ToolCallRecord] = row.calls
    if not calls and detail is not None:
        calls = detail.tool_calls
    lines: list[Line] = []
    for call in calls:
        lines += [*_call(call, subject), Line()]
    if not calls:
        text = "No tool was called so far." if row.active else "No tool was called."
        lines += [line((f" {text}", "muted")), Line()]
    return [*lines, *_offered(subject, {call.name for call in calls})]


def _call(call: ToolCallRecord, subject: Subject) -> list[Line]:
    figures = [f"{call.tokens:,} tok"] if call.tokens else []
    figures += [f.seconds(call.ms)] if call.ms else []
    head = line(
        (f" {f.one_line(call.name) or '?'}  ", "strong"),
        verdict(call),
        (f"  {'  '.join(figures)}" if figures else "", "text"),
        (f"  {call.tool_use_id}" if call.tool_use_id else "", "muted"),
        hang=3,
        anchor=call.tool_use_id or "-",
    )
    return [
        head,
        *what_happened(call),
        *comparison(call, subject.width, _ROWS),
        *_answered(call, subject),
    ]


def _answered(call: ToolCallRecord, subject: Subject) -> list[Line]:
    """What became of it here, or what the client made of it, as far as it has said so."""
    served = subject.row.served.get(call.tool_use_id)
    if served is not None:
        return served_lines(served)
    refusal = subject.refusals.get(call.tool_use_id) if call.tool_use_id else None
    said = (subject.found.said or {}).get(call.tool_use_id)
    label: Span = ("   client ", "muted")
    if refusal is not None:
        kind: Span = (f"{refusal.kind} ", "error")
        return [line(label, kind, (f.one_line(refusal.message)[:2_000], "error"), hang=10)]
    if said is not None:
        word: Span = ("failed " if said.failed else "ran it ", "error" if said.failed else "ok")
        size: Span = (f"{f.count(said.chars)} chars  ", "muted")
        return [line(label, word, size, said.text, hang=10)]
    if not call.tool_use_id:
        return [line(label, ("got no call", "warn"))]
    if subject.row.active or subject.found.said is None:
        return []
    return [line(label, ("has not answered it, as far as is known", "muted"))]


def _offered(subject: Subject, called: set[str]) -> list[Line]:
    facts, count = subject.found.facts, subject.row.tool_count
    if not facts.tools:
        text = f" {count} tools were offered." if count else " No tools were offered."
        return [line((text, "muted"))]
    later: Span = (f", {facts.deferred} of them deferred" if facts.deferred else "", "muted")
    names: list[Span] = []
    for name in facts.tools:
        names += [(name, "accent" if name in called else "text"), ("  ", "text")]
    head = line((f" {len(facts.tools)} tools were offered", "strong"), later)
    return [head, line("   ", *names[:-1], hang=3)]
