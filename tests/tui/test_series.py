"""Histories over time: what points say, what is forgotten, and what a gap is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tui.fake_source import NOON, vitals
from tui.series import SPANS_S, History, Series, span_for


def _series(*values: tuple[float, float]) -> Series:
    series = Series()
    for at, value in values:
        series.add(at, value)
    return series


def test_points_are_means_of_equal_parts_oldest_first() -> None:
    series = _series(*((960 + i, float(i)) for i in range(120)))
    assert series.points(1080, 120, 4) == [14.5, 44.5, 74.5, 104.5]


def test_points_stay_as_they_were_while_time_goes_on() -> None:
    series = _series(*((960 + i, float(i % 17)) for i in range(120)))
    before = series.points(1080.0, 120, 40)
    assert series.points(1082.9, 120, 40)[:-1] == before[1:]
    assert series.points(1083.1, 120, 40)[:-2] == before[2:]


def test_a_late_figure_is_no_gap_and_a_missing_one_is() -> None:
    series = _series((1000, 1.0), (1003, 2.0), (1020, 3.0))
    points = series.points(1021, 120, 120)
    assert points[-21:-15] == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    assert points[-14:-1] == [None] * 13
    assert points[-1] == 3.0


def test_a_long_span_draws_on_tens_of_seconds() -> None:
    series = _series(*((i * 10.0, 1.0) for i in range(361)))
    assert series.points(3600, 3600, 60) == [1.0] * 60
    assert series.points(3600, 120, 4)[0] == 1.0


def test_a_weight_counts_in_means_only() -> None:
    series = Series()
    series.add(10, 1.0, 9_000)
    series.add(10.5, 0.0, 1_000)
    found = series.summary(11, 120)
    assert found is not None
    assert (found.mean, found.low, found.high, found.last) == (0.9, 0.0, 1.0, 0.0)


def test_peaks_are_the_highest_values() -> None:
    series = _series((960, 1.0), (961, 60.0), (962, 2.0))
    assert series.points(1080, 120, 40, peaks=True)[0] == 60.0
    assert series.points(1080, 120, 40)[0] == 21.0
    assert series.points(1080, 120, 40, peaks=True)[-1] is None


def test_a_summary_is_of_its_span() -> None:
    series = _series((0, 99.0), (500, 5.0), (560, 7.0))
    found = series.summary(600, 120)
    assert found is not None and (found.low, found.high, found.last) == (5.0, 7.0, 7.0)
    assert series.summary(2000, 120) is None


def test_what_is_kept_is_bounded() -> None:
    series = Series()
    for second in range(20_000):
        series.add(second, 1.0)
    assert sum(len(ring.buckets) for ring in series._rings) == 700
    assert series.since == 20_000 - 3_700


def test_a_clock_set_back_loses_nothing() -> None:
    series = _series((1000, 1.0), (900, 5.0))
    found = series.summary(1000, 120)
    assert found is not None and (found.high, found.last) == (5.0, 5.0)


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 5_000), max_size=60),
    st.sampled_from(SPANS_S),
    st.integers(0, 300),
    st.floats(0, 6_000),
)
def test_points_lie_between_the_extremes(
    times: list[float], span: int, count: int, now: float
) -> None:
    series = _series(*((at, at % 7) for at in sorted(times)))
    points = series.points(now, span, count)
    assert len(points) == count
    assert all(value is None or 0 <= value < 7 for value in points)


@pytest.mark.parametrize(("age", "span"), [(0, 120), (121, 300), (900, 900), (9_999, 3600)])
def test_the_span_follows_the_age(age: float, span: int) -> None:
    assert span_for(age) == span


def test_the_history_takes_what_vitals_have() -> None:
    history = History()
    history.vitals(vitals(ttft_p50_ms=None), NOON)
    history.admitted(900, 1_000, NOON)
    history.admitted(0, 0, NOON)
    assert history.ttft_p50.summary(NOON, 120) is None
    assert history.decode.points(NOON + 1, 120, 120)[-1] == 41.8
    assert history.memory_total == vitals().memory_total_bytes
    reuse = history.reuse.summary(NOON, 120)
    assert reuse is not None and reuse.mean == 0.9
    assert history.revision == 2
