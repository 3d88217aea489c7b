"""All tiers behind one door."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakeredis import FakeAsyncRedis

from anyclaude.caches.response.cache import ResponseCache
from anyclaude.caches.response.control import CacheControl, NotCached
from anyclaude.caches.response.entry import TextPart, pack
from anyclaude.caches.response.key import CacheKey
from anyclaude.caches.response.memory import MemoryTier
from anyclaude.caches.response.persistent import PersistentOptions, PersistentTier
from anyclaude.caches.shared.link import Link, LinkOptions
from anyclaude.caches.shared.tier import SharedAnswers, SharedOptions
from anyclaude.types import Tier
from tests.caches.response.kit import Clock, Reports, entry

KEY = CacheKey(bytes(range(32)), ("toolu_",))
OTHER = CacheKey(bytes(range(1, 33)))


class House:
    """A cache with memory, disk and a shared server."""

    def __init__(self, folder: Path, redis: FakeAsyncRedis) -> None:
        self.clock = Clock()
        self.reports = Reports()
        self.memory = MemoryTier(self.clock, 10**6)
        options = PersistentOptions(read_timeout_s=30.0)
        self.disk = PersistentTier(
            folder / "responses.sqlite", options, wall=self.clock, report=self.reports
        )
        self.disk.start()
        self.link = Link(
            LinkOptions("redis://somewhere", timeout_s=30.0),
            clock=self.clock,
            wall=self.clock,
            report=self.reports,
            connect=lambda options: redis,
        )
        self.shared = SharedAnswers(self.link, SharedOptions())
        self.cache = ResponseCache(
            wall=self.clock, memory=self.memory, disk=self.disk, shared=self.shared
        )

    async def close(self) -> None:
        self.disk.close()
        await self.link.close()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path, FakeAsyncRedis())
    yield house
    await house.close()


async def test_an_answer_is_kept_everywhere_and_found_in_the_fastest_place(house: House) -> None:
    assert await house.cache.lookup(KEY) is None
    assert await house.cache.store(KEY, entry())
    house.clock.forward(12)
    hit = await house.cache.lookup(KEY)
    assert hit is not None and (hit.tier, hit.age, hit.entry) == (Tier.RESPONSE, 12, entry())
    assert hit.header == "tier=response; age=12; key=0001020304050607"
    assert await house.disk.get(KEY.digest) == await house.shared.get(KEY.digest)
    assert await house.cache.lookup(OTHER) is None


async def test_a_slower_tiers_hit_is_in_memory_from_then_on(house: House) -> None:
    await house.cache.store(KEY, entry())
    for tier in (Tier.RESPONSE_DISK, Tier.SHARED):
        house.memory.flush()
        hit = await house.cache.lookup(KEY)
        assert hit is not None and hit.tier is tier
        hit = await house.cache.lookup(KEY)
        assert hit is not None and hit.tier is Tier.RESPONSE
        await house.cache.flush(tier)
    stats = {tier.tier: tier for tier in house.cache.stats()}
    assert list(stats) == ["response", "response-disk", "shared", "semantic"]
    assert [(t.hits, t.misses) for t in stats.values()] == [(2, 2), (1, 1), (1, 0), (0, 0)]
    assert [t.enabled for t in stats.values()] == [True, True, True, False]
    assert stats["shared"].tokens_saved == 42 and stats["shared"].seconds_saved == 2.5


async def test_a_hit_says_when_it_was_made_not_when_it_was_moved(house: House) -> None:
    await house.cache.store(KEY, entry())
    house.clock.forward(7200)
    hit = await house.cache.lookup(KEY)
    assert hit is not None and (hit.tier, hit.age) == (Tier.RESPONSE_DISK, 7200)
    hit = await house.cache.lookup(KEY)
    assert hit is not None and (hit.tier, hit.age) == (Tier.RESPONSE, 7200)


async def test_a_flush_empties_one_tier_or_all(house: House) -> None:
    await house.cache.store(KEY, entry())
    gone = await house.cache.flush(Tier.RESPONSE)
    assert list(gone) == [Tier.RESPONSE] and gone[Tier.RESPONSE][0] == 1
    gone = await house.cache.flush()
    assert [(tier, count) for tier, (count, _) in gone.items()] == [
        (Tier.RESPONSE, 0), (Tier.RESPONSE_DISK, 1), (Tier.SHARED, 1),
    ]  # fmt: skip
    assert await house.cache.lookup(KEY) is None


async def test_the_request_has_its_say(house: House) -> None:
    cache = house.cache
    assert not await cache.store(KEY, entry(), CacheControl(write=False))
    assert await cache.lookup(KEY) is None
    assert await cache.store(KEY, entry(), CacheControl(private=True))
    assert await house.disk.get(KEY.digest) is None and await house.shared.get(KEY.digest) is None
    assert await cache.lookup(KEY, CacheControl(read=False)) is None
    house.clock.forward(10)
    assert await cache.lookup(KEY, CacheControl(max_age=9.9)) is None
    assert await cache.lookup(KEY, CacheControl(max_age=10)) is not None
    assert await cache.lookup(KEY, CacheControl(only_if_cached=True)) is not None
    with pytest.raises(NotCached):
        await cache.lookup(OTHER, CacheControl(only_if_cached=True))
    with pytest.raises(NotCached):
        await cache.lookup(KEY, CacheControl(read=False, only_if_cached=True))


async def test_a_newer_answer_elsewhere_is_taken_when_memorys_is_too_old(house: House) -> None:
    await house.cache.store(KEY, entry(), CacheControl(private=True))
    house.clock.forward(100)
    newer = replace(entry(TextPart("newer")), created=house.clock())
    await house.shared.put(KEY.digest, pack(newer, KEY.digest))
    hit = await house.cache.lookup(KEY, CacheControl(max_age=50))
    assert hit is not None and (hit.tier, hit.entry) == (Tier.SHARED, newer)


async def test_an_answer_that_speaks_of_ids_the_key_leaves_out_is_not_kept(house: House) -> None:
    assert not await house.cache.store(KEY, entry(TextPart("toolu_01 is done")))
    assert await house.cache.lookup(KEY) is None
    assert await house.cache.store(replace(KEY, id_marks=()), entry(TextPart("toolu_01 is done")))


async def test_what_cannot_be_read_is_deleted_where_it_lies(house: House) -> None:
    for data in (b"garbage", pack(entry(), OTHER.digest)):
        house.memory.put(KEY.digest, data)
        await house.disk.put(KEY.digest, data, house.clock())
        await house.shared.put(KEY.digest, data)
        assert await house.cache.lookup(KEY) is None
        assert house.memory.get(KEY.digest) is None
        assert await house.disk.get(KEY.digest) is None
        assert await house.shared.get(KEY.digest) is None


async def test_a_clock_set_back_makes_no_answer_younger_than_new(house: House) -> None:
    await house.cache.store(KEY, entry())
    house.clock.forward(-100)
    hit = await house.cache.lookup(KEY)
    assert hit is not None and hit.age == 0 and CacheControl().max_age == math.inf


async def test_without_any_tier_there_is_no_answer() -> None:
    cache = ResponseCache(wall=Clock())
    assert not await cache.store(KEY, entry())
    assert await cache.lookup(KEY) is None
    assert await cache.flush() == {}
    assert not any(tier.enabled for tier in cache.stats())


async def test_two_instances_share_answers(tmp_path: Path) -> None:
    redis = FakeAsyncRedis()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = House(tmp_path / "one", redis), House(tmp_path / "two", redis)
    await one.cache.store(KEY, entry())
    hit = await two.cache.lookup(KEY)
    assert hit is not None and (hit.tier, hit.entry) == (Tier.SHARED, entry())
    await one.close()
    await two.close()
