"""Counts of keys that two servers share."""

from __future__ import annotations

import pytest

from anyclaude.caches.shared.state import LocalState
from anyclaude.config.settings import KeySettings
from anyclaude.keys.counters import DAY_S
from anyclaude.keys.shared import SharedCounters

START = 100 * DAY_S


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def servers(clock: Clock) -> list[SharedCounters]:
    state = LocalState(clock)
    return [SharedCounters(state), SharedCounters(state)]


async def test_requests_of_both_count(servers: list[SharedCounters], clock: Clock) -> None:
    limits = KeySettings(rpm=4)
    for server in servers * 2:
        assert await server.take("k", limits, clock.now) is None
    for server in servers:
        refused = await server.take("k", limits, clock.now)
        assert refused is not None and refused.limit == "rpm"
    assert await servers[0].take("another", limits, clock.now) is None
    clock.now += refused.wait_s + 0.001
    assert await servers[0].take("k", limits, clock.now) is None, "as it was told to wait"


async def test_tokens_of_a_minute(servers: list[SharedCounters], clock: Clock) -> None:
    limits = KeySettings(tpm=100)
    await servers[0].spend("k", limits, 150, 0.0, clock.now)
    refused = await servers[1].take("k", limits, clock.now)
    assert refused is not None and refused.limit == "tpm"
    clock.now += refused.wait_s + 0.001
    assert await servers[1].take("k", limits, clock.now) is None


async def test_a_day_ends_at_midnight(servers: list[SharedCounters], clock: Clock) -> None:
    limits = KeySettings(tokens_per_day=1000, budget_usd=0.5)
    clock.now += 3600
    await servers[0].spend("k", limits, 10, 0.3, clock.now)
    assert await servers[1].take("k", limits, clock.now) is None
    await servers[1].spend("k", limits, 10, 0.2, clock.now)
    refused = await servers[0].take("k", limits, clock.now)
    assert refused is not None
    assert (refused.limit, refused.wait_s) == ("budget_usd", DAY_S - 3600)
    await servers[0].spend("k", limits, 1000, 0.0, clock.now)
    by_tokens = await servers[0].take("k", KeySettings(tokens_per_day=1000), clock.now)
    assert by_tokens is not None and by_tokens.limit == "tokens_per_day"
    clock.now += refused.wait_s
    assert await servers[0].take("k", limits, clock.now) is None


async def test_without_limits_nothing_is_asked(servers: list[SharedCounters], clock: Clock) -> None:
    for _ in range(100):
        assert await servers[0].take("k", KeySettings(), clock.now) is None
