"""The shared tier over a fake Redis: what is shared, and what happens while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from redis.exceptions import ConnectionError as Lost

from anyclaude.caches.shared.link import Away, Link, LinkOptions
from anyclaude.caches.shared.state import LocalState, SharedState, Versioned, Window
from anyclaude.caches.shared.tier import RedisState, SharedAnswers, SharedOptions
from anyclaude.errors import ConfigError
from tests.caches.response.kit import Clock, Reports

DIGEST = bytes(range(32))


class Server:
    """A fake server and everything that asks it."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self.clock = Clock(1_800_000_000.0)
        self.reports = Reports()
        self.links: list[Link] = []

    def link(self, *, timeout_s: float = 30.0) -> Link:
        link = Link(
            LinkOptions("redis://user:secret@cache.lan:6380/1", timeout_s=timeout_s, away_s=5),
            clock=self.clock,
            wall=self.clock,
            report=self.reports,
            connect=lambda options: FakeAsyncRedis(server=self.server),
        )
        self.links.append(link)
        return link

    def die(self) -> None:
        self.server.connected = False

    def live(self) -> None:
        self.server.connected = True


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    for link in server.links:
        await link.close()


async def test_two_instances_have_the_same_answers(server: Server) -> None:
    one = SharedAnswers(server.link(), SharedOptions())
    two = SharedAnswers(server.link(), SharedOptions())
    assert await one.put(DIGEST, b"answer")
    assert await two.get(DIGEST) == b"answer"
    await two.delete(DIGEST)
    assert await one.get(DIGEST) is None


async def test_an_answer_has_an_end(server: Server) -> None:
    answers = SharedAnswers(server.link(), SharedOptions(ttl_s=90))
    await answers.put(DIGEST, b"answer")
    redis = FakeAsyncRedis(server=server.server)
    assert 89_000 < await redis.pttl(f"anyclaude:answer:{DIGEST.hex()}") <= 90_000
    await redis.aclose()


async def test_a_namespace_is_its_own(server: Server) -> None:
    one = SharedAnswers(server.link(), SharedOptions("team*"))
    two = SharedAnswers(server.link(), SharedOptions("teams"))
    await one.put(DIGEST, b"one")
    await two.put(DIGEST, b"two")
    assert await one.flush() == 1
    assert await one.get(DIGEST) is None and await two.get(DIGEST) == b"two"


async def test_a_flush_deletes_all_of_many(server: Server) -> None:
    answers = SharedAnswers(server.link(), SharedOptions())
    for number in range(1200):
        await answers.put(number.to_bytes(32, "big"), b"x")
    assert await answers.flush() == 1200
    assert await answers.flush() == 0


async def test_conversations_can_be_kept_out(server: Server) -> None:
    link = server.link()
    answers = SharedAnswers(link, SharedOptions(answers=False))
    assert not await answers.put(DIGEST, b"answer")
    assert await answers.get(DIGEST) is None
    assert await answers.flush() == 0 and not answers.stats().enabled
    state = RedisState(link, server.clock)
    assert await state.put("breaker", "open", seen=0, ttl_s=60)


async def test_a_large_answer_is_not_sent(server: Server) -> None:
    answers = SharedAnswers(server.link(), SharedOptions(max_bytes=10))
    assert await answers.put(DIGEST, bytes(10)) and not await answers.put(DIGEST, bytes(11))


# ----------------------------------------------------------------------------------- while away


async def test_a_lost_server_is_left_alone_and_heard_of_once(server: Server) -> None:
    link = server.link()
    answers = SharedAnswers(link, SharedOptions())
    await answers.put(DIGEST, b"answer")
    server.die()
    assert await answers.get(DIGEST) is None
    assert not await answers.put(DIGEST, b"x") and link.is_away
    await link.settled()
    server.live()
    server.clock.forward(4.9)
    assert await answers.get(DIGEST) is None, "it isn't even asked yet"
    await link.settled()
    assert link.is_away
    server.clock.forward(0.1)
    assert await answers.get(DIGEST) is None, "nobody waits for the ping"
    await link.settled()
    assert await answers.get(DIGEST) == b"answer"
    assert len(server.reports.messages) == 2
    assert "cache.lan:6380/1 is away" in server.reports.messages[0]
    assert "is back" in server.reports.messages[1]
    assert "secret" not in "".join(server.reports.messages)


async def test_a_server_that_stays_away_says_nothing_more(server: Server) -> None:
    link = server.link()
    server.die()
    await link.start()
    answers = SharedAnswers(link, SharedOptions())
    for _ in range(5):
        server.clock.forward(5)
        assert await answers.get(DIGEST) is None
        await link.settled()
    assert link.is_away and len(server.reports.messages) == 1


async def test_no_request_waits_longer_than_the_timeout_and_only_one_does(server: Server) -> None:
    link = server.link(timeout_s=0.001)
    asked = 0

    async def hang(redis: object) -> None:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()

    for _ in range(3):
        with pytest.raises(Away):
            await link.call(hang)
    assert asked == 1 and link.is_away


async def test_a_server_that_was_only_slow_once_is_asked_again_at_once(server: Server) -> None:
    link = server.link()

    async def slow(redis: object) -> None:
        raise TimeoutError

    with pytest.raises(Away):
        await link.call(slow)
    assert link.is_away
    await link.settled()
    assert not link.is_away and not server.reports.messages


async def test_a_cancelled_request_is_no_failure_of_the_server(server: Server) -> None:
    link = server.link()
    began = asyncio.Event()

    async def hang(redis: object) -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(link.call(hang))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not link.is_away and not server.reports.messages


async def test_a_ping_under_way_ends_with_the_link(server: Server) -> None:
    link = server.link()
    with pytest.raises(Away):
        await link.call(_lost)
    await link.close()
    assert len(asyncio.all_tasks()) == 1


async def _lost(redis: object) -> None:
    raise Lost("gone")


def test_an_address_that_is_none_is_refused() -> None:
    for url in ("http://x", "redis://x:port"):
        with pytest.raises(ConfigError, match="redis_url"):
            Link(LinkOptions(url), clock=Clock(), wall=Clock(), report=Reports())
    assert LinkOptions("unix:///run/redis.sock?db=2").place == "/run/redis.sock"


# -------------------------------------------------------------------------------------- state

StateOf = Callable[[Server], SharedState]


@pytest.fixture(params=["local", "redis", "redis away"])
async def state(request: pytest.FixtureRequest, server: Server) -> SharedState:
    if request.param == "local":
        return LocalState(server.clock)
    if request.param == "redis away":
        server.die()
    return RedisState(server.link(), server.clock)


async def test_a_value_is_changed_only_by_who_has_seen_it(state: SharedState) -> None:
    assert await state.get("breaker") is None
    assert await state.put("breaker", "open", seen=0, ttl_s=60)
    assert await state.get("breaker") == Versioned("open", 1)
    assert not await state.put("breaker", "shut", seen=0, ttl_s=60)
    assert await state.put("breaker", "half open", seen=1, ttl_s=60)
    assert await state.get("breaker") == Versioned("half open", 2)


async def test_counts_are_of_their_window(state: SharedState, server: Server) -> None:
    assert await state.count("key", 60) == Window(1, 0, 0.0)
    server.clock.forward(45)
    assert await state.count("key", 60, 4) == Window(5, 0, 0.75)
    assert (await state.count("other", 60)).count == 1
    server.clock.forward(30)
    window = await state.count("key", 60)
    assert (window.count, window.before, window.share) == (1, 5, 0.25)
    assert window.sliding == 1 + 5 * 0.75
    server.clock.forward(120)
    assert await state.count("key", 60, 2) == Window(2, 0, 0.25)


async def test_a_local_value_has_an_end(server: Server) -> None:
    state = LocalState(server.clock)
    await state.put("a", "x", seen=0, ttl_s=10)
    server.clock.forward(10)
    assert await state.get("a") is None
    assert await state.put("a", "y", seen=0, ttl_s=10)


async def test_a_local_state_does_not_grow_for_ever(server: Server) -> None:
    state = LocalState(server.clock)
    for number in range(25_000):
        await state.count(f"key {number}", 1.0)
        await state.put(f"key {number}", "x", seen=0, ttl_s=1.0)
        server.clock.forward(0.001)
    assert len(state) <= 10_001


async def test_instances_count_together_and_by_themselves_when_they_must(server: Server) -> None:
    one = RedisState(server.link(), server.clock)
    two = RedisState(server.link(), server.clock)
    assert (await one.count("key", 60, 3)).count == 3
    assert (await two.count("key", 60, 2)).count == 5
    server.die()
    assert (await one.count("key", 60)).count == 4, "its own"
    assert (await two.count("key", 60)).count == 3


async def test_what_was_seen_last_is_known_while_the_server_is_away(server: Server) -> None:
    one = RedisState(server.link(), server.clock)
    two = RedisState(server.link(), server.clock)
    await one.put("breaker", "open", seen=0, ttl_s=60)
    assert await two.get("breaker") == Versioned("open", 1)
    server.die()
    assert await two.get("breaker") == Versioned("open", 1)
    assert await one.put("breaker", "shut", seen=1, ttl_s=60)
    server.clock.forward(61)
    assert await two.get("breaker") is None


async def test_of_two_that_change_a_value_at_once_one_does(server: Server) -> None:
    states = [RedisState(server.link(), server.clock) for _ in range(5)]
    done: list[Awaitable[bool]] = [
        state.put("breaker", str(number), seen=0, ttl_s=60) for number, state in enumerate(states)
    ]
    assert sum(await asyncio.gather(*done)) == 1


async def test_a_value_of_somebody_else_is_none(server: Server) -> None:
    redis = FakeAsyncRedis(server=server.server)
    for value in ("", "open", "x open", "-1 open"):
        await redis.set("anyclaude:state:breaker", value)
        assert await RedisState(server.link(), server.clock).get("breaker") is None
    await redis.aclose()
