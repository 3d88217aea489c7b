"""Checks, what they change, and what requests say without any."""

from __future__ import annotations

import asyncio
import random

import pytest

from anyclaude.bench.simulated_time import run_simulated
from anyclaude.routing.breaker import Breaker, BreakerOptions
from anyclaude.routing.health import Health, HealthChecker, HealthState
from tests.routing.routing_kit import Dice, HandClock, refused, upstream


class Bench:
    """Backends a and b, whose probes fail as a test says."""

    def __init__(self, interval: float = 30.0, rng: random.Random | None = None) -> None:
        self.clock = HandClock(0.0)
        self.faults: dict[str, Exception] = {}
        self.probed: list[tuple[float, str]] = []
        self.healths = {name: Health(self.clock) for name in "ab"}
        self.breakers = {name: Breaker(name, BreakerOptions(), self.clock) for name in "ab"}
        self.checker = HealthChecker(
            self.healths, self.breakers, self.probe, interval_s=interval, rng=rng or Dice(0.5),
            sleep=self.sleep,
        )  # fmt: skip

    async def probe(self, name: str) -> None:
        self.probed.append((self.clock(), name))
        if name in self.faults:
            raise self.faults[name]

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.clock.now = asyncio.get_running_loop().time()

    def state(self, name: str = "a", ratio: float = 0.0) -> HealthState:
        return self.healths[name].view(self.breakers[name], ratio).state


def test_states() -> None:
    async def work() -> None:
        b = Bench()
        assert b.state() == "unknown"
        assert await b.checker.check("a")
        assert (b.state(), b.state(ratio=0.2)) == ("healthy", "degraded")
        b.faults["a"] = refused()
        assert not await b.checker.check("a")
        assert (b.state(), b.healths["a"].failing) == ("degraded", False)
        await b.checker.check("a")
        assert (b.state(), b.healths["a"].failing) == ("failing", True)
        assert b.healths["a"].error == "connection refused"
        b.healths["a"].answered()
        assert b.state() == "healthy"
        b.breakers["a"].trip()
        assert b.state() == "failing"
        b.clock.tick(30)
        b.breakers["a"].allow()
        assert b.state() == "degraded"
        assert b.state("b") == "unknown"

    run_simulated(work())


def test_a_request_that_went_well_makes_it_healthy_without_a_check() -> None:
    b = Bench()
    b.healths["a"].answered()
    assert b.state() == "healthy"
    b.healths["a"].failed(upstream(500, "broken"))
    assert b.healths["a"].view(b.breakers["a"], 0.0).error == "broken"


@pytest.mark.parametrize(
    ("fault", "well"),
    [
        (upstream(404), True),
        (upstream(401), True),
        (upstream(501, category="not_implemented"), False),
        (upstream(503), False),
        (upstream(429), False),
        (refused(), False),
        (ValueError("a probe with a fault"), False),
    ],
)
def test_a_backend_that_answers_is_there(fault: Exception, well: bool) -> None:
    b = Bench()
    b.faults["a"] = fault
    assert run_simulated(b.checker.check("a")) is well
    assert bool(b.healths["a"].error) is not well


def test_a_good_check_half_opens_the_breaker_and_a_bad_one_opens_nothing() -> None:
    async def work() -> None:
        b = Bench()
        b.breakers["a"].adopt("open", 100.0, "test")
        b.faults["b"] = refused()
        for _ in range(50):
            await b.checker.check("b")
        await b.checker.check("a")
        assert (b.breakers["a"].state, b.breakers["b"].state) == ("half-open", "closed")

    run_simulated(work())


def test_each_is_checked_at_its_own_pace() -> None:
    async def work() -> None:
        b = Bench(30.0, Dice(0.0, 1.0))
        watch = asyncio.create_task(b.checker.run())
        await asyncio.sleep(70)
        watch.cancel()
        await asyncio.wait([watch])
        # a draws the shortest pauses, b the longest.
        assert [(round(at), name) for at, name in b.probed] == [(24, "a"), (36, "b"), (48, "a")]

    run_simulated(work())


def test_who_has_just_answered_isnt_asked() -> None:
    async def work() -> None:
        b = Bench(30.0)
        watch = asyncio.create_task(b.checker.run())
        for _ in range(10):
            b.clock.now = asyncio.get_running_loop().time()
            b.healths["a"].answered()
            await asyncio.sleep(10)
        watch.cancel()
        await asyncio.wait([watch])
        assert {name for _, name in b.probed} == {"b"}
        assert len(b.probed) == 3

    run_simulated(work())


def test_no_interval_no_checks() -> None:
    b = Bench(0.0)
    run_simulated(b.checker.run())
    assert not b.probed
