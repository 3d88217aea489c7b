"""Plots: dots where the values are, axes that say so, and never a cell too many."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.plots import Axes, Curve, bar, nice_top, plot


def _axes(top: float = 100.0, span: float = 300) -> Axes:
    return Axes(top, lambda value: f"{value:.0f}", span)


def _curve(*values: float | None, filled: bool = False, dotted: bool = False) -> Curve:
    """These values, stretched over as many points as are asked for."""

    def points(count: int) -> Sequence[float | None]:
        return [values[i * len(values) // count] for i in range(count)]

    return Curve(points, filled=filled, dotted=dotted)


def test_a_filled_curve_reaches_its_height() -> None:
    rows = [entry.plain for entry in plot([_curve(0, 5, 60, 100, filled=True)], _axes(), 9, 3)]
    assert rows[:2] == ["100 ┤  ▂█", "  0 ┤▁▁██"]


def test_a_line_joins_its_steps() -> None:
    rows = [entry.plain for entry in plot([_curve(0, 100)], _axes(), 7, 3)]
    assert rows[:2] == ["100 ┤ ⡏", "  0 ┤⣀⠇"]


def test_axes_are_labelled() -> None:
    rows = [entry.plain for entry in plot([], _axes(), 60, 6)]
    assert rows[0] == "100 ┤" + " " * 55
    assert [row[:5] for row in rows[1:5]] == ["    │", " 50 ┤", "    │", "  0 ┤"]
    assert rows[-1].split() == ["-5m", "-2m30s", "now"]
    assert rows[-1].endswith("now")


def test_a_gap_stays_empty() -> None:
    rows = [entry.plain for entry in plot([_curve(10, None, None, 10)], _axes(), 13, 2)]
    assert rows[0] == "0 ┤⣀⣀⡀    ⢀⣀⣀"


def test_the_first_curve_gives_the_colour_and_dots_tell_them_apart() -> None:
    solid, dotted = _curve(90), _curve(10, dotted=True)
    rows = [entry.plain for entry in plot([solid, dotted], _axes(), 9, 3)]
    assert rows[:2] == ["100 ┤⠒⠒⠒⠒", "  0 ┤⠄⠄⠄⠄"]
    other = Curve(solid.points, "warn")
    assert {tone for _, tone in plot([solid, other], _axes(), 9, 3)[0].spans} == {"muted", "run"}
    assert {tone for _, tone in plot([other, solid], _axes(), 9, 3)[0].spans} == {"muted", "warn"}


@settings(deadline=None)
@given(
    st.lists(st.none() | st.floats(-10, 1e9), min_size=1, max_size=40),
    st.floats(0, 1e9),
    st.integers(1, 120),
    st.integers(1, 12),
    st.booleans(),
)
def test_a_plot_has_its_size(
    values: list[float | None], top: float, width: int, height: int, filled: bool
) -> None:
    lines = plot([_curve(*values, filled=filled)], _axes(top), width, height)
    assert len(lines) == max(2, height)
    margin = len(f"{top:.0f}") + 3
    assert all(cell_len(entry.plain) <= max(width, margin) for entry in lines)


@pytest.mark.parametrize(
    ("peak", "least", "top"),
    [(0, 1, 1), (0.3, 1, 1), (41, 10, 60), (1900, 100, 2000), (100, 1, 100), (2.1, 1, 3)],
)
def test_scales_end_at_round_numbers(peak: float, least: float, top: float) -> None:
    assert nice_top(peak, least) == top


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "    "), (0.0001, "▏   "), (0.5, "██  "), (0.53125, "██▏ "), (1, "████"), (9, "████")],
)
def test_bars_are_exact_to_the_eighth(share: float, text: str) -> None:
    assert bar(share, 4) == text
