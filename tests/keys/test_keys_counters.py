"""Buckets and days: what is let through, and how long the rest has to wait."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.config.settings import KeySettings
from anyclaude.keys.counters import DAY_S, Bucket, Exhausted, MemoryCounters, Spent

NOON = 1_700_000_000.0 - 1_700_000_000.0 % DAY_S + DAY_S / 2


async def test_as_many_requests_at_once_as_a_minute_allows() -> None:
    counters, limits = MemoryCounters(), KeySettings(rpm=3)
    for _ in range(3):
        assert await counters.take("a", limits, NOON) is None
    assert await counters.take("a", limits, NOON) == Exhausted("rpm", pytest.approx(20.0))
    assert await counters.take("a", limits, NOON + 5) == Exhausted("rpm", pytest.approx(15.0))
    assert await counters.take("a", limits, NOON + 20) is None
    assert await counters.take("a", limits, NOON + 20) is not None


async def test_each_key_has_counts_of_its_own() -> None:
    counters, limits = MemoryCounters(), KeySettings(rpm=1)
    assert await counters.take("a", limits, NOON) is None
    assert await counters.take("b", limits, NOON) is None
    assert await counters.take("a", limits, NOON) is not None


async def test_tokens_spent_beyond_the_minute_are_made_up_for() -> None:
    counters, limits = MemoryCounters(), KeySettings(tpm=600)
    assert await counters.take("a", limits, NOON) is None
    await counters.spend("a", limits, 1_200, 0.0, NOON)
    exhausted = await counters.take("a", limits, NOON)
    assert exhausted == Exhausted("tpm", pytest.approx(60.1))
    assert await counters.take("a", limits, NOON + 60.0) is not None
    assert await counters.take("a", limits, NOON + 60.2) is None


async def test_a_day_ends_at_midnight_utc() -> None:
    counters, limits = MemoryCounters(), KeySettings(tokens_per_day=100, budget_usd=1.0)
    await counters.spend("a", limits, 99, 0.5, NOON)
    assert await counters.take("a", limits, NOON) is None
    await counters.spend("a", limits, 1, 0.0, NOON)
    assert await counters.take("a", limits, NOON) == Exhausted("tokens_per_day", DAY_S / 2)
    assert await counters.take("a", limits, NOON + DAY_S / 2 - 1) == Exhausted(
        "tokens_per_day", 1.0
    )
    assert await counters.take("a", limits, NOON + DAY_S / 2) is None
    await counters.spend("a", limits, 5, 1.0, NOON + DAY_S / 2)
    assert await counters.take("a", limits, NOON + DAY_S) == Exhausted("budget_usd", DAY_S / 2)
    assert counters.spent("a", NOON + DAY_S) == Spent(5, 1.0)
    assert counters.spent("nobody", NOON) == Spent()


async def test_what_is_refused_counts_nowhere() -> None:
    counters, limits = MemoryCounters(), KeySettings(rpm=2, tokens_per_day=10)
    await counters.spend("a", limits, 10, 0.0, NOON)
    for _ in range(5):
        assert await counters.take("a", limits, NOON) is not None
    more = KeySettings(rpm=2, tokens_per_day=20)
    assert [await counters.take("a", more, NOON) for _ in range(2)] == [None, None]


async def test_the_longest_wait_is_told() -> None:
    counters, limits = MemoryCounters(), KeySettings(rpm=1, tpm=60, tokens_per_day=10)
    assert await counters.take("a", limits, NOON) is None
    assert await counters.take("a", limits, NOON) == Exhausted("rpm", pytest.approx(60.0))
    await counters.spend("a", limits, 10, 0.0, NOON)
    assert await counters.take("a", limits, NOON) == Exhausted("tokens_per_day", DAY_S / 2)


async def test_a_restart_gives_no_new_day() -> None:
    limits = KeySettings(tokens_per_day=10)
    counters = MemoryCounters({"a": Spent(10, 0.1)}, NOON)
    assert await counters.take("a", limits, NOON) == Exhausted("tokens_per_day", DAY_S / 2)
    assert await counters.take("b", limits, NOON) is None
    assert await counters.take("a", limits, NOON + DAY_S) is None


async def test_a_clock_put_back_gives_nothing() -> None:
    counters, limits = MemoryCounters(), KeySettings(rpm=1, tokens_per_day=10)
    await counters.spend("a", limits, 10, 0.0, NOON)
    assert counters.spent("a", NOON - DAY_S) == Spent(10, 0.0)
    bucket = Bucket()
    bucket.take(1, 1, NOON)
    assert bucket.left(1, NOON - 100) == 0.0


async def test_a_limit_that_changes_counts_from_then_on() -> None:
    counters = MemoryCounters()
    await counters.spend("a", KeySettings(), 50, 0.0, NOON)
    assert await counters.take("a", KeySettings(tokens_per_day=50), NOON) is not None
    assert await counters.take("a", KeySettings(rpm=10), NOON) is None
    for _ in range(2):
        assert await counters.take("a", KeySettings(rpm=2), NOON) is None
    assert await counters.take("a", KeySettings(rpm=2), NOON) is not None


@given(
    st.integers(1, 120),
    st.lists(st.floats(0, 10, allow_nan=False), min_size=1, max_size=200),
)
def test_never_more_than_a_minutes_worth_ahead(rpm: int, gaps: list[float]) -> None:
    """However requests come, no more pass than the bucket held and has been given since."""
    counters, limits = MemoryCounters(), KeySettings(rpm=rpm)

    async def go() -> None:
        now, passed = NOON, 0
        for gap in gaps:
            now += gap
            exhausted = await counters.take("a", limits, now)
            if exhausted is None:
                passed += 1
            else:
                after = now + exhausted.wait_s + 1e-6
                assert exhausted.wait_s > 0
                assert rpm + (after - NOON) * rpm / 60 - passed >= 1 - 1e-6
            assert passed <= rpm + (now - NOON) * rpm / 60 + 1e-6

    asyncio.run(go())
