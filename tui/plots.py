"""Plots as lines: values over time as areas or as lines of dots, with both axes labelled; bars.

An area has eight steps to a cell, a line two dots across and four up. Where lines meet, the one
named first gives the colour; a dotted one is told from a solid one without any.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tui import format as f
from tui.lines import Line, Span, Tone

Points: TypeAlias = Callable[[int], Sequence[float | None]]

DOTS_ACROSS, DOTS_UP = 2, 4
_BRAILLE = 0x2800
# By column, from the lowest dot to the highest.
_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_UP = " ▁▂▃▄▅▆▇█"
_NICE = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
_TICK = 16


@dataclass(frozen=True, slots=True)
class Curve:
    """``points`` gives so many values, oldest first; ``filled``: the area under it too."""

    points: Points
    tone: Tone = "run"
    filled: bool = False
    dotted: bool = False


@dataclass(frozen=True, slots=True)
class Axes:
    """From 0 to ``top``, written by ``label``; the last ``span_s`` seconds."""

    top: float
    label: Callable[[float], str]
    span_s: float


def nice_top(peak: float, least: float) -> float:
    """The round number that a scale ends at: not below ``peak`` nor ``least``."""
    peak = max(peak, least)
    base = 10.0 ** math.floor(math.log10(peak))
    return next(step * base for step in _NICE if step * base >= peak * (1 - 1e-9))


def plot(curves: Sequence[Curve], axes: Axes, width: int, height: int) -> list[Line]:
    """``height`` lines of at most ``width`` cells, the last of which is the axis of time."""
    rows = max(1, height - 1)
    labels = _labels(axes, rows)
    margin = max(len(text) for text in labels)
    across = max(1, width - margin - 2)
    cells = _cells(curves, axes.top, across, rows)
    lines = [
        Line(((f"{text:>{margin}} ", "muted"), ("┤" if text else "│", "muted"), *_runs(row)))
        for text, row in zip(labels, cells, strict=True)
    ]
    lines.append(Line(((" " * (margin + 2) + _times(axes.span_s, across), "muted"),)))
    return lines


def _labels(axes: Axes, rows: int) -> list[str]:
    """Top and bottom, and the middle where there is one."""
    labels = [""] * rows
    labels[-1] = axes.label(0.0)
    if rows > 1:
        labels[0] = axes.label(axes.top)
    if rows >= 5 and rows % 2:
        labels[rows // 2] = axes.label(axes.top / 2)
    return labels


def _times(span_s: float, across: int) -> str:
    """``5m ago      2m30s      now``, with as many steps as there is room for."""
    steps = next((n for n in (4, 2) if across >= n * _TICK), 1)
    row = [" "] * across
    for step in range(steps + 1):
        passed = span_s * (steps - step) / steps
        text = "now" if not passed else f"-{short_span(passed)}"
        at = round(across * step / steps) - len(text) // 2
        at = max(0, min(across - len(text), at))
        if across >= len(text):
            row[at : at + len(text)] = text
    return "".join(row)


def short_span(seconds: float) -> str:
    """``5m``, ``2m30s``, ``1h``."""
    text = f.span(seconds)
    for zeros, unit in (("m00s", "m"), ("h00m", "h")):
        if text.endswith(zeros):
            return text.removesuffix(zeros) + unit
    return text


def _cells(
    curves: Sequence[Curve], top: float, across: int, rows: int
) -> list[list[tuple[str, Tone]]]:
    """Character and tone of every cell, topmost row first."""
    grid: list[list[tuple[str, Tone]]] = [[(" ", "text")] * across for _ in range(rows)]
    for curve in reversed(curves):
        (_fill if curve.filled else _trace)(grid, curve, top)
    return grid


def _fill(grid: list[list[tuple[str, Tone]]], curve: Curve, top: float) -> None:
    """An area, exact to the eighth of a cell; a value of nothing still shows as a line."""
    most = len(grid) * 8
    for column, value in enumerate(curve.points(len(grid[0]))):
        if value is None:
            continue
        eighths = max(1, _level(value, top, most))
        for row in reversed(grid):
            if eighths <= 0:
                break
            row[column] = (_UP[min(8, eighths)], curve.tone)
            eighths -= 8


def _trace(grid: list[list[tuple[str, Tone]]], curve: Curve, top: float) -> None:
    """A line of dots whose steps are joined."""
    most = len(grid) * DOTS_UP - 1
    before: int | None = None
    for x, value in enumerate(curve.points(len(grid[0]) * DOTS_ACROSS)):
        level = None if value is None else _level(value, top, most)
        if level is not None and not (curve.dotted and x % 2):
            start = _joined(before, level)
            for at in range(min(start, level), max(start, level) + 1):
                _dot(grid, x, at, curve.tone)
        before = level


def _level(value: float, top: float, most: int) -> int:
    return round(max(0.0, min(1.0, value / top)) * most) if top > 0 else 0


def _joined(before: int | None, level: int) -> int:
    """Where the stroke of a step from ``before`` to ``level`` begins."""
    if before is None or abs(before - level) <= 1:
        return level
    return before + (1 if level > before else -1)


def _dot(grid: list[list[tuple[str, Tone]]], x: int, level: int, tone: Tone) -> None:
    column, side = divmod(x, DOTS_ACROSS)
    up, dot = divmod(level, DOTS_UP)
    row = grid[len(grid) - 1 - up]
    there = ord(row[column][0])
    dots = there - _BRAILLE if there > _BRAILLE else 0
    row[column] = (chr(_BRAILLE + (dots | _DOTS[side][dot])), tone)


def _runs(row: Sequence[tuple[str, Tone]]) -> list[Span]:
    """The cells of a row as spans, neighbours of one tone together."""
    spans: list[Span] = []
    for mark, tone in row:
        if spans and spans[-1][1] == tone:
            spans[-1] = (spans[-1][0] + mark, tone)
        else:
            spans.append((mark, tone))
    return spans


def bar(fraction: float, width: int) -> str:
    """A bar of ``width`` cells, exact to the eighth; what is not nothing shows."""
    eighths = round(max(0.0, min(1.0, fraction)) * width * 8)
    eighths = max(eighths, 1) if fraction > 0 else 0
    full, part = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[part] if part else "")).ljust(width)
