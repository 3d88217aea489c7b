"""Prompt: of what sizes it is made, and what of it is new since the conversation's last one."""

from __future__ import annotations

import re

from anyclaude.records import PromptSection, RequestDetail
from tui import format as f
from tui.inspect.changes import changes
from tui.inspect.facts import Section, body_text, parsed
from tui.inspect.subject import PromptPage, Subject, missing
from tui.inspect.text import text_lines
from tui.lines import Line, Span, labelled, line
from tui.request_row import RequestRow

_MARKER = re.compile(r" (<\||<start_of_turn>|<end_of_turn>|\[INST\]|── )")
_WITH_BARS = 50
_NOT_RENDERED = "The rendered prompt wasn't kept; these are the messages as received."


def prompt_lines(subject: Subject) -> list[Line]:
    """The sizes, then the changes since the earlier prompt, or all of it when asked to."""
    found = subject.found
    page = found.prompt
    if page is None:
        return missing(subject)
    lines = section_lines(found.facts.sections, subject.row, subject.width)
    if found.detail is not None:
        lines += shortened_lines(found.detail.sections)
    if not page.text:
        text = "The prompt of this request wasn't kept."
        return [*lines, *([Line()] if lines else []), line((f" {text}", "muted"), hang=1)]
    head = _head(page, whole=subject.whole)
    body = page.whole if subject.whole or page.changes is None else page.changes.lines
    return [*lines, Line(), *head, Line(), *body]


def section_lines(sections: tuple[Section, ...], row: RequestRow, width: int) -> list[Line]:
    """A bar for each section, scaled to the largest, and the tokens that are known."""
    lines: list[Line] = []
    largest = max((section.chars for section in sections), default=0)
    room = min(40, width - 40) if width >= _WITH_BARS else 0
    for section in sections:
        cells = max(1, round(section.chars / largest * room)) if room and section.chars else 0
        bar: list[Span] = [("━" * cells, "run"), ("─" * (room - cells) + "  ", "muted")]
        size = f"{f.count(section.chars):>6} chars"
        note: Span = (f"  {section.note}" if section.note else "", "muted")
        lines.append(labelled(section.name, *(bar if room else ()), size, note))
    record = row.record
    if record is not None and record.system_tokens:
        text = f"{record.system_tokens:,} in system and tools, {record.user_tokens:,} after them"
        lines.append(labelled("tokens", text))
    elif row.prompt_tokens is not None:
        lines.append(labelled("tokens", f"{row.prompt_tokens:,}"))
    return lines


_MOST_PARTS = 8


def shortened_lines(sections: tuple[PromptSection, ...]) -> list[Line]:
    """What the tier made of system texts and tools, and the parts that lost most by it."""
    if not sections:
        return []
    before = sum(part.tokens_before for part in sections)
    after = sum(part.tokens_after for part in sections)
    share = f", {round(100 * after / before)} %" if before else ""
    lines = [labelled("shortened", f"{before:,} tokens in system and tools to {after:,}{share}")]
    losing = sorted(sections, key=lambda part: part.tokens_after - part.tokens_before)
    for part in losing[:_MOST_PARTS]:
        if part.tokens_after >= part.tokens_before:
            break
        size = f"{part.tokens_before:>6,} → {part.tokens_after:<6,}"
        said: Span = (f"{part.action}  ", "muted")
        title: Span = (f.one_line(part.title or part.place), "text")
        lines.append(labelled("", size, said, title))
    kept = sum(1 for part in sections if part.protected)
    parts = "1 part" if kept == 1 else f"{kept} parts"
    lines.append(labelled("", (f"{parts} must stay and did", "muted")))
    return lines


def _head(page: PromptPage, *, whole: bool) -> list[Line]:
    """What is below it, and what the key for the other view would show."""
    found = page.changes
    key: Span = ("d", "accent")
    if found is None:
        return [line((f" {page.note}", "muted"), hang=1)]
    earlier: Span = (f.short_id(page.earlier), "accent")
    if whole:
        since: Span = (" shows what changed since ", "muted")
        return [line((" All of it  ", "strong"), key, since, earlier, hang=1)]
    counts: list[Span | str] = [
        (f"  +{found.added:,}", "ok"),
        (f" -{found.removed:,}", "error"),
        (" lines  ", "muted"),
    ]
    if not found.places:
        counts = [("  nothing: it is the same prompt  ", "muted")]
    more: tuple[Span, Span] = (("  n", "accent"), (" next change", "muted"))
    note = [line((f" {page.note}", "muted"), hang=1)] if page.note else []
    return [
        *note,
        line(
            (" Changed since ", "strong"),
            earlier,
            *counts,
            key,
            (" shows all", "muted"),
            *(more if found.places > 1 else ()),
            hang=1,
        ),
    ]


# ------------------------------------------------------------------------- away from the loop


def prompt_page(detail: RequestDetail, earlier: RequestDetail | None, note: str) -> PromptPage:
    """The prompt, and its changes since ``earlier``; ``note`` says why there is none.

    Takes a while for big prompts: not for the event loop.
    """
    rendered = bool(detail.prompt) and (earlier is None or bool(earlier.prompt))
    text = detail.prompt or prompt_text(detail)
    if not text:
        return PromptPage("", ())
    whole = tuple(
        Line(((entry.plain, "accent"),), 1) if _MARKER.match(entry.plain) else entry
        for entry in text_lines(text, indent=1)
    )
    if earlier is None:
        both = (note, "" if detail.prompt else _NOT_RENDERED)
        return PromptPage(text, whole, note=" ".join(part for part in both if part))
    one, other = (
        (earlier.prompt, detail.prompt) if rendered else (prompt_text(earlier), prompt_text(detail))
    )
    said = "" if rendered else "Compared are the messages as received, not the rendered prompts."
    return PromptPage(text, whole, changes(one, other), earlier.id, said)


def prompt_text(detail: RequestDetail) -> str:
    """The messages as received, as text."""
    body = parsed(detail.body)
    return body_text(body) if isinstance(body, dict) else ""
