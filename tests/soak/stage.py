"""The server that is watched, in a process of its own, and everything around it that fails."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anyclaude.config.settings import (
    BackendSettings,
    CacheSettings,
    ResilienceSettings,
    RouteSettings,
    ServerSettings,
    Settings,
)
from tests.caches.shared.test_shared_real import SERVER, Redis
from tests.doubles.chaos_upstream import free_port
from tests.soak.clients import Crowd, Tally
from tests.soak.server import Server, serving
from tests.soak.upstream import Faulty, faulty
from tests.soak.watch import Sample

DRAIN_S = 60.0
SILENCE_S = 1.0
REDIS_EVERY = 500
"""Requests between the deaths of Redis, and half of it until it is back."""
RESILIENCE = ResilienceSettings(
    budget_s=8.0,
    backoff_s=0.05,
    backoff_max_s=0.5,
    breaker_open_s=1.0,
    cooldown_s=0.3,
    health_interval_s=2.0,
    continue_streams=True,
)


@dataclass(slots=True)
class Report:
    """``samples`` were taken under way, ``before`` and ``after`` without any client."""

    tally: Tally
    before: Sample
    after: Sample
    samples: list[Sample]
    faults: Counter[str]
    rows: int
    """Requests that the log has a row of."""
    undrained: int
    """Requests that never ended."""
    log_bytes: int

    @property
    def wrong(self) -> list[str]:
        problems = self.tally.wrong[:20]
        if self.undrained:
            problems.append(f"{self.undrained} requests are still under way")
        if not self.tally.heard <= self.rows <= self.tally.sent:
            heard, sent = self.tally.heard, self.tally.sent
            problems.append(f"{self.rows} rows of {sent} requests, {heard} of them answered")
        return problems


@dataclass(slots=True)
class Plan:
    """Ends after ``seconds``, or after ``requests`` if that is not 0, or by :meth:`stop`.

    Time in which the whole machine slept, or this process was stopped, doesn't count.
    """

    clients: int = 50
    seconds: float = 1800.0
    requests: int = 0
    think_s: float = 2.0
    seed: int = 1
    sample_s: float = 5.0
    awake: float = 0.0
    stopped: bool = False

    def stop(self) -> None:
        self.stopped = True

    def over(self, tally: Tally) -> bool:
        if self.requests:
            return self.stopped or tally.sent >= self.requests
        return self.stopped or self.awake >= self.seconds


async def soak(folder: Path, plan: Plan) -> Report:
    """Runs all of it; what the server says on stderr is in ``folder``/serve.log."""
    async with AsyncExitStack() as stack:
        upstreams = [
            await stack.enter_async_context(faulty(dialect, plan.seed + number))
            for number, dialect in enumerate(("anthropic", "anthropic", "openai"))
        ]
        redis = Redis(folder) if SERVER else None
        if redis is not None:
            await redis.start()
            stack.push_async_callback(redis.stop)
        server = await stack.enter_async_context(serving(settings(folder, upstreams, redis)))
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, plan.stop)
        crowd = Crowd(server.address, plan.clients, plan.seed, plan.think_s, plan.over)
        before = Sample.of(server.process, 0.0, 0)
        samples: list[Sample] = []
        async with asyncio.TaskGroup() as group:
            around = [group.create_task(_watch(server, crowd.tally, plan, samples))]
            around.append(group.create_task(_kill(redis, crowd.tally)))
            await crowd.run()
            for task in around:
                task.cancel()
        undrained = await _drained(server, before)
        after = Sample.of(server.process, plan.awake, crowd.tally.sent)
        ((rows,),) = await server.sql("SELECT count(*) FROM requests")
        return Report(
            crowd.tally,
            before,
            after,
            samples or [after],
            sum((there.did for there in upstreams), Counter()),
            rows,
            undrained,
            sum(file.stat().st_size for file in folder.glob("log.duckdb*")),
        )


def settings(folder: Path, upstreams: Sequence[Faulty], redis: Redis | None) -> Settings:
    """Small caches, so that they are full early; times so short that silence costs little."""
    times: dict[str, Any] = {"headers_timeout": SILENCE_S, "idle_timeout": SILENCE_S}
    one, two, other = (there.url for there in upstreams)
    backends = {
        "one": BackendSettings("anthropic", base_url=one, max_concurrency=30, **times),
        "two": BackendSettings("anthropic", base_url=two, **times),
        "other": BackendSettings("openai", base_url=other, profile="generic", **times),
        "gone": BackendSettings("anthropic", base_url=f"http://127.0.0.1:{free_port()}", **times),
    }
    return Settings(
        folder,
        folder / "log.duckdb",
        server=ServerSettings(port=0),
        cache=CacheSettings(
            response_mb=4,
            response_ttl_s=20.0,
            response_disk=True,
            persistent_mb=4,
            semantic=find_spec("wordllama") is not None,
            redis_url=f"unix://{redis.socket}" if redis is not None else "",
        ),
        backends=tuple(backends.items()),
        routes=(
            RouteSettings("*opus*", ("one", "two"), "latency", fallback=("other",)),
            RouteSettings("*haiku*", ("gone", "two"), "priority", fallback=("other",)),
            RouteSettings("*", ("other/m",), fallback=("one",)),
        ),
        resilience=RESILIENCE,
    )


async def _watch(server: Server, tally: Tally, plan: Plan, samples: list[Sample]) -> None:
    while True:
        begun = time.monotonic()
        await asyncio.sleep(plan.sample_s)
        plan.awake += min(time.monotonic() - begun, 2 * plan.sample_s)
        samples.append(Sample.of(server.process, plan.awake, tally.sent))


async def _kill(redis: Redis | None, tally: Tally) -> None:
    """Redis dies and comes back, over and over."""
    at = REDIS_EVERY
    while redis is not None:
        await tally.until(at)
        await redis.stop()
        tally.outcomes["(Redis died)"] += 1
        await tally.until(at + REDIS_EVERY // 2)
        await redis.start()
        at += REDIS_EVERY


async def _drained(server: Server, before: Sample) -> int:
    """How many requests are under way once all should be over and idle connections closed."""
    deadline = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline:
        running = await server.running()
        if not running and server.process.num_fds() <= before.descriptors + 5:
            break
        await asyncio.sleep(1.0)
    return await server.running()
