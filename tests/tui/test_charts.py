"""What each chart says of its figures."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from tests.tui.fake_source import NOON, session
from tests.tui.room_scenes import minutes
from tui.charts import CHARTS, Chart, draw, figures
from tui.lines import plain_text
from tui.series import History, Summary
from tui.state import Store


def _chart(name: str) -> Chart:
    return next(chart for chart in CHARTS if chart.id == name)


def _text(name: str, width: int = 57, height: int = 7, now: float = NOON) -> str:
    store = Store()
    minutes(store)
    return plain_text(draw(_chart(name), store.history, now, 300, width, height))


@pytest.mark.parametrize(
    ("name", "head", "top", "bottom"),
    [
        ("decode", " 38.0  min 0.0  max 48.0", "60", "0"),
        ("prefill", " 1.9k  min 0.0  max 2.2k", "3.0k", "0"),
        ("memory", " ─ process 21 GB  19 GB to 21 GB  ┄ mlx 19 GB  17 GB to 19 GB", "36G", "0"),
        ("busy", " 70%  min 2%  max 90%", "100%", "0%"),
        ("lag", " 1.2 ms  min 1.2 ms  max 61 ms", "80ms", "0"),
        ("requests", " ─ running 2  0 to 2  ┄ waiting 0  0 to 2", "4", "0"),
    ],
)
def test_a_chart_has_figures_and_axes(name: str, head: str, top: str, bottom: str) -> None:
    rows = _text(name, width=80).splitlines()
    assert rows[0] == head
    assert rows[1].split()[0] == top and rows[-2].split()[0] == bottom
    assert rows[-1].split()[0] == "-5m" and rows[-1].split()[-1] == "now"


def test_the_extremes_go_first_where_room_is_short() -> None:
    assert "max" not in _text("decode", width=18).splitlines()[0]
    assert _text("ttft", width=37).splitlines()[:2] == [
        " ─ p50 0.38s  0.26s to 0.50s",
        " ┄ p95 0.90s  0.90s to 1.40s",
    ]
    assert _text("memory", width=31).splitlines()[:2] == [
        " ─ process 21 GB",
        " ┄ mlx 19 GB  17 GB to 19 GB",
    ]
    assert _text("ttft", width=37, height=5).splitlines()[0] == " ─ p50 0.38s  ┄ p95 0.90s"


def test_a_peak_shorter_than_a_point_is_in_the_scale() -> None:
    rows = _text("lag", width=24).splitlines()
    assert rows[1].split()[0] == "80ms"
    assert "█" in rows[-3]


def test_nothing_is_said_to_be_nothing() -> None:
    empty = draw(_chart("decode"), History(), NOON, 300, 40, 6)
    assert empty[0].plain == " nothing in this time"
    assert "10" not in plain_text(empty)
    assert "nothing in this time" in _text("decode", now=NOON + 3_000)
    only = figures(_chart("ttft"), [None, Summary(1, 1, 1, 1)], 60, 6)
    assert plain_text(only) == " ─ p50 -  ┄ p95 0.00s  0.00s to 0.00s"


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.id)
@pytest.mark.parametrize(("width", "height"), [(36, 6), (57, 7), (77, 12), (14, 4)])
def test_a_chart_keeps_to_its_size(chart: Chart, width: int, height: int) -> None:
    store = Store()
    minutes(store)
    for event in session():
        store.apply(event, NOON)
    for span in (120, 3600):
        lines = draw(chart, store.history, NOON, span, width, height)
        assert len(lines) == height
        assert all(cell_len(entry.plain) <= width for entry in lines[1:])
