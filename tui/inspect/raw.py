"""Raw: what came in and what went out, headers with their secrets masked."""

from __future__ import annotations

import json

from anyclaude.records import RequestDetail
from tui import format as f
from tui.calls import pretty
from tui.inspect.facts import parsed
from tui.inspect.subject import Subject, missing
from tui.inspect.text import MOST, shown, text_lines
from tui.lines import Line, Span, line

_DATA = 15  # cells in front of an event's data


def raw_lines(subject: Subject) -> list[Line]:
    """The page that :func:`raw_page` made."""
    if subject.found.raw is None:
        return missing(subject)
    return list(subject.found.raw)


def raw_page(detail: RequestDetail) -> tuple[Line, ...]:
    """Headers, body and response. Takes a while for big ones: not for the event loop."""
    lines = [line((" headers", "accent"), anchor="headers")]
    lines += [line((f"   {name}: ", "muted"), value, hang=5) for name, value in detail.headers]
    if not detail.headers:
        lines.append(line(("   not kept", "muted")))
    lines += _section("body", detail.body, "not kept")
    if detail.stream:
        return (*lines, *_stream(detail.stream))
    return (*lines, *_section("response", detail.response, "none yet"))


def _section(title: str, text: str, without: str) -> list[Line]:
    lines = [Line(), line((f" {title}", "accent"), anchor=title)]
    if text:
        return [*lines, *text_lines(pretty(text), "text", 3)]
    return [*lines, line((f"   {without}", "muted"))]


def _stream(text: str) -> list[Line]:
    """The events as the client got them, each with its time since the request came."""
    events = text.splitlines()
    count: Span = (f"  {len(events):,} events, as sent", "muted")
    lines = [Line(), line((" stream", "accent"), count, anchor="stream")]
    for entry in events[:MOST]:
        lines += _event(entry)
    if len(events) > MOST:
        lines.append(line((f"   … {len(events) - MOST:,} more events", "muted")))
    return lines


def _event(entry: str) -> list[Line]:
    event = parsed(entry)
    if not isinstance(event, dict) or not isinstance(ms := event.pop("ms", None), int | float):
        return [line(f"   {shown(entry)}", hang=5)]
    front: Span = (f"{ms:>10,.0f} ms  ", "muted")
    kind = f.one_line(str(event.get("type", "")))
    if kind == "comment":
        return [line(front, (f": {f.one_line(str(event.get('text', '')))}", "muted"), hang=_DATA)]
    data = shown(json.dumps(event, ensure_ascii=False, separators=(",", ":")))
    return [
        line(front, ("event: ", "muted"), (kind, "run")),
        line((f"{'':{_DATA}}data: ", "muted"), data, hang=_DATA),
    ]
