"""A search: checked, looked up, asked of one provider after the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from anyclaude.search.cache import CacheOptions
from anyclaude.search.service import OFF, REST_S
from anyclaude.search.values import Query, SearchOptions
from tests.search.kit import DOCS, PYTHON, SPAM, Clock, FakeProvider, failing, serving

QUERY = Query("newest python")


async def test_the_first_that_has_something_answers(tmp_path: Path) -> None:
    away, empty = failing("away"), FakeProvider("empty", [[]])
    good, later = FakeProvider("good"), FakeProvider("later")
    async with serving(tmp_path, away, empty, good, later) as service:
        found = await service.search(QUERY)
    assert (found.provider, found.results, found.error) == ("good", (PYTHON, DOCS), None)
    assert found.troubles == ("away is away",) and not found.cached
    assert [len(p.asked) for p in (away, empty, good, later)] == [1, 1, 1, 0]


async def test_the_second_time_nobody_is_asked(tmp_path: Path) -> None:
    good = FakeProvider("good")
    async with serving(tmp_path, good) as service:
        await service.search(QUERY)
        again = await service.search(Query(" Newest PYTHON"))
    assert again.cached and again.results == (PYTHON, DOCS) and again.provider == "good"
    assert len(good.asked) == 1


async def test_all_of_them_failing_tells_of_the_last(tmp_path: Path) -> None:
    async with serving(
        tmp_path, failing("a"), failing("b", "too_many_requests", retry_after=5)
    ) as service:
        found = await service.search(QUERY)
    assert (found.error, found.provider, found.detail) == ("too_many_requests", "b", "b is away")
    assert found.troubles == ("a is away", "b is away") and found.results == ()


async def test_nothing_found_is_no_error(tmp_path: Path) -> None:
    async with serving(tmp_path, FakeProvider("empty", [[]]), failing("a")) as service:
        found = await service.search(QUERY)
        again = await service.search(QUERY)
    assert (found.error, found.provider, found.results) == (None, "empty", ())
    assert not again.cached


async def test_a_provider_that_wants_fewer_searches_is_left_alone(tmp_path: Path) -> None:
    clock = Clock()
    busy = failing("busy", "too_many_requests", retry_after=120)
    vague = failing("vague", "too_many_requests")
    good = FakeProvider("good")
    off = CacheOptions(ttl_s=0)
    async with serving(tmp_path, busy, vague, good, clock=clock, cache=off) as service:
        await service.search(QUERY)
        found = await service.search(QUERY)
        assert found.provider == "good" and len(busy.asked) == len(vague.asked) == 1
        assert "asked again in 120 s" in found.troubles[0]
        clock.at += REST_S
        await service.search(QUERY)
        assert (len(busy.asked), len(vague.asked)) == (1, 2)
        clock.at += 120
        await service.search(QUERY)
        assert (len(busy.asked), len(vague.asked)) == (2, 3)


async def test_one_that_hangs_is_given_up(tmp_path: Path) -> None:
    stuck = FakeProvider("stuck", gate=asyncio.Event())
    options = SearchOptions(timeout_s=0.01)
    async with serving(tmp_path, stuck, FakeProvider("good"), options=options) as service:
        found = await service.search(QUERY)
    assert found.provider == "good" and found.troubles == ("stuck gave no answer in 0.01 s",)


async def test_what_nobody_foresaw_ends_no_request(tmp_path: Path) -> None:
    broken = FakeProvider("broken", [RuntimeError("a parser's own")])
    async with serving(tmp_path, broken) as service:
        found = await service.search(QUERY)
    assert found.error == "unavailable"
    assert found.detail == "broken answered what can't be read: RuntimeError"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (Query(" "), "invalid_input"),
        (Query("x" * 401), "query_too_long"),
        (Query("x", ("a.org",), ("b.org",)), "invalid_input"),
    ],
)
async def test_what_cannot_be_asked_goes_nowhere(tmp_path: Path, query: Query, code: str) -> None:
    good = FakeProvider("good")
    async with serving(tmp_path, good) as service:
        found = await service.search(query)
    assert (found.error, found.provider) == (code, "") and found.detail
    assert good.asked == []


async def test_without_providers_it_is_off(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        assert not service.on
        found = await service.search(QUERY)
    assert (found.error, found.detail) == ("unavailable", OFF)


async def test_domains_of_the_user_hold_for_every_search(tmp_path: Path) -> None:
    fake = FakeProvider("fake", [[SPAM, PYTHON, DOCS]])
    options = SearchOptions(allowed=("python.org",), blocked=("docs.python.org",))
    async with serving(tmp_path, fake, options=options) as service:
        found = await service.search(Query("python", blocked=("x.org",)))
    assert found.results == (PYTHON,)
    (asking,) = fake.asked
    assert asking.query.allowed == ("python.org",)
    assert asking.query.blocked == ("x.org", "docs.python.org")
    assert asking.limit == 16


async def test_only_blocked_pages_are_as_good_as_none(tmp_path: Path) -> None:
    spam, good = FakeProvider("spam", [[SPAM]]), FakeProvider("good")
    async with serving(tmp_path, spam, good) as service:
        found = await service.search(Query("python", blocked=("example.com",)))
    assert found.provider == "good"
