"""The shared tier over a real Redis, which goes away and comes back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from anyclaude.caches.shared.link import Link, LinkOptions
from anyclaude.caches.shared.state import Versioned
from anyclaude.caches.shared.tier import RedisState, SharedAnswers, SharedOptions
from tests.caches.response.kit import Clock, Reports

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="no redis-server is installed")

DIGEST = bytes(range(32))


class Redis:
    """A server on a socket in ``folder``, without TCP and without files."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        assert SERVER is not None
        self._process = await asyncio.create_subprocess_exec(
            SERVER,
            *("--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if b"ready to accept connections" in line.lower():
                return
        raise AssertionError("redis-server ended at once")

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.communicate()
            self._process = None


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    redis = Redis(tmp_path)
    await redis.start()
    yield redis
    await redis.stop()


async def test_two_instances_share_it_through_its_death(redis: Redis) -> None:
    clock, reports = Clock(), Reports()
    links = [
        Link(
            LinkOptions(f"unix://{redis.socket}", timeout_s=10.0, away_s=5),
            clock=clock,
            wall=clock,
            report=reports,
        )
        for _ in range(2)
    ]
    for link in links:
        await link.start()
    one, two = (SharedAnswers(link, SharedOptions()) for link in links)
    state_one, state_two = (RedisState(link, clock) for link in links)

    assert await one.put(DIGEST, b"\x00answer\xff")
    assert await two.get(DIGEST) == b"\x00answer\xff"
    assert await state_one.put("breaker", "open", seen=0, ttl_s=60)
    assert await state_two.get("breaker") == Versioned("open", 1)
    assert not await state_two.put("breaker", "shut", seen=0, ttl_s=60)
    assert (await state_one.count("key", 60)).count == 1
    assert (await state_two.count("key", 60)).count == 2
    swaps = [state.put("breaker", "x", seen=1, ttl_s=60) for state in (state_one, state_two)]
    assert sum(await asyncio.gather(*swaps)) == 1

    await redis.stop()
    assert await one.get(DIGEST) is None
    assert not await one.put(DIGEST, b"x")
    assert (await state_one.count("key", 60)).count == 2, "its own count goes on"
    await links[0].settled()
    assert len(reports.messages) == 1

    await redis.start()
    clock.forward(5)
    assert await one.get(DIGEST) is None
    await links[0].settled()
    assert await one.put(DIGEST, b"new")
    assert await two.get(DIGEST) == b"new", "a pooled connection of before is opened anew"
    assert await one.flush() == 1
    assert len(reports.messages) == 2
    for link in links:
        await link.close()
