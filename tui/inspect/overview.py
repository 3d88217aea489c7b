"""Overview: who asked, where it went and why, what it cost and how it ended."""

from __future__ import annotations

from tui import format as f
from tui.calls import first_issue, verdict
from tui.columns import status
from tui.inspect.subject import Found, Subject
from tui.lines import Line, Span, labelled
from tui.misses import miss_lines, read_lines
from tui.request_row import RequestRow
from tui.searches import summary


def overview_lines(subject: Subject) -> list[Line]:
    """One line for each thing there is to say."""
    row = subject.row
    words, tone = status(row, subject.moment)
    kind = "streaming" if row.streaming else "in one piece"
    asked = f"{row.model_requested or '?'}  {row.role}, {kind}, {row.tool_count} tools"
    lines = [
        labelled("request", (row.id, "accent"), f"  {f.clock(row.at)}  ", (words, tone)),
        labelled("asked", asked),
    ]
    if row.session_id:
        kept: Span = ("  ◆ pinned in memory" if row.pinned else "", "accent")
        lines.append(labelled("session", (row.session_id, "muted"), kept))
    if row.backend:
        reason: Span = (f"  {row.route_reason}", "muted")
        lines.append(labelled("route", f"{row.backend}: {row.model}", reason))
    lines += [*_usage(row), *_answer(subject), *_ending(row)]
    lines += [
        labelled("tool call", call.name, "  ", verdict(call), *first_issue(call))
        for call in row.calls
    ]
    lines += [summary(made) for made in row.searches]
    lines += [
        labelled("note", (event.message, "warn" if event.level != "info" else "text"))
        for event in row.notes
    ]
    return [*lines, *_from_detail(subject.found)]


def _usage(row: RequestRow) -> list[Line]:
    if row.prompt_tokens is None:
        return []
    new = row.prompt_tokens - row.cache_read_tokens
    lines = [labelled("prompt", f"{row.prompt_tokens:,} tokens, {new:,} of them new")]
    if row.role == "count":
        return lines
    lines += read_lines(row.cache_read_tokens, row.from_disk, row.prompt_tokens)
    return [*lines, *miss_lines(row.miss)]


def _answer(subject: Subject) -> list[Line]:
    row = subject.row
    if not row.output_tokens:
        return []
    text = f"{row.output_tokens:,} tokens"
    speed = row.tokens_per_second(subject.moment.now)
    if speed is not None:
        text += f" at {f.rate(speed)} tok/s"
    if row.ttft_ms is not None:
        text += f", the first after {f.seconds(row.ttft_ms)}"
    return [labelled("answer", text)]


def _ending(row: RequestRow) -> list[Line]:
    record = row.record
    if record is None:
        return []
    lines: list[Line] = []
    if record.stop_reason:
        lines.append(labelled("stop", record.stop_reason))
    if row.prompt_tokens and not row.failed and row.role != "count":
        usage = (
            f"input {record.input_tokens:,}  cache read {record.cache_read_tokens:,}  "
            f"cache creation {record.cache_creation_tokens:,}  output {record.output_tokens:,}"
        )
        lines.append(labelled("usage", usage))
    if record.retries:
        times = "once" if record.retries == 1 else f"{record.retries} times"
        lines.append(labelled("retried", (times, "warn")))
    if record.error_message:
        name = f"{record.status} {record.error_category or ''}".strip()
        lines.append(labelled("error", (f"{name}: {record.error_message}", "error")))
    return lines


def _from_detail(found: Found) -> list[Line]:
    lines: list[Line] = []
    if found.facts.sampling:
        asked = ", ".join(f"{name} {value}" for name, value in found.facts.sampling)
        lines.append(labelled("sampling", asked))
    if found.detail is not None and found.detail.canonical:
        rules = ", ".join(f"{name} x{times}" for name, times in found.detail.canonical)
        lines.append(labelled("rewritten", (rules, "muted")))
    return lines
