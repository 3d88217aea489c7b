"""Results that are kept: how long, how many, and beyond a restart."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from anyclaude.events import SystemEvent
from anyclaude.search.cache import CacheOptions, Kept, ResultCache
from anyclaude.search.file import FILE_NAME
from anyclaude.search.values import Query, Result
from tests.search.kit import DOCS, PYTHON, Clock, opened

QUERY = Query("newest Python")
KEPT = Kept("brave", (PYTHON, DOCS), 700.0)


async def test_kept_until_the_time_is_over(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as file:
        cache = ResultCache(file, CacheOptions(ttl_s=60), clock)
        await cache.put(QUERY, KEPT)
        assert await cache.get(Query("  NEWEST  python "), ["brave"]) == KEPT
        assert await cache.get(QUERY, ["tavily"]) is None
        assert await cache.get(Query("newest Python", blocked=("a.org",)), ["brave"]) is None
        clock.at += 60
        assert await cache.get(QUERY, ["brave"]) is None
        stats = cache.stats()
        assert (stats.tier, stats.enabled, stats.hits, stats.misses) == ("search", True, 1, 3)
        assert stats.seconds_saved == 0.7 and stats.entries == 1


async def test_kept_beyond_the_end_of_the_process(tmp_path: Path) -> None:
    clock = Clock()
    odd = Kept("brave", (Result("https://a.org/", "half \ud83d pair", "漢字 \x00"),), 1.0)
    async with opened(tmp_path, clock) as file:
        cache = ResultCache(file, CacheOptions(), clock)
        await cache.put(QUERY, KEPT)
        await cache.put(Query("odd"), odd)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    async with opened(tmp_path, clock) as file:
        cache = ResultCache(file, CacheOptions(), clock)
        await cache.start()
        assert cache.stats().entries == 2 and cache.stats().bytes > 0
        assert await cache.get(QUERY, ["brave"]) == KEPT
        assert await cache.get(Query("odd"), ["brave"]) == odd
        size = cache.stats().bytes
        assert await cache.flush() == (2, size)
        assert cache.stats().entries == cache.stats().bytes == 0
        assert await cache.get(QUERY, ["brave"]) is None


async def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as file:
        cache = ResultCache(file, CacheOptions(limit_bytes=2000), clock)
        for number in range(20):
            clock.at += 1
            await cache.put(Query(f"q{number}"), KEPT)
            await cache.get(Query("q0"), ["brave"])
        assert cache.stats().bytes <= 2000 and cache.stats().evictions > 0
        assert await cache.get(Query("q19"), ["brave"]) is not None
        assert await cache.get(Query("q0"), ["brave"]) is not None
        assert await cache.get(Query("q1"), ["brave"]) is None


async def test_switched_off_nothing_is_kept(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as file:
        cache = ResultCache(file, CacheOptions(ttl_s=0), clock)
        await cache.put(QUERY, KEPT)
        assert await cache.get(QUERY, ["brave"]) is None
        assert not cache.stats().enabled and cache.stats().entries == 0


async def test_a_damaged_file_costs_its_results_and_says_so(tmp_path: Path) -> None:
    clock = Clock()
    said: list[SystemEvent] = []
    (tmp_path / FILE_NAME).write_bytes(b"no database " * 200)
    async with opened(tmp_path, clock, said) as file:
        cache = ResultCache(file, CacheOptions(), clock)
        await cache.start()
        await cache.put(QUERY, KEPT)
        assert await cache.get(QUERY, ["brave"]) == KEPT
    assert [(e.level, e.kind) for e in said] == [("warning", "cache")]
    assert "damaged" in said[0].message


async def test_a_damaged_row_is_a_miss(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as file:
        cache = ResultCache(file, CacheOptions(), clock)
        await cache.put(QUERY, KEPT)

        def spoil(db: sqlite3.Connection) -> int:
            return db.execute("UPDATE results SET payload = '[1, 2'").rowcount

        assert await file.write(spoil, 0) == 1
        assert await cache.get(QUERY, ["brave"]) is None
