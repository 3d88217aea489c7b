"""The prefix tree as lines: one per edge, with columns of figures before the drawn tree, and the
facts of one. What lies where is told by the mark in the tree and by a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude.control import PrefixNode
from tui import format as f
from tui.lines import Line, Span, Tone, fit, line
from tui.plots import bar
from tui.trees import Branch, Place, place

MARKS: dict[Place, tuple[str, Tone]] = {
    "memory": ("●", "ok"),
    "disk": ("○", "muted"),
    "both": ("◉", "ok"),
}
_KEEP_IDS = 3
# What a chat template puts around turns says nothing in a line that is short anyway.
_MARKERS = re.compile(r"<\|[^|<>]{1,24}\|>")
_LABEL = 10


def ago(seconds: float) -> str:
    """``now``, ``12s ago``, ``2m ago``, ``3h ago``, ``4d ago``."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit} ago"
    return "now"


# ------------------------------------------------------------------------------------- columns


@dataclass(frozen=True, slots=True)
class Columns:
    """Cells of each column, 0 for one that there is no room for; the tree takes the rest."""

    bar: int
    place: int
    size: int
    used: int
    state: int
    sessions: int

    @property
    def words(self) -> bool:
        """Whether the state is told in words rather than by two marks."""
        return self.state > 2


def columns(width: int) -> Columns:
    """What fits: figures go first, then words, so that the text stays readable."""
    if width >= 130:
        return Columns(10, 6, 7, 7, 10, 18)
    if width >= 100:
        return Columns(8, 6, 7, 7, 10, 8)
    if width >= 74:
        return Columns(6, 6, 7, 7, 2, 0)
    if width >= 54:
        return Columns(5, 0, 7, 0, 2, 0)
    return Columns(0, 0, 0, 0, 2, 0)


def heading(width: int) -> Line:
    """The names of the columns."""
    cols = columns(width)
    # The first cell is the cursor's.
    names = [f" {'TOKENS':>6}"]
    names += [fit("", cols.bar)] if cols.bar else []
    names += [fit("WHERE", cols.place)] if cols.place else []
    names += [fit("SIZE", cols.size, right=True)] if cols.size else []
    names += [fit("USED", cols.used, right=True)] if cols.used else []
    names.append(fit("STATE" if cols.words else "", cols.state))
    names += [fit("SESSIONS", cols.sessions)] if cols.sessions else []
    return Line(((fit(" ".join([*names, "PREFIX"]), width), "muted"),))


@dataclass(frozen=True, slots=True)
class Frame:
    """What the lines of one picture have in common: time, width, and the largest edge."""

    now: float
    width: int
    most: int


def frame(found: Sequence[Branch], now: float, width: int) -> Frame:
    return Frame(now, width, max((b.node.tokens for b in found), default=1))


def _fixed(cols: Columns) -> int:
    sizes = (cols.bar, cols.place, cols.size, cols.used, cols.state, cols.sessions)
    return 7 + sum(size + 1 for size in sizes if size)


def row(branch: Branch, around: Frame) -> Line:
    """One edge in ``around.width`` cells."""
    cols = columns(around.width)
    node = branch.node
    where = place(node)
    mark, tone = MARKS[where]
    text_tone: Tone = "muted" if where == "disk" else "text"
    spans: list[Span | str] = [(f" {f.count(node.tokens):>6}", "text")]
    if cols.bar:
        spans.append((f" {bar(node.tokens / max(1, around.most), cols.bar)}", "run"))
    if cols.place:
        spans.append((f" {fit(where, cols.place)}", text_tone))
    if cols.size:
        size = f.size(node.bytes) if node.bytes else "-"
        spans.append((f" {fit(size, cols.size, right=True)}", text_tone))
    if cols.used:
        spans.append((f" {fit(ago(around.now - node.used_at), cols.used, right=True)}", "muted"))
    spans += _state(node, cols)
    if cols.sessions:
        spans += _sessions(node.sessions, cols.sessions)
    guide = branch.guide
    # It may not push the text out of sight: of a deep one the right end is shown.
    room = max(4, (around.width - _fixed(cols)) // 2)
    if len(guide) > room:
        guide = "…" + guide[len(guide) - room + 1 :]
    spans += [(f" {guide}", "muted"), (f"{mark} ", tone)]
    used = _fixed(cols) + 1 + len(guide) + 2
    text = f.one_line(_MARKERS.sub(" ", node.text)) or "(no text)"
    spans.append((fit(text, max(1, around.width - used)), text_tone))
    return line(*spans)


def _state(node: PrefixNode, cols: Columns) -> list[Span]:
    if not cols.words:
        return [(" >" if node.running else "  ", "run"), ("P" if node.pinned else " ", "accent")]
    run = f"{node.running} run" if node.running else ""
    pin = "pinned" if node.pinned else ""
    if run and pin:
        pin = "pin"
    gap = " " if run and pin else ""
    pad = max(0, cols.state - len(run + gap + pin))
    return [(f" {run}", "run"), (gap + pin, "accent"), (" " * pad, "text")]


def _sessions(sessions: Sequence[str], width: int) -> list[Span]:
    """How many share the edge, and the short ids of those that fit."""
    count = str(len(sessions)) if sessions else "-"
    ids = " ".join(short_session(name) for name in sessions[:_KEEP_IDS])
    return [(f" {count}", "text"), (fit(f" {ids}", width - len(count)), "accent")]


def short_session(session_id: str) -> str:
    """The first four characters of a session's id."""
    return f.one_line(session_id)[:4]


# --------------------------------------------------------------------------------- the details


def facts(branch: Branch, now: float) -> list[Line]:
    """All that is known of one edge."""
    node = branch.node
    where = place(node)
    mark, tone = MARKS[where]
    end = node.start + node.tokens
    lines = [
        _field("tokens", f"{node.tokens:,}", (f"  {node.start:,} to {end:,}", "muted")),
        _field("where", (f"{mark} ", tone), *_where(node, where)),
        _field("used", ago(now - node.used_at), (f"  at {f.clock(node.used_at)}", "muted")),
        _field("state", *_words(node)),
        _field("sessions", *_shared(node.sessions)),
    ]
    if branch.edges > 1:
        ways = f"parts {branch.forks} ways here; " if branch.forks > 1 else ""
        rest = branch.edges - 1
        lines.append(
            _field(
                "below",
                f"{ways}{rest} more {'edge' if rest == 1 else 'edges'}, "
                f"{f.count(branch.tokens - node.tokens)} tokens, "
                f"{f.size(branch.bytes - node.bytes)} in memory",
            )
        )
    lines.append(_field("begins", f.one_line(node.text) or ("with nothing that is text", "muted")))
    return lines


def _where(node: PrefixNode, where: Place) -> list[Span | str]:
    if where == "disk":
        return ["on disk only", ("  a prompt that comes by loads it", "muted")]
    also = ", and on disk" if where == "both" else ", not on disk"
    return [f"{f.size(node.bytes)} in memory", (also, "text" if where == "both" else "muted")]


def _words(node: PrefixNode) -> list[Span | str]:
    spans: list[Span | str] = []
    if node.running:
        noun = "request is" if node.running == 1 else "requests are"
        spans.append((f"{node.running} {noun} on it now", "run"))
    if node.pinned:
        spans.append((", " if spans else "", "muted"))
        spans.append(("pinned", "accent"))
        spans.append((": never evicted", "muted"))
    return spans or [("at rest: may be evicted", "muted")]


def _shared(sessions: Sequence[str]) -> list[Span | str]:
    if not sessions:
        return [("none of this run", "muted")]
    names = ", ".join(f.one_line(name) for name in sessions)
    count = "" if len(sessions) == 1 else f"{len(sessions)} share it: "
    return [count, (names, "accent")]


def _field(label: str, *spans: Span | str) -> Line:
    return line((f" {label:<{_LABEL - 1}}", "muted"), *spans, hang=_LABEL)


# ------------------------------------------------------------------------- nothing, and failure


def empty_lines() -> list[Line]:
    """What the tree will show, for who sees it before anything was read."""
    return [
        Line(),
        line((" Nothing is cached yet.", "strong"), hang=1),
        Line(),
        line(
            " What the model has read of a prompt is kept here. A later prompt that begins the "
            "same way is read only from where the two part:",
            hang=1,
        ),
        Line(),
        line(("   12.4k ", "text"), ("● ", "ok"), "system prompt and tools"),
        line(("    3.0k ", "text"), ("├─", "muted"), ("● ", "ok"), "fix the parser"),
        line(("     812 ", "text"), ("└─", "muted"), ("○ ", "muted"), ("write docs", "muted")),
        Line(),
        line(
            (" ● ", "ok"),
            "in memory, ",
            ("○ ", "muted"),
            "on disk, ",
            ("◉ ", "ok"),
            "on both. Each fork is a place where prompts part.",
            hang=3,
        ),
        line(" It fills with the first request.", hang=1),
    ]


def problem_lines(problem: str) -> list[Line]:
    """Why there is no picture, and what to do."""
    return [
        Line(),
        line((" x ", "error"), ("The tree could not be read: ", "strong"), problem, hang=3),
        Line(),
        line((" ctrl+r", "accent"), " asks again; ", ("esc", "accent"), " leaves", hang=1),
        line(
            " If it is the engine that failed, ",
            ("R", "accent"),
            " starts it again.",
            hang=1,
        ),
    ]


def legend(width: int) -> str:
    """What the marks mean, as long as it may be."""
    for text in (
        "● memory  ○ disk  ◉ both  > running  P pinned",
        "● memory ○ disk ◉ both",
    ):
        if len(text) <= width:
            return text
    return ""
