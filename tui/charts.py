"""What the vitals room plots: each chart's title, its newest figures, and its curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from tui import format as f
from tui.lines import Line, Span, Tone, line
from tui.plots import Axes, Curve, nice_top, plot
from tui.series import History, Series, Summary

Figure: TypeAlias = Callable[[float], str]

_TWO_HEADS = 6


@dataclass(frozen=True, slots=True)
class Track:
    """One curve's figures; ``name`` is empty where it is the only one."""

    series: Callable[[History], Series]
    name: str = ""
    tone: Tone = "run"


@dataclass(frozen=True, slots=True)
class Chart:
    """One plot. ``figure`` writes a value with its unit, ``mark`` one on the axis.

    The axis ends at ``top`` where that is known, else at a round number of at least ``least``.
    ``peaks``: what matters is how high it went, not its mean.
    """

    id: str
    title: str
    tracks: tuple[Track, ...]
    figure: Figure
    mark: Figure
    least: float = 1.0
    top: Callable[[History], float] | None = None
    peaks: bool = False


def _count(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def _share(value: float) -> str:
    return f"{100 * value:.0f}%"


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 9.95 else f"{value:.0f} ms"


def _short_ms(value: float) -> str:
    return "0" if not value else f"{value:.0f}ms"


def _short_seconds(value: float) -> str:
    return "0" if not value else f.seconds(value).replace(".00s", "s").replace("0s", "s")


CHARTS: tuple[Chart, ...] = (
    Chart(
        "decode",
        "decode tok/s",
        (Track(lambda h: h.decode),),
        f.rate,
        f.count,
        least=10.0,
    ),
    Chart(
        "prefill",
        "prefill tok/s",
        (Track(lambda h: h.prefill),),
        f.rate,
        f.count,
        least=100.0,
    ),
    Chart(
        "ttft",
        "time to first token",
        (
            Track(lambda h: h.ttft_p50, "p50"),
            Track(lambda h: h.ttft_p95, "p95", "warn"),
        ),
        f.seconds,
        _short_seconds,
        least=100.0,
    ),
    Chart(
        "memory",
        "memory",
        (
            Track(lambda h: h.memory, "process"),
            Track(lambda h: h.mlx_memory, "mlx", "accent"),
        ),
        lambda v: f.size(int(v)),
        lambda v: "0" if not v else f"{f.gigabytes(int(v)).removesuffix('.0')}G",
        top=lambda h: float(h.memory_total),
    ),
    Chart(
        "busy",
        "mlx thread busy",
        (Track(lambda h: h.busy),),
        _share,
        _share,
        top=lambda h: 1.0,
    ),
    Chart(
        "lag",
        "event loop lag p99",
        (Track(lambda h: h.lag),),
        _ms,
        _short_ms,
        least=4.0,
        peaks=True,
    ),
    Chart(
        "requests",
        "requests",
        (
            Track(lambda h: h.running, "running"),
            Track(lambda h: h.waiting, "waiting", "warn"),
        ),
        _count,
        _count,
        least=4.0,
    ),
    Chart(
        "reuse",
        "prompt tokens reused",
        (Track(lambda h: h.reuse, tone="ok"),),
        _share,
        _share,
        top=lambda h: 1.0,
    ),
)


def draw(
    chart: Chart, history: History, now: float, span_s: float, width: int, height: int
) -> list[Line]:
    """The figures and the plot under them, ``height`` lines in all."""
    sums = [track.series(history).summary(now, span_s) for track in chart.tracks]
    head = figures(chart, sums, width, height)
    peak = max((s.high for s in sums if s is not None), default=0.0)
    top = chart.top(history) if chart.top is not None else 0.0
    alone = len(chart.tracks) == 1
    curves = [
        Curve(
            partial(track.series(history).points, now, span_s, peaks=chart.peaks),
            track.tone,
            filled=alone,
            dotted=index > 0,
        )
        for index, track in enumerate(chart.tracks)
    ]
    highest = max(top, peak) if top else nice_top(peak, chart.least)
    known = any(found is not None for found in sums)
    axes = Axes(highest, chart.mark if known else lambda value: "", span_s)
    return [*head, *plot(curves, axes, width, max(2, height - len(head)))]


def figures(chart: Chart, sums: list[Summary | None], width: int, height: int) -> list[Line]:
    """The newest value of each curve, and how low and high it went: on one line if it fits."""
    if all(found is None for found in sums):
        return [line((" nothing in this time", "muted"))]
    found = list(zip(chart.tracks, sums, strict=True))
    spans = [_figure(chart, index, *pair) for index, pair in enumerate(found)]
    whole = _joined(spans)
    if len(whole.plain) <= width:
        return [whole]
    if len(spans) > 1 and height >= _TWO_HEADS:
        return [_cut(part, width) for part in spans]
    return [_joined([part[:-1] for part in spans])]


def _cut(part: list[Span], width: int) -> Line:
    """One curve's figures; without the extremes where those don't fit."""
    whole = line(*part)
    return whole if len(whole.plain) <= width else line(*part[:-1])


def _joined(parts: list[list[Span]]) -> Line:
    return line(*(span for part in parts for span in (*part, (" ", "text"))))


def _figure(chart: Chart, index: int, track: Track, found: Summary | None) -> list[Span]:
    """Name, newest value, and the extremes as the last span."""
    name = f"{'┄' if index else '─'} {track.name} " if track.name else ""
    if found is None:
        return [(f" {name}", track.tone), ("-", "muted"), ("", "muted")]
    low, high = chart.figure(found.low), chart.figure(found.high)
    return [
        (f" {name}", track.tone),
        (chart.figure(found.last), "strong"),
        (f"  min {low}  max {high}" if not track.name else f"  {low} to {high}", "muted"),
    ]
