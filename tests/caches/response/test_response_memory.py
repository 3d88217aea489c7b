"""The tier in memory."""

from __future__ import annotations

import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from anyclaude.caches.response.memory import MemoryTier
from tests.caches.response.kit import Clock

LIMIT = 20_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_was_put_is_there_until_its_time_is_over(clock: Clock) -> None:
    tier = MemoryTier(clock, LIMIT, ttl_s=60)
    assert tier.put(b"a", b"x")
    clock.forward(59.9)
    assert tier.get(b"a") == b"x"
    clock.forward(0.1)
    assert tier.get(b"a") is None
    assert tier.stats().entries == 0 and tier.stats().bytes == 0


def test_the_one_used_longest_ago_goes_first(clock: Clock) -> None:
    tier = MemoryTier(clock, LIMIT)
    for name in (b"a", b"b", b"c", b"d"):
        tier.put(name, bytes(4000))
    assert tier.get(b"a") is not None
    tier.put(b"e", bytes(4000))
    assert [name for name in (b"a", b"b", b"c", b"d", b"e") if tier.get(name)] == [
        b"a", b"c", b"d", b"e",
    ]  # fmt: skip
    assert tier.stats().evictions == 1


def test_an_entry_that_would_drive_out_the_rest_is_not_kept(clock: Clock) -> None:
    tier = MemoryTier(clock, LIMIT)
    tier.put(b"a", b"old")
    assert not tier.put(b"a", bytes(LIMIT // 4))
    assert tier.get(b"a") is None, "nor is the older one, which is no longer the answer"


def test_a_flush_tells_what_went(clock: Clock) -> None:
    tier = MemoryTier(clock, LIMIT)
    tier.put(b"a", bytes(100))
    entries, size = tier.flush()
    assert entries == 1 and size >= sys.getsizeof(bytes(100))
    assert tier.flush() == (0, 0) and len(tier) == 0


def test_the_stats_say_what_it_is(clock: Clock) -> None:
    tier = MemoryTier(clock, LIMIT)
    tier.tally.hit(100, 1.5)
    tier.tally.misses += 2
    stats = tier.stats()
    assert (stats.tier, stats.enabled, stats.hits, stats.misses) == ("response", True, 1, 2)
    assert (stats.tokens_saved, stats.seconds_saved, stats.limit_bytes) == (100, 1.5, LIMIT)


class Machine(RuleBasedStateMachine):
    """Against a model that keeps everything: never another's bytes, never over the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.tier = MemoryTier(self.clock, LIMIT, ttl_s=100)
        self.put_at: dict[bytes, tuple[bytes, float]] = {}

    names = st.sampled_from([bytes([n]) for n in range(12)])

    @rule(name=names, size=st.integers(0, 6000), fill=st.integers(0, 255))
    def put(self, name: bytes, size: int, fill: int) -> None:
        payload = bytes([fill]) * size
        if self.tier.put(name, payload):
            self.put_at[name] = (payload, self.clock())
            assert self.tier.get(name) == payload
        else:
            self.put_at.pop(name, None)

    @rule(name=names)
    def get(self, name: bytes) -> None:
        found = self.tier.get(name)
        if found is not None:
            payload, at = self.put_at[name]
            assert found == payload and self.clock() - at < 100

    @rule(name=names)
    def delete(self, name: bytes) -> None:
        self.tier.delete(name)
        assert self.tier.get(name) is None

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds: float) -> None:
        self.clock.forward(seconds)

    @invariant()
    def within_the_limit(self) -> None:
        stats = self.tier.stats()
        assert 0 <= stats.bytes <= LIMIT
        assert (stats.bytes == 0) == (stats.entries == 0)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
