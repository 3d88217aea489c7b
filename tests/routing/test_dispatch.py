"""Whole requests: chosen, tried, tried elsewhere, and what is learnt of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from anyclaude.bench.simulated_time import run_simulated
from anyclaude.errors import ApiError, NotFound, Overloaded, Unavailable
from anyclaude.routing.breaker import BreakerOptions, Transition
from anyclaude.routing.cooldown import Rest
from anyclaude.routing.dispatch import Dispatched, Dispatcher, GaveUp, RoutingEvent, RoutingOptions
from anyclaude.routing.retry import RetryOptions
from anyclaude.routing.values import Asked, BackendTraits, Decision, Estimate, Route, Target
from anyclaude.types import Role
from tests.routing.routing_kit import Dice, refused, too_long, upstream

A, B, C = Target("a"), Target("b"), Target("c")
ABC = Route("*", (A, B, C), "priority")
ASKED = Asked("m", prompt_tokens=1_000, session="s", id="req_1")
Answer: TypeAlias = Dispatched[str]


class Bench:
    """A dispatcher over backends a to c, which answer as they are told, at once."""

    def __init__(
        self,
        *routes: Route,
        traits: Sequence[BackendTraits] = tuple(BackendTraits(n) for n in "abc"),
        options: RoutingOptions = RoutingOptions(),  # noqa: B008
        estimate: Callable[[Asked, Target], Estimate | None] | None = None,
        local: str | None = None,
    ) -> None:
        self.script: dict[str, list[ApiError]] = {}
        self.always: dict[str, ApiError] = {}
        self.asked: list[str] = []
        self.events: list[RoutingEvent] = []
        loop = asyncio.get_running_loop()
        self.clock = loop.time
        self.dispatcher = Dispatcher(
            routes, traits, options, clock=loop.time, rng=Dice(0.5), publish=self.events.append,
            estimate=estimate, local=local,
        )  # fmt: skip

    async def attempt(self, target: Target) -> str:
        self.asked.append(str(target))
        planned = self.script.get(target.backend)
        if planned:
            raise planned.pop(0)
        if target.backend in self.always:
            raise self.always[target.backend]
        return f"from {target}"

    async def run(self, asked: Asked = ASKED) -> Answer:
        return await self.dispatcher.run(asked, self.attempt)

    async def served(self, asked: Asked = ASKED) -> str:
        """Who answers a request that goes well to its end."""
        answer = await self.run(asked)
        answer.handle.first_content()
        answer.handle.finished(1_000, 100)
        return answer.decision.target.backend

    async def failed(self, asked: Asked = ASKED) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await self.run(asked)
        return caught.value

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def leaks(self) -> list[str]:
        return [
            f"{view.name}: {view.queue} {view.breaker.probing}"
            for view in self.dispatcher.snapshot()
            if view.queue.in_flight
            or view.queue.waiting
            or view.breaker.probing
            or any(t.in_flight for t in view.targets)
        ]


def simulated(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that runs in simulated time."""

    def run() -> None:
        run_simulated(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@simulated
async def test_one_request_and_what_is_said_of_it() -> None:
    b = Bench(Route("claude-*", (Target("a", "qwen"), B), "priority"))
    answer = await b.run(Asked("claude-opus", id="req_1"))
    assert answer.value == "from a/qwen"
    assert answer.decision == Decision(
        "req_1",
        "claude-*",
        Target("a", "qwen"),
        "priority: the first tier (tier 0)",
        answer.decision.scores,
    )
    assert [(str(s.target), s.text) for s in answer.decision.scores] == [
        ("a/qwen", "tier 0"),
        ("b/claude-opus", "tier 1"),
    ]
    assert (answer.retries, answer.tried) == (0, ())
    assert b.events == [answer.decision]


@simulated
async def test_without_routes_the_local_engine_has_it_all() -> None:
    b = Bench(local="a")
    answer = await b.run(Asked("whatever"))
    assert (answer.value, answer.decision.reason) == ("from a/whatever", "the only target")
    with pytest.raises(NotFound):
        await Bench(Route("x", (A,))).run()


@simulated
async def test_a_failure_goes_elsewhere_at_once_and_is_told() -> None:
    b = Bench(ABC)
    b.script = {"a": [upstream(503)], "b": [refused("b")]}
    answer = await b.run()
    assert b.asked == ["a/m", "b/m", "c/m"]
    assert b.clock() == 0
    assert (answer.retries, answer.decision.target) == (2, Target("c", "m"))
    assert answer.decision.reason == "b/m answered: 502 connection refused"
    assert [(str(t.target), t.status, t.sent) for t in answer.tried] == [
        ("a/m", 503, True),
        ("b/m", 502, True),
    ]


@simulated
async def test_one_target_alone_waits_and_is_asked_again() -> None:
    b = Bench(Route("*", (A,)))
    b.script = {"a": [upstream(429, retry_after=3), upstream(500)]}
    answer = await b.run()
    assert b.asked == ["a/m"] * 3
    assert answer.retries == 2
    assert b.clock() == pytest.approx(3 + 0.25 + 0.5)  # its Retry-After, then twice half the jitter


@simulated
async def test_the_true_error_reaches_the_client_and_the_log() -> None:
    b = Bench(Route("*", (A, B), "priority"))
    b.always = {"a": upstream(529, "overloaded, says a"), "b": refused("b")}
    error = await b.failed()
    assert error is b.always["a"]
    (told,) = b.of(GaveUp)
    assert (told.request_id, told.status, told.message) == ("req_1", 529, "overloaded, says a")
    assert told.why == "nothing else may be asked"
    assert len(told.tried) == 3
    assert not b.leaks()


@simulated
async def test_a_clients_fault_is_tried_once() -> None:
    b = Bench(replace(ABC, fallback=(Target("b", "other"),)))
    b.always = {"a": upstream(400, "messages: too many")}
    assert (await b.failed()).message == "messages: too many"
    assert b.asked == ["a/m"]
    assert b.dispatcher.snapshot()[0].breaker.calls == 0


@simulated
async def test_too_long_a_prompt_goes_to_its_own_list() -> None:
    route = Route("*", (A, B), "priority", fallback=(Target("b", "x"),), fallback_context=(C,))
    b = Bench(route)
    b.always = {"a": too_long("a"), "b": too_long("b")}
    answer = await b.run()
    assert answer.decision.target == Target("c", "m")
    assert answer.decision.reason.startswith("fallback, a/m answered: 400 prompt is too long")
    b.always["c"] = upstream(500)
    assert (await b.failed()).message.startswith("prompt is too long")


@simulated
async def test_a_prompt_that_is_surely_too_long_isnt_sent_there() -> None:
    traits = [BackendTraits("a", context_limit=500), BackendTraits("b"), BackendTraits("c")]
    b = Bench(ABC, traits=traits)
    answer = await b.run()
    assert b.asked == ["b/m"]
    assert answer.decision.left_out[0].why == "takes 500 tokens, the prompt has about 1000"
    # When nobody else is left the estimate may be wrong: the backend says what is true.
    b = Bench(Route("*", (A,)), traits=traits)
    answer = await b.run()
    assert answer.decision.reason == ("the only target; all of the route's targets are in trouble")


@simulated
async def test_the_busy_list_comes_first_for_the_busy() -> None:
    b = Bench(Route("*", (A,), fallback=(B,), fallback_overloaded=(C,)))
    b.always = {"a": upstream(529)}
    assert await b.served() == "c"
    b.always = {"a": upstream(500), "b": upstream(500)}
    b.asked.clear()
    await b.failed()
    assert b.asked == ["a/m"] * 3 + ["b/m"]


@simulated
async def test_a_session_stays_and_moves_only_when_its_target_is_out() -> None:
    b = Bench(Route("*", (A, B, C), "round-robin"))
    first = await b.run()
    assert first.decision.target.backend == "a"
    for _ in range(5):
        assert (await b.run()).decision.reason == "its session is there"
    assert (await b.run(replace(ASKED, session="t"))).decision.target.backend == "b"
    assert (await b.run(replace(ASKED, session=""))).decision.target.backend == "c"
    b.script = {"a": [upstream(500)]}
    assert (await b.run()).decision.target.backend == "b"  # this once
    assert (await b.run()).decision.target.backend == "a"
    b.dispatcher.trip("a")
    moved = await b.run()
    assert moved.decision.target.backend == "b"
    assert moved.decision.reason == (
        "its session was at a (backend a was switched off by hand, for another 30 s (by hand));"
        " round-robin: its turn"
    )
    b.dispatcher.reset("a")
    assert (await b.run()).decision.target.backend == "b"  # its prefix is there now


@simulated
async def test_a_new_session_stays_where_it_was_answered() -> None:
    b = Bench(Route("*", (A, B), "priority"))
    b.script = {"a": [upstream(500)]}
    assert await b.served() == "b"
    assert await b.served() == "b"


@simulated
async def test_routes_without_affinity_dont_hold_a_session() -> None:
    b = Bench(Route("*", (A, B, C), "round-robin", affinity=False))
    assert [await b.served() for _ in range(6)] == list("abcabc")


@simulated
async def test_a_short_rest_moves_the_request_and_not_the_session() -> None:
    b = Bench(ABC)
    assert await b.served() == "a"
    b.script = {"a": [upstream(429, retry_after=8)]}
    assert await b.served() == "b"
    await asyncio.sleep(1)
    answer = await b.run()
    assert answer.decision.target.backend == "b"
    assert answer.decision.left_out[0].why == "rests another 7.0 s after an error"
    await asyncio.sleep(8)
    assert await b.served() == "a"
    b.script = {"a": [upstream(429, retry_after=50)]}
    assert await b.served() == "b"
    assert await b.served() == "b"
    await asyncio.sleep(60)
    assert await b.served() == "b"


@simulated
async def test_one_target_never_rests() -> None:
    b = Bench(Route("*", (A,)))
    b.script = {"a": [upstream(429)]}
    assert await b.served() == "a"
    assert b.dispatcher.snapshot()[0].resting == ()


@simulated
async def test_when_all_rest_they_are_asked_all_the_same() -> None:
    b = Bench(Route("*", (A, B), "priority"), options=RoutingOptions(retry=RetryOptions(retries=1)))
    b.script = {"a": [upstream(429, retry_after=50)], "b": [upstream(429, retry_after=50)]}
    await b.failed()
    answer = await b.run()
    assert answer.decision.reason.endswith("all of the route's targets are in trouble")


@simulated
async def test_an_open_breaker_is_passed_over_and_comes_back_by_probes() -> None:
    b = Bench(ABC, options=RoutingOptions(breaker=BreakerOptions(failures=3)))
    b.always = {"a": upstream(500)}
    for n in range(3):
        await b.served(replace(ASKED, session=f"s{n}"))
    assert b.asked.count("a/m") == 3
    await b.served()
    assert b.asked.count("a/m") == 3
    assert b.of(Decision)[-1].left_out[0].why.startswith("backend a is switched off after failures")
    b.always = {}
    await asyncio.sleep(30)
    assert await b.served(replace(ASKED, session="new")) == "a"
    assert await b.served(replace(ASKED, session="newer")) == "a"
    moves = [(t.name, t.before, t.after) for t in b.of(Transition)]
    assert moves == [
        ("a", "closed", "open"), ("a", "open", "half-open"), ("a", "half-open", "closed")
    ]  # fmt: skip
    assert not b.leaks()


@simulated
async def test_a_route_that_is_down_goes_to_its_fallback_and_back() -> None:
    b = Bench(Route("*", (A,), fallback=(B,)), options=RoutingOptions(cooldown_s=0))
    b.dispatcher.trip("a", 10)
    answer = await b.run()
    assert answer.decision.target.backend == "b"
    assert answer.decision.reason == "fallback, since nobody else can"
    await asyncio.sleep(10)
    assert await b.served() == "a"


@simulated
async def test_a_fallback_that_rests_or_is_ill_is_better_than_none() -> None:
    b = Bench(Route("*", (A,), fallback=(B,), fallback_overloaded=(C,)))
    b.dispatcher.rest(Target("b", "m"), 50)
    b.dispatcher.trip("a")
    assert await b.served() == "b"
    b.dispatcher.reset("a")
    b.always = {"a": upstream(529)}
    for _ in range(2):
        b.dispatcher.healths["c"].checked("no route to host")
    assert await b.served() == "c"
    b.dispatcher.trip("c")
    b.dispatcher.rest(Target("b", "m"), 50)
    assert await b.served() == "b"


@simulated
async def test_a_rest_is_published() -> None:
    b = Bench(ABC)
    b.script = {"a": [upstream(429, retry_after=8)]}
    await b.served()
    assert [(str(r.target), r.seconds) for r in b.of(Rest)] == [("a/m", 8.0)]


@simulated
async def test_the_only_backend_is_tried_though_it_fails() -> None:
    b = Bench(Route("*", (A,)), options=RoutingOptions(breaker=BreakerOptions(failures=1)))
    b.always = {"a": refused("a")}
    assert await b.failed() is b.always["a"]
    assert b.asked == ["a/m"]  # it opened, so nothing was tried again
    error = await b.failed()
    assert error.message == "connection refused"
    assert b.asked == ["a/m"] * 2
    gate = asyncio.Event()

    async def hanging(target: Target) -> str:
        await gate.wait()
        return "at last"

    probe = asyncio.create_task(b.dispatcher.run(ASKED, hanging))
    await asyncio.sleep(0.1)
    second = await b.failed()
    assert isinstance(second, Unavailable)
    assert "it is the only backend for this request, and 1 that may try it are under way" in (
        second.message
    )
    gate.set()
    answer = await probe
    assert answer.decision.reason == "nobody else is left: tried though it fails"
    answer.handle.first_content()
    answer.handle.finished(10, 10)
    b.always = {}
    assert await b.served() == "a"
    assert b.dispatcher.breakers["a"].state == "closed"


@simulated
async def test_a_route_to_nowhere_says_so() -> None:
    b = Bench(Route("*", (Target("gone"),)))
    error = await b.failed()
    assert isinstance(error, Unavailable)
    assert error.message == "the route * leads to gone, which isn't there"
    b = Bench(Route("*", (Target("gone"), B), "latency"))
    answer = await b.run()
    assert answer.decision.target.backend == "b"
    assert answer.decision.left_out[0].why == "there is no backend 'gone'"


@simulated
async def test_a_trip_by_hand_refuses_even_the_only_one() -> None:
    b = Bench(Route("*", (A,)))
    b.dispatcher.trip("a", math.inf)
    error = await b.failed()
    assert "was switched off by hand, until it is reset" in error.message
    assert b.asked == []
    b.dispatcher.reset("a")
    assert await b.served() == "a"
    for steer in (b.dispatcher.reset, b.dispatcher.trip):
        with pytest.raises(NotFound, match="there is no backend 'z'; there are: a, b, c"):
            steer("z")


@simulated
async def test_a_sick_backend_is_passed_over_while_there_are_others() -> None:
    b = Bench(Route("*", (A, B), "priority"))
    for _ in range(2):
        b.dispatcher.healths["a"].checked("no route to host")
    answer = await b.run()
    assert answer.decision.target.backend == "b"
    assert answer.decision.left_out[0].why == "its health checks fail: no route to host"
    alone = Bench(Route("*", (A,)))
    for _ in range(2):
        alone.dispatcher.healths["a"].checked("no route to host")
    assert await alone.served() == "a"
    assert not alone.dispatcher.healths["a"].failing


@simulated
async def test_a_full_backend_queues_and_then_spills() -> None:
    traits = [
        BackendTraits("a", max_concurrency=1, max_waiting=1), BackendTraits("b", price_in=1.0)
    ]  # fmt: skip
    b = Bench(Route("*", (A, B), "cost", affinity=False), traits=traits)
    first = await b.run()
    second = asyncio.create_task(b.run())
    await asyncio.sleep(1)
    third = await b.run()
    assert third.decision.target.backend == "b"
    assert third.decision.reason.startswith("a/m refused: 529 backend a is full")
    assert (third.retries, third.tried[0].sent) == (0, False)
    first.handle.finished(10, 10)
    answer = await second
    assert answer.decision.target.backend == "a"
    assert answer.handle.queued == pytest.approx(1.0)
    b = Bench(Route("*", (A,)), traits=[BackendTraits("a", max_concurrency=1, max_waiting=0)])
    await b.run()
    assert isinstance(await b.failed(), Overloaded)


@simulated
async def test_turns_in_the_queue_are_by_role() -> None:
    b = Bench(Route("*", (A,)), traits=[BackendTraits("a", max_concurrency=1)])
    first = await b.run()
    order: list[Role] = []

    async def one(role: Role) -> None:
        answer = await b.run(Asked("m", role))
        order.append(role)
        answer.handle.finished(1, 1)

    tasks = [asyncio.create_task(one(r)) for r in (Role.TITLE, Role.SUBAGENT, Role.MAIN)]
    await asyncio.sleep(0)
    first.handle.finished(1, 1)
    await asyncio.gather(*tasks)
    assert order == [Role.MAIN, Role.SUBAGENT, Role.TITLE]


@simulated
async def test_a_breaker_that_opens_while_a_request_waits_is_heeded() -> None:
    traits = [BackendTraits("a", max_concurrency=1), BackendTraits("b", price_in=1.0)]
    b = Bench(Route("*", (A, B), "cost", affinity=False), traits=traits)
    first = await b.run()
    waiting = asyncio.create_task(b.run())
    await asyncio.sleep(0)
    b.dispatcher.trip("a")
    first.handle.finished(1, 1)
    answer = await waiting
    assert answer.decision.target.backend == "b"
    assert answer.tried[0].message.startswith("backend a was switched off by hand")
    assert b.asked == ["a/m", "b/m"]


@simulated
async def test_what_happens_after_the_attempt_is_learnt() -> None:
    b = Bench(Route("*", (A,)))
    answer = await b.run()
    await asyncio.sleep(2)
    answer.handle.first_content(new_tokens=500)
    answer.handle.first_content(new_tokens=1)
    await asyncio.sleep(5)
    answer.handle.finished(1_000, 101)
    answer.handle.failed(upstream(500))
    view = b.dispatcher.snapshot()[0]
    (target,) = view.targets
    assert (target.ttft_p50, target.tokens_per_minute, target.error_ratio) == (2.0, 1_101, 0.0)
    assert target.ttft_per_token == pytest.approx(0.004)
    assert target.tokens_per_second == pytest.approx(20.0)
    assert (view.health.state, view.breaker.calls, view.queue.in_flight) == ("healthy", 1, 0)


@simulated
async def test_a_failure_in_mid_stream_counts_and_a_client_that_leaves_doesnt() -> None:
    b = Bench(
        Route("*", (A, B), "priority"), options=RoutingOptions(breaker=BreakerOptions(failures=2))
    )
    for _ in range(9):
        answer = await b.run()
        answer.handle.first_content()
        answer.handle.client_gone()
    assert b.dispatcher.snapshot()[0].breaker.calls == 0
    for _ in range(2):
        answer = await b.run()
        answer.handle.first_content()
        answer.handle.failed(upstream(504, "silence", category="timeout", answered=False))
    view = b.dispatcher.snapshot()[0]
    assert view.breaker.state == "open"
    assert view.targets[0].last_error is not None
    assert view.targets[0].last_error.message == "silence"
    assert view.resting == ()
    assert not b.leaks()


@simulated
async def test_a_client_that_leaves_during_an_attempt_leaves_nothing_behind() -> None:
    b = Bench(Route("*", (A, B)))

    async def forever(target: Target) -> str:
        await asyncio.sleep(1e6)
        return "never"

    task = asyncio.create_task(b.dispatcher.run(ASKED, forever))
    await asyncio.sleep(5)
    assert b.leaks()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() and not b.leaks()
    assert sum(view.breaker.calls for view in b.dispatcher.snapshot()) == 0


@simulated
async def test_a_fault_of_ours_in_an_attempt_is_ours_and_leaves_nothing_behind() -> None:
    b = Bench(Route("*", (A, B)))

    async def broken(target: Target) -> str:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        await b.dispatcher.run(ASKED, broken)
    assert not b.leaks()
    assert sum(view.breaker.calls for view in b.dispatcher.snapshot()) == 0


@simulated
async def test_cache_aware_asks_for_what_the_engine_holds() -> None:
    held = {"s": 19_500}

    def estimate(asked: Asked, target: Target) -> Estimate | None:
        if target.backend != "a":
            return None
        return Estimate(asked.prompt_tokens, held.get(asked.session, 0), 0.0, 500.0)

    b = Bench(Route("*", (A, B), "cache-aware", affinity=False), estimate=estimate)
    asked = replace(ASKED, prompt_tokens=20_000)
    here, there = await b.run(asked), await b.run(replace(asked, session="new"))
    assert here.decision.target.backend == "a"
    assert here.decision.reason == (
        "cache-aware: first token soonest: 1.00 s, 19500 of 20000 tokens in its cache"
    )
    assert there.decision.target.backend == "b"


@simulated
async def test_one_backend_named_twice_is_asked_once() -> None:
    b = Bench(
        Route("*", (A, Target("a", "m")), fallback=(A,)),
        options=RoutingOptions(retry=RetryOptions(retries=0)),
    )
    b.always = {"a": upstream(500)}
    await b.failed()
    assert b.asked == ["a/m"]


@simulated
async def test_a_backend_that_lost_its_caches_frees_its_sessions() -> None:
    b = Bench(Route("*", (A, B), "round-robin"))
    assert [await b.served(), await b.served()] == ["a", "a"]
    assert b.dispatcher.forget_sessions("a") == 1
    assert await b.served() == "b"


@simulated
async def test_another_round_goes_where_the_first_went_by_the_same_rules() -> None:
    traits = [BackendTraits("a", max_concurrency=1), BackendTraits("b")]
    b = Bench(
        Route("*", (A, B), "priority"),
        traits=traits,
        options=RoutingOptions(breaker=BreakerOptions(failures=2)),
    )
    first = await b.run()
    first.handle.finished(10, 10)
    busy = await b.run(replace(ASKED, session="other", id="req_2"))
    round_two = asyncio.create_task(b.dispatcher.again(ASKED, first.decision.target, b.attempt))
    await asyncio.sleep(0)
    assert not round_two.done(), "it waits for the place, though another is free"
    busy.handle.finished(10, 10)
    value, handle = await round_two
    assert value == "from a/m"
    handle.failed(upstream(503))
    b.script["a"] = [upstream(503, "still no room")]
    with pytest.raises(ApiError, match="still no room"):
        await b.dispatcher.again(ASKED, first.decision.target, b.attempt)
    assert b.dispatcher.breakers["a"].state == "open", "both counted"
    assert b.asked.count("b/m") == 0
    _, probe = await b.dispatcher.again(ASKED, first.decision.target, b.attempt)
    probe.finished(10, 10)
    b.dispatcher.trip("a")
    with pytest.raises(Unavailable):
        await b.dispatcher.again(ASKED, first.decision.target, b.attempt)
    assert b.leaks() == []
