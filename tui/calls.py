"""What a tool call was and what became of it: issues, repairs, the text and the input."""

from __future__ import annotations

import json

from anyclaude.records import UNCHECKED, McpCallRecord, ToolCallRecord, ToolFailure
from tui import format as f
from tui.beside import ROWS, Column, beside
from tui.lines import Line, Span, Tone, line, paragraphs

_MAX_CHARS = 20_000
_TONES: dict[str, Tone] = {"valid": "ok", "failed": "error", "unparsed": "error"}


def verdict(call: ToolCallRecord) -> Span:
    """Its verdict, and how many times it was written if more than once."""
    times = f" ({call.version} attempts)" if call.version > 1 else ""
    return call.verdict + times, _TONES.get(call.verdict, "warn")


def first_issue(call: ToolCallRecord) -> list[Span]:
    """The first thing that was wrong, for a list of calls."""
    return [(f"  {call.issues[0].text}", "muted")] if call.issues else []


def call_lines(call: ToolCallRecord) -> list[Line]:
    """A call for reading: verdict, issues, repairs, its input, and its text if they differ."""
    head = line(
        (" tool_use ", "run"),
        (call.name or "?", "strong"),
        (f"  {call.tool_use_id}  ", "muted"),
        verdict(call),
    )
    lines = [head, *what_happened(call)]
    if call.final:
        lines += paragraphs(bounded(pretty(call.final)), "text", 3)
    if call.verdict != "valid":
        written = paragraphs(bounded(call.raw), "muted", 5)
        lines += [line(("   as written", "muted")), *written]
    return lines


def what_happened(call: ToolCallRecord, refusal: ToolFailure | None = None) -> list[Line]:
    """Each issue with its rule, each repair with its stage, and what the client said to it."""
    lines: list[Line] = []
    for issue in call.issues:
        tone: Tone = "muted" if issue.rule == UNCHECKED else "warn"
        rule: Span = (f"{issue.rule} " if issue.rule else "", "muted")
        lines.append(line((" - ", tone), rule, (issue.text, tone), hang=5))
    for repair in call.repairs:
        stage: Span = (f"{repair.stage} ", "muted")
        lines.append(line((" + ", "ok"), stage, (f.one_line(repair.text), "ok"), hang=5))
    if refusal is not None:
        said: Span = (f"client: {f.one_line(refusal.message)[:500]}", "error")
        lines.append(line((" x ", "error"), said, hang=5))
    return lines


def served_lines(call: McpCallRecord) -> list[Line]:
    """How a call fared that ran here, and the beginning of its result."""
    label: Span = ("   here   ", "muted")
    if not call.status:
        return [line(label, (f"runs at {f.one_line(call.server)} …", "run"), hang=10)]
    tone: Tone = "ok" if call.status == "ok" else "warn" if call.status == "refused" else "error"
    how = "an earlier result" if call.cached else f.seconds(call.ms)
    lines = [
        line(
            label,
            (f"{call.status} ", tone),
            (f"{f.one_line(call.server)}, {how}, {f.count(call.chars)} chars  ", "muted"),
            f.one_line(call.result)[:2_000],
            hang=10,
        )
    ]
    if call.suspicious:
        told = f"reads like instructions, passed on as data: {f.one_line(call.suspicious)}"
        lines.append(line((" - ", "warn"), (told, "warn"), hang=5))
    return lines


def comparison(call: ToolCallRecord, width: int, rows: int = ROWS) -> list[Line]:
    """The text as written and the input as delivered, side by side where there is room."""
    final = pretty(call.final) if call.final else "(not delivered)"
    written = Column("as written", paragraphs(bounded(call.raw), "muted"))
    return beside(written, Column("as delivered", paragraphs(bounded(final))), width, rows)


def bounded(text: str) -> str:
    """The text without line ends around it, cut where nobody reads on."""
    text = text.strip("\n")
    if len(text) <= _MAX_CHARS:
        return text
    return f"{text[:_MAX_CHARS]}… {len(text) - _MAX_CHARS:,} more characters"


def pretty(text: str) -> str:
    """JSON laid out, anything else as it is."""
    try:
        value = json.loads(text)
        return text if value is None else json.dumps(value, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
