"""Web searches as lines: a table of them, and all that is known of one."""

from __future__ import annotations

from anyclaude.events import SearchMade
from tui import format as f
from tui.lines import Line, Span, fit, labelled, line

_WIDE = 56
"""Cells from which on there is room for the request and the figures."""
_HEAD = 3 + 9
_REQUEST = 5
_FIGURES = 7 + 7
_HOW = 8
_PROVIDER = 11


def how(made: SearchMade) -> Span:
    """What became of it, in a few letters: its time, or that nobody had to be asked."""
    search = made.search
    if search.error is not None:
        return "failed", "error"
    return ("cached", "ok") if search.cached else (f.seconds(search.ms), "text")


def heading(width: int) -> Line:
    """The names of the columns."""
    provider, query = _room(width)
    parts = [f"   {'TIME':<8} "]
    parts += ["REQ  "] if width >= _WIDE else []
    parts += [f"{fit('PROVIDER', provider)} "] if provider else []
    parts += [fit("QUERY", query)]
    parts += ["    RES    TOK"] if width >= _WIDE else []
    return Line(((fit("".join([*parts, "    TIME"]), width), "muted"),))


def row(made: SearchMade, width: int) -> Line:
    """One search in ``width`` cells; ``+`` marks one that nobody asked for."""
    search = made.search
    provider, query = _room(width)
    words, tone = how(made)
    spans: list[Span | str] = [
        (" + ", "accent") if made.inserted else "   ",
        (f"{f.clock(made.at)} ", "muted"),
    ]
    if width >= _WIDE:
        spans.append((f"{f.short_id(search.request_id):<4} ", "accent"))
    if provider:
        spans.append(f"{fit(f.one_line(search.provider) or '-', provider)} ")
    spans.append((fit(f.one_line(search.query), query), "strong"))
    if width >= _WIDE:
        spans.append((f" {f.count(search.results):>6}", "text" if search.results else "warn"))
        spans.append(f" {f.count(search.tokens):>6}")
    return line(*spans, (f" {words:>7}", tone))


def _room(width: int) -> tuple[int, int]:
    """Cells of provider and query: where it is narrow, the provider goes."""
    left = width - _HEAD - _HOW - (_REQUEST + _FIGURES if width >= _WIDE else 0)
    provider = _PROVIDER if left - _PROVIDER - 1 >= 24 else 0
    return provider, max(6, left - (provider + 1 if provider else 0))


def facts(made: SearchMade) -> list[Line]:
    """All that is known of one search."""
    search = made.search
    why: Span = (
        ("put into the prompt unasked, behind the newest turn", "accent")
        if made.inserted
        else ("asked for by the client's WebSearch", "text")
    )
    words, tone = how(made)
    spent: Span = (words, tone) if search.cached else (f.seconds(search.ms), "text")
    tokens = f"about {search.tokens:,} tokens of the prompt"
    found: Span = (f"{search.results:,}, {tokens}", "text") if search.results else ("none", "warn")
    lines = [
        labelled("query", (f.clean(search.query), "strong")),
        labelled("why", why),
        labelled("request", (f.one_line(search.request_id), "accent")),
        labelled("provider", f.one_line(search.provider) or "nobody was asked"),
        labelled("results", found),
        labelled("time", spent),
    ]
    for number, address in enumerate(search.pages):
        lines.append(labelled("pages read" if not number else "", (f.one_line(address), "accent")))
    if search.error is not None:
        lines.append(labelled("error", (f.clean(search.error), "error")))
    return lines


def summary(made: SearchMade) -> Line:
    """One search on a line of its request's overview."""
    search = made.search
    words, tone = how(made)
    what = f"{search.results} results, about {search.tokens:,} tokens, {search.provider or '-'}  "
    why: Span = ("  put in unasked" if made.inserted else "", "accent")
    shown: Span = (f.one_line(search.error), "error") if search.error is not None else (words, tone)
    return labelled("search", (f.one_line(search.query), "strong"), f"  {what}", shown, why)


def empty_lines(unasked: bool | None, key: str) -> list[Line]:
    """What will show here, and how to have more of it."""
    lines = [
        Line(),
        line(("  No search has been made yet.", "strong"), hang=2),
        Line(),
        line(
            "  When Claude Code uses its WebSearch tool, anyclaude asks the providers of the"
            " configuration ([search] providers), one after the other, and each search shows here:"
            " what was asked, who answered, how many results, and what they take of the prompt.",
            hang=2,
        ),
        Line(),
    ]
    if unasked is None:
        return lines
    state = "on" if unasked else "off"
    lines.append(
        line(
            f"  Searching unasked is {state}. ",
            (key, "accent"),
            " turns it on or off: a new turn that asks for fresh facts then gets results behind"
            " it, and its words leave this machine for that.",
            hang=2,
        )
    )
    return lines
