"""Crowds of requests over backends that fail at random: nothing leaks, nothing is masked."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from anyclaude.bench.simulated_time import run_simulated
from anyclaude.errors import ApiError, Overloaded, Unavailable, UpstreamError
from anyclaude.routing.breaker import BreakerOptions, Transition
from anyclaude.routing.dispatch import Dispatcher, GaveUp, Handle, RoutingEvent, RoutingOptions
from anyclaude.routing.retry import RetryOptions
from anyclaude.routing.values import (
    STRATEGIES,
    Asked,
    BackendTraits,
    Decision,
    Route,
    StrategyName,
    Target,
)
from anyclaude.types import Role
from tests.routing.routing_kit import refused, too_long, upstream

NAMES = ("a", "b", "c", "spare", "large")
ALLOWED = {
    ("closed", "open"), ("open", "half-open"), ("half-open", "open"), ("half-open", "closed"),
    ("open", "closed"),
}  # fmt: skip


class Storm:
    """Backends whose luck changes, and what every attempt at them came to."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.raised: list[ApiError] = []
        self.attempts: Counter[str] = Counter()
        self.luck = dict.fromkeys(NAMES, 0.9)

    def error(self, backend: str) -> ApiError:
        pick = self.rng.choice
        error = pick(
            [
                upstream(pick([500, 502, 503, 529]), backend=backend),
                upstream(429, backend=backend, retry_after=pick([None, 0.5, 5.0, 90.0])),
                upstream(504, backend=backend, category="timeout", answered=False),
                upstream(pick([400, 401, 404]), backend=backend),
                too_long(backend),
                refused(backend),
            ]
        )
        self.raised.append(error)
        return error

    async def attempt(self, target: Target) -> str:
        self.attempts[target.backend] += 1
        await asyncio.sleep(self.rng.choice([0.0, 0.1, 1.0, 30.0]))
        if self.rng.random() > self.luck[target.backend]:
            raise self.error(target.backend)
        return target.backend

    async def weather(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(5, 60))
            self.luck[self.rng.choice(NAMES)] = self.rng.choice([0.0, 0.3, 0.9, 1.0])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(3))
def test_a_storm_leaves_nothing_behind(strategy: StrategyName, seed: int) -> None:
    run_simulated(_storm(strategy, seed))


async def _storm(strategy: StrategyName, seed: int) -> None:
    loop, rng = asyncio.get_running_loop(), random.Random(f"{strategy}/{seed}")
    storm, events = Storm(rng), list[RoutingEvent]()
    route = Route(
        "*",
        (Target("a"), Target("b"), Target("c")),
        strategy,
        affinity=seed != 2,
        fallback=(Target("spare"),),
        fallback_context=(Target("large"),),
        fallback_overloaded=(Target("spare", "small"),),
    )
    limits = {"a": 3, "b": 5, "c": 0, "spare": 2, "large": 1}
    dispatcher = Dispatcher(
        (route,),
        [BackendTraits(n, max_concurrency=limits[n], max_waiting=4) for n in NAMES],
        RoutingOptions(breaker=BreakerOptions(slow_ttft_s=20.0)),
        clock=loop.time,
        rng=rng,
        publish=events.append,
    )
    ended: Counter[str] = Counter()

    async def client(number: int) -> None:
        await asyncio.sleep(rng.uniform(0, 600))
        asked = Asked("m", rng.choice(list(Role)), session=f"s{number % 17}", id=f"r{number}")
        try:
            answer = await dispatcher.run(asked, storm.attempt)
        except (Unavailable, Overloaded) as error:
            # Our own words only when no backend said anything, and with advice.
            assert error.retry_after is not None and 1 <= error.retry_after <= 60
            ended["refused"] += 1
            return
        except UpstreamError as error:
            assert error in storm.raised
            ended["failed"] += 1
            return
        assert answer.value == answer.decision.target.backend
        assert answer.retries <= RetryOptions().retries
        assert len([t for t in answer.tried if t.sent]) <= RetryOptions().retries + 5
        ended["answered"] += 1
        try:
            await _stream(answer.handle, storm, rng)
        except asyncio.CancelledError:
            answer.handle.client_gone()
            raise

    async def impatient(task: asyncio.Task[None]) -> None:
        await asyncio.sleep(rng.uniform(0, 620))
        task.cancel()

    weather = asyncio.create_task(storm.weather())
    clients = [asyncio.create_task(client(n)) for n in range(400)]
    leaving = [asyncio.create_task(impatient(t)) for t in clients if rng.random() < 0.2]
    results = await asyncio.gather(*clients, *leaving, return_exceptions=True)
    weather.cancel()
    assert [r for r in results if isinstance(r, Exception)] == []
    assert ended["answered"] > 50 and ended["failed"] and ended["refused"]

    for view in dispatcher.snapshot():
        assert (view.queue.in_flight, view.queue.waiting, view.breaker.probing) == (0, 0, 0)
        assert all(target.in_flight == 0 for target in view.targets)
    assert len([e for e in events if isinstance(e, Decision)]) == ended["answered"]
    assert len([e for e in events if isinstance(e, GaveUp)]) <= ended["failed"] + ended["refused"]
    states = dict.fromkeys(NAMES, "closed")
    for event in events:
        if isinstance(event, Transition):
            assert (event.before, event.after) in ALLOWED
            assert states[event.name] == event.before
            states[event.name] = event.after
    # A storm is bounded: no request costs more than its first try, retries and hops.
    assert storm.attempts.total() <= 400 * (1 + RetryOptions().retries + RetryOptions().hops)


async def _stream(handle: Handle, storm: Storm, rng: random.Random) -> None:

    await asyncio.sleep(rng.choice([0.1, 1.0, 25.0]))
    handle.first_content()
    await asyncio.sleep(rng.uniform(0, 20))
    match rng.randrange(10):
        case 0:
            handle.failed(storm.error(handle.target.backend))
        case 1:
            handle.client_gone()
        case _:
            handle.finished(1_000, rng.randint(1, 500))


@pytest.mark.parametrize("seed", range(20))
def test_no_error_is_masked_by_a_lesser_one(seed: int) -> None:
    async def work() -> None:
        loop, rng = asyncio.get_running_loop(), random.Random(seed)
        storm = Storm(rng)
        storm.luck = dict.fromkeys(NAMES, 0.0)
        route = Route("*", (Target("a"), Target("b")), fallback=(Target("c"), Target("spare")))
        for _ in range(20):
            dispatcher = Dispatcher(
                (route,), [BackendTraits(n) for n in NAMES], RoutingOptions(), clock=loop.time,
                rng=rng,
            )  # fmt: skip
            storm.raised.clear()
            with pytest.raises(UpstreamError) as caught:
                await dispatcher.run(Asked("m"), storm.attempt)
            said = [e for e in storm.raised if isinstance(e, UpstreamError)]
            if any(e.overflow for e in said):
                assert caught.value.overflow
            elif any(e.answered for e in said):
                assert caught.value is [e for e in said if e.answered][-1]
            else:
                assert caught.value is said[-1]

    run_simulated(work())
