from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from anyclaude.metrics.lag import INTERVAL_S, SAMPLES, LoopLag


class FakeTimer:
    def __init__(self, loop: FakeLoop) -> None:
        self._loop = loop

    def cancel(self) -> None:
        self._loop.pending = None


class FakeLoop:
    """One timer at a time, fired by hand as late as the test likes."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pending: tuple[float, Callable[[], object]] | None = None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> FakeTimer:
        assert self.pending is None
        self.pending = (when, callback)
        return FakeTimer(self)

    def fire(self, late: float = 0.0) -> None:
        assert self.pending is not None
        (when, callback), self.pending = self.pending, None
        self.now = when + late
        callback()


def test_the_99th_percentile_is_that_of_the_delays() -> None:
    loop = FakeLoop()
    lag = LoopLag(loop)
    assert lag.p99_ms() == 0.0
    lag.start()
    for _ in range(98):
        loop.fire(0.001)
    loop.fire(0.050)
    loop.fire(0.050)
    assert lag.p99_ms() == pytest.approx(50.0)


def test_only_the_last_samples_count() -> None:
    loop = FakeLoop()
    lag = LoopLag(loop)
    lag.start()
    for _ in range(SAMPLES):
        loop.fire(1.0)
    for _ in range(SAMPLES):
        loop.fire()
    assert lag.p99_ms() == pytest.approx(0.0, abs=1e-6)


def test_timers_are_an_interval_apart_and_stop_when_told() -> None:
    loop = FakeLoop()
    lag = LoopLag(loop)
    lag.start()
    lag.start()
    loop.fire(0.5)
    assert loop.pending is not None
    assert loop.pending[0] == pytest.approx(loop.now + INTERVAL_S)
    lag.stop()
    lag.stop()
    assert loop.pending is None
    assert lag.p99_ms() == pytest.approx(500.0)


async def test_a_held_loop_shows() -> None:
    lag = LoopLag()
    lag.start()
    loop = asyncio.get_running_loop()
    held_until = loop.time() + INTERVAL_S * 3
    while loop.time() < held_until:
        pass
    await asyncio.sleep(0)  # the overdue timer runs
    await asyncio.sleep(0)
    lag.stop()
    assert lag.p99_ms() >= INTERVAL_S * 2 * 1000 * 0.99
