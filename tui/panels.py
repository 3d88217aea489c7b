"""What the panes beside the list say, as lines: cache tiers, tool errors, events, first run."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from anyclaude.events import EngineState, SystemEvent, TierStats
from tui import format as f
from tui.calls import comparison, what_happened
from tui.lines import Line, Span, Tone, fit, line, meter
from tui.plots import Axes, Curve, plot
from tui.series import History, span_for
from tui.state import ToolError
from tui.troubles import engine_trouble

_WIDE_TIERS = 57
_REUSE_ROWS = 3
_LEVELS: dict[str, tuple[str, Tone]] = {
    "info": ("·", "muted"),
    "warning": ("!", "warn"),
    "error": ("x", "error"),
}


class Detail(enum.IntEnum):
    """What is said beside the figures of each tier, as far as there is room: each of these with
    all that is before it."""

    FIGURES = 0
    PLOT = 1
    SAVINGS = 2
    LIMITS = 3


def cache_lines(
    tiers: Sequence[TierStats], history: History, width: int, detail: Detail = Detail.LIMITS
) -> list[Line]:
    """Per tier what it holds and what it saved, then how much of the prompts was reused."""
    if not tiers:
        text = " Hits, size and time saved of each cache tier show here when the model is ready."
        return [line((text, "muted"), hang=1)]
    wide = width >= _WIDE_TIERS
    name = max(8, width - (_WIDE_TIERS - 8 if wide else 31))
    heads = " HIT% ENTRIES     SIZE EVICT"
    heads = f"  HITS{heads}  SAVED   TIME" if wide else heads
    lines = [line((fit(f" {'TIER':<{name}}{heads}", width), "muted"))]
    for tier in tiers:
        if not tier.enabled:
            lines.append(line(f" {fit(tier.tier, name)} ", ("off", "muted")))
            continue
        hit = f.percent(tier.hits, tier.hits + tier.misses)
        gone, time = f.count(tier.evictions), f.span(tier.seconds_saved)
        figures = f" {hit:>4} {tier.entries:>7} {f.size(tier.bytes):>8} {gone:>5}"
        if wide:
            saved = f.count(tier.tokens_saved)
            figures = f" {f.count(tier.hits):>5}{figures}  {saved:>5} {time:>6}"
        lines.append(line((f" {fit(tier.tier, name)}", "strong"), figures))
        if tier.limit_bytes and detail >= Detail.LIMITS:
            parts = meter(tier.bytes / tier.limit_bytes, max(4, width - 12))
            lines.append(line(" ", *parts, (f" of {f.size(tier.limit_bytes)}", "muted")))
        if tier.hits and not wide and detail >= Detail.SAVINGS:
            noun = "hit" if tier.hits == 1 else "hits"
            saved = f" {f.count(tier.hits)} {noun} saved {f.count(tier.tokens_saved)} tok {time}"
            lines.append(line((saved, "muted"), hang=1))
    return [*lines, *_reuse_lines(history, width, plotted=detail >= Detail.PLOT)]


def _reuse_lines(history: History, width: int, *, plotted: bool) -> list[Line]:
    """How much of the prompts needn't be read again, over the minutes there were any."""
    since = history.reuse.since
    if since is None:
        return []
    span = span_for(history.at - since)
    found = history.reuse.summary(history.at, span)
    if found is None:
        return []
    head = line((" prompt tokens reused ", "muted"), (f"{100 * found.mean:.0f}%", "strong"))
    if not plotted:
        return [head]
    curve = Curve(partial(history.reuse.points, history.at, span), "ok", filled=True)
    axes = Axes(1.0, lambda value: f"{100 * value:.0f}%", span)
    return [head, *plot([curve], axes, width, _REUSE_ROWS)]


def error_lines(errors: Sequence[ToolError], selected: int | None, width: int) -> list[Line]:
    """Newest first, one anchor each; the selected one with its issues, what was mended, what the
    client said, and the text beside the input."""
    if not errors:
        text = " None so far. A call that does not parse or does not fit its schema shows here."
        return [line((text, "muted"), hang=1)]
    lines: list[Line] = []
    for index, error in enumerate(errors):
        call = error.call
        chosen = index == selected
        bad = error.refusal is not None or call.verdict in ("failed", "unparsed")
        tone: Tone = "error" if bad else "warn"
        name = fit(f.one_line(call.name) or "?", max(4, width - 27))
        lines.append(
            line(
                ("▌" if chosen else " ", "pick"),
                (f"{f.clock(error.at)} ", "muted"),
                (f"{f.short_id(call.request_id)} ", "accent"),
                (name, "strong"),
                (f" {'refused' if error.refusal else call.verdict}", tone),
                anchor=str(index),
            )
        )
        if chosen:
            lines += [*what_happened(call, error.refusal), *comparison(call, width)]
        elif error.refusal is not None and call.verdict == "valid":
            lines.append(line(f"   client: {f.one_line(error.refusal.message)}", hang=3))
        else:
            text = call.issues[0].text if call.issues else "no issue was named"
            lines.append(line(f"   {text}", hang=3))
    return lines


def event_lines(events: Sequence[SystemEvent]) -> list[Line]:
    """Newest first: when, how bad, of what kind, and the message."""
    if not events:
        return [line((" Model loads, flushes and errors show here.", "muted"), hang=1)]
    return [_event_line(event) for event in events]


@lru_cache(maxsize=1_000)
def _event_line(event: SystemEvent) -> Line:
    mark, tone = _LEVELS[event.level]
    return line(
        (f" {f.clock(event.at)} ", "muted"),
        (f"{mark} ", tone),
        (event.message, "text" if event.level == "info" else tone),
        hang=12,
    )


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the first-run screen needs to know; ``problem`` is why the server is not there, and
    ``offers`` are keys with what each does about it."""

    engine: EngineState
    started: bool = False
    address: str = ""
    env_lines: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    problem: str = ""
    offers: tuple[tuple[str, str], ...] = ()


def welcome_lines(welcome: Welcome, width: int) -> list[Line]:
    """The screen before the first request: what loads, what to paste, what will show."""
    if welcome.problem:
        return [
            Line(),
            line(("  anyclaude could not start", "error")),
            Line(),
            *(line(f"  {part}", hang=2) for part in welcome.problem.splitlines()),
            Line(),
            *(line((f"  {key}", "accent"), f" {text}", hang=4) for key, text in welcome.offers),
            line(("  q", "accent"), " quits", hang=4),
        ]
    lines = [Line(), *_engine_lines(welcome, width), Line()]
    if welcome.env_lines:
        lines += [line(("  Paste these lines into another terminal:", "strong"), hang=2), Line()]
        lines += [line((f"    {text}", "accent"), hang=4) for text in welcome.env_lines]
        lines += [Line(), line(("    y", "accent"), " copies them", hang=4), Line()]
        text = "  Each request Claude Code makes then appears here as it runs; "
        lines.append(line(text, ("⏎", "accent"), " opens it.", hang=2))
    if welcome.address:
        text = "Any client of the Anthropic API can use "
        lines.append(line(f"  {text}", (welcome.address, "accent"), hang=2))
    if welcome.advice:
        lines += [Line(), line(("  Better models for this machine:", "strong"), hang=2)]
        lines += [line(f"    {text}", hang=6) for text in welcome.advice]
    return lines


def _engine_lines(welcome: Welcome, width: int) -> list[Line]:
    engine = welcome.engine
    match engine.phase:
        case "loading":
            parts = meter(engine.progress, max(10, min(40, width - 12)))
            lines = [
                line(("  ◐ ", "run"), "Loading ", (engine.model or "the model", "strong"), hang=4),
                line("    ", *parts, f" {100 * engine.progress:3.0f}%"),
            ]
            if engine.detail:
                lines.append(line((f"    {engine.detail}", "muted"), hang=4))
            return lines
        case "ready":
            limit = f"  {engine.context_limit:,} tokens of context" if engine.context_limit else ""
            name: Span = (engine.model, "strong")
            return [line(("  ● ", "ok"), name, " is ready", (limit, "muted"), hang=4)]
        case "failed":
            failure = engine_trouble(engine.detail)
            title = failure.title.rstrip(".")
            return [
                line(("  x ", "error"), (title, "strong"), f": {failure.why}", hang=4),
                *(
                    line((f"    {key}", "accent"), f" {text}", hang=6)
                    for key, text in welcome.offers
                ),
            ]
        case "stopped":
            return [line(("  ○ ", "muted"), "Stopped")]
        case "unloaded" if welcome.started:
            lines = [line(("  ○ ", "muted"), "No model is loaded: ", ("m", "accent"), " picks one")]
            if engine.detail:
                lines.append(line((f"    {engine.detail}", "muted"), hang=4))
            return lines
        case _:
            return [line(("  ○ ", "muted"), "Starting the server")]
