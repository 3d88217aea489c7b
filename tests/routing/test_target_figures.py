"""Averages that forget, windows that end, lines through times: all of it bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.routing.figures import (
    SAMPLES,
    Decayed,
    FiguresBook,
    FirstTokenLine,
    TargetFigures,
    Window,
)
from anyclaude.routing.values import Target
from tests.routing.routing_kit import HandClock, upstream

T = Target("a", "m")


def test_a_sample_counts_half_after_a_half_life() -> None:
    sums = Decayed(1, half_life=10.0)
    sums.add(0.0, 8.0)
    sums.add(10.0, 2.0)
    assert sums.weight == pytest.approx(1.5)
    assert sums.mean(10.0) == pytest.approx((8.0 * 0.5 + 2.0) / 1.5)


def test_a_single_sample_is_forgotten_after_ten_half_lives() -> None:
    sums = Decayed(1, half_life=10.0)
    assert sums.mean(0.0) is None
    sums.add(0.0, 8.0)
    assert sums.mean(99.9) == pytest.approx(8.0)
    assert sums.mean(100.1) is None


def test_time_that_goes_back_changes_nothing() -> None:
    sums = Decayed(1, half_life=10.0)
    sums.add(100.0, 8.0)
    assert sums.mean(50.0) == pytest.approx(8.0)


def test_the_line_has_a_time_for_nothing_and_one_per_token() -> None:
    line = FirstTokenLine(half_life=1e9)
    for tokens in (100, 1_000, 5_000, 10_000, 20_000) * 20:
        line.add(0.0, tokens, 0.5 + tokens / 2_000)
    assert line.seconds(0.0, 40_000) == pytest.approx(20.5, rel=0.05)
    assert line.seconds(0.0, 1) == pytest.approx(0.5, abs=0.4)
    assert line.seconds(0.0, 7_220) == pytest.approx(0.5 + 7_220 / 2_000, rel=0.01)


def test_prompts_of_one_size_give_the_mere_time_per_token() -> None:
    line = FirstTokenLine(half_life=60.0)
    assert line.seconds(0.0, 10) is None
    line.add(0.0, 1_000, 2.0)
    line.add(1.0, 1_000, 4.0)
    assert line.per_token(1.0) == pytest.approx(0.003, rel=0.01)
    assert line.seconds(1.0, 2_000) == pytest.approx(2_000 * 0.003, rel=0.01)


@given(
    st.lists(st.tuples(st.integers(0, 200_000), st.floats(0.0, 600.0)), min_size=1, max_size=30),
    st.integers(0, 200_000),
    st.integers(0, 200_000),
)
def test_the_line_is_never_negative_and_never_falls(
    samples: list[tuple[int, float]], short: int, long: int
) -> None:
    line = FirstTokenLine(half_life=60.0)
    for at, (tokens, seconds) in enumerate(samples):
        line.add(float(at), tokens, seconds)
    short, long = sorted((short, long))
    at = float(len(samples))
    few, many = line.seconds(at, short), line.seconds(at, long)
    assert few is not None and many is not None
    assert -1e-6 <= few <= many + 1e-6


def test_a_window_forgets_by_the_bucket() -> None:
    window = Window(60.0, 60)
    window.add(0.5, 5.0)
    window.add(0.9, 1.0)
    window.add(30.0, 2.0)
    assert window.total(59.9) == 8.0
    assert window.total(60.0) == 2.0
    assert window.total(90.0) == 0.0


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 9)), max_size=60))
def test_a_window_is_the_sum_of_its_last_buckets(steps: list[tuple[float, int]]) -> None:
    window, now, seen = Window(10.0, 10), 0.0, list[tuple[int, int]]()
    for step, value in steps:
        now += step
        window.add(now, value)
        seen.append((int(now // 1.0), value))
        assert window.total(now) == sum(v for b, v in seen if b > int(now // 1.0) - 10)


def test_what_a_target_did() -> None:
    figures = TargetFigures(T)
    figures.began(0.0, waited=1.0)
    figures.first_content(2.0, 2.0, new_tokens=1_000)
    figures.finished(7.0, tokens=1_101, output=101, duration=7.0, decode=5.0)
    figures.ended()
    figures.began(8.0, waited=0.0)
    figures.failed(9.0, 1.0, upstream(500, "broken"))
    figures.ended()
    assert figures.first_token_seconds(9.0, 500) == pytest.approx(1.0)
    assert figures.tokens_per_second(9.0) == pytest.approx(20.0)
    assert figures.tokens_this_minute(9.0) == 1_101
    assert figures.error_ratio(9.0) == 0.5
    assert figures.duration(9.0) == pytest.approx(7.0)
    assert figures.failure_seconds(9.0) == pytest.approx(1.0)
    assert 0.4 < figures.wait_seconds(9.0) < 0.5
    view = figures.view(9.0)
    assert (view.in_flight, view.ttft_p50, view.ttft_p95, view.calls_per_minute) == (0, 2.0, 2.0, 2)
    assert view.last_error is not None
    assert (view.last_error.status, view.last_error.message) == (500, "broken")


def test_a_count_is_no_measure_of_answers() -> None:
    figures = TargetFigures(T)
    figures.finished(0.0, tokens=0, output=0, duration=0.01, decode=None)
    assert figures.duration(0.0) is None
    assert figures.output_tokens(0.0) is None
    assert figures.calls_this_minute(0.0) == 1


def test_speed_is_of_tokens_in_all_not_of_answers() -> None:
    figures = TargetFigures(T)
    figures.finished(0.0, 0, output=2, duration=1.0, decode=1.0)  # a token a second, one token
    figures.finished(0.0, 0, output=1_000, duration=10.0, decode=9.99)
    assert figures.tokens_per_second(0.0) == pytest.approx(91.0, rel=0.01)


def test_samples_are_few() -> None:
    figures = TargetFigures(T)
    for n in range(10 * SAMPLES):
        figures.first_content(float(n), float(n), 10)
    assert figures.view(0.0).ttft_p50 == 10 * SAMPLES - SAMPLES // 2


def test_names_that_clients_make_up_take_no_room() -> None:
    clock = HandClock()
    book = FiguresBook(clock, limit=3)
    busy = book.of(Target("a", "busy"))
    busy.began(0.0, 0.0)
    for n in range(50):
        book.of(Target("a", f"made up {n}"))
    assert len(book) == 3
    assert book.of(Target("a", "busy")) is busy


def test_a_backend_is_all_of_its_models() -> None:
    clock = HandClock()
    book = FiguresBook(clock)
    assert book.duration_at("a") is None
    book.of(Target("a", "x")).finished(clock(), 1, 10, 2.0, 1.0)
    book.of(Target("a", "y")).finished(clock(), 1, 10, 4.0, 1.0)
    book.of(Target("b", "x")).finished(clock(), 1, 10, 100.0, 1.0)
    assert book.duration_at("a") == pytest.approx(3.0)
