"""Each strategy's order, its scores and its words."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.routing.figures import FiguresBook
from anyclaude.routing.strategies import (
    CacheAware,
    Candidate,
    Cost,
    Latency,
    LeastBusy,
    Priority,
    RoundRobin,
    Shuffle,
    Usage,
    strategy_for,
)
from anyclaude.routing.values import STRATEGIES, Asked, Estimate, StrategyName
from tests.routing.routing_kit import Dice, HandClock, candidate, names, upstream

ASKED = Asked("m", prompt_tokens=10_000)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def book(clock: HandClock) -> FiguresBook:
    return FiguresBook(clock)


def measured(c: Candidate, now: float, seconds: float, tps: float = 50.0) -> Candidate:
    """Has taken so long to the first token of 10,000, and written 500 at that speed."""
    c.figures.first_content(now, seconds, 10_000)
    c.figures.finished(now, 10_500, 501, seconds + 500 / tps, 500 / tps)
    return c


def test_shuffle_draws_by_weight(book: FiguresBook) -> None:
    rng, firsts = random.Random(6), Counter[str]()
    three = [candidate(book, "a", weight=3), candidate(book, "b"), candidate(book, "c", weight=0)]
    for _ in range(4_000):
        order = names(Shuffle(rng).rank(ASKED, three).order)
        assert sorted(order) == ["a", "b", "c"] and order[2] == "c"
        firsts[order[0]] += 1
    assert 0.72 < firsts["a"] / 4_000 < 0.78


def test_shuffle_puts_the_full_ones_last_and_says_the_weight(book: FiguresBook) -> None:
    full = candidate(book, "a", weight=3, limit=2, in_flight=2)
    ranking = Shuffle(Dice(0.0)).rank(ASKED, [full, candidate(book, "b")])
    assert names(ranking.order) == ["b", "a"]
    assert ranking.reason == "drawn by weight weight 1 (25 %)"


def test_round_robin_is_smooth_and_by_weight(book: FiguresBook) -> None:
    three = [candidate(book, "a", weight=5), candidate(book, "b"), candidate(book, "c")]
    turns = RoundRobin()
    assert "".join(names(turns.rank(ASKED, three).order)[0] for _ in range(14)) == "aabacaa" * 2


def test_round_robin_goes_on_without_the_full_ones(book: FiguresBook) -> None:
    turns = RoundRobin()
    full = candidate(book, "a", limit=1, in_flight=1)
    others = [candidate(book, "b"), candidate(book, "c")]
    firsts = [names(turns.rank(ASKED, [full, *others]).order) for _ in range(4)]
    assert [order[0] for order in firsts] == ["b", "c", "b", "c"]
    assert all(order[-1] == "a" for order in firsts)
    assert names(turns.rank(ASKED, [full]).order) == ["a"]


def test_priority_keeps_to_the_first_tier_and_spills_when_it_is_full(book: FiguresBook) -> None:
    first = candidate(book, "a", priority=1, limit=2, in_flight=1)
    later = candidate(book, "b", priority=2)
    ranking = Priority(random.Random(6)).rank(ASKED, [later, first])
    assert names(ranking.order) == ["a", "b"]
    assert ranking.reason == "the first tier (tier 1)"
    full = candidate(book, "a", priority=1, limit=2, in_flight=2)
    ranking = Priority(random.Random(6)).rank(ASKED, [later, full])
    assert names(ranking.order) == ["b", "a"]
    assert ranking.reason == "earlier tiers are full (tier 2)"
    assert ranking.scores[1].text == "tier 1, full with 2"


def test_priority_within_a_tier_is_by_weight(book: FiguresBook) -> None:
    tier = [candidate(book, "a"), candidate(book, "b"), candidate(book, "c", priority=1)]
    rng = random.Random(6)
    firsts = Counter(names(Priority(rng).rank(ASKED, tier).order)[0] for _ in range(1_000))
    assert set(firsts) == {"a", "b"} and min(firsts.values()) > 400


def test_priority_without_priorities_is_the_order_of_the_route(book: FiguresBook) -> None:
    two = [candidate(book, "a", limit=1), candidate(book, "b")]
    assert names(Priority(Dice(0.99)).rank(ASKED, two).order) == ["a", "b"]
    two = [candidate(book, "a", limit=1, in_flight=1), candidate(book, "b")]
    assert names(Priority(Dice(0.0)).rank(ASKED, two).order) == ["b", "a"]


def test_least_busy_is_by_capacity(book: FiguresBook) -> None:
    small = candidate(book, "a", limit=2, in_flight=1)
    large = candidate(book, "b", limit=10, in_flight=4)
    ranking = LeastBusy(random.Random(6)).rank(ASKED, [small, large])
    assert names(ranking.order) == ["b", "a"]
    assert ranking.reason == "the least busy: 4 of 10 busy"
    endless = candidate(book, "c", in_flight=4)
    assert names(LeastBusy(random.Random(6)).rank(ASKED, [large, endless]).order) == ["c", "b"]


def test_least_busy_counts_those_that_wait(book: FiguresBook) -> None:
    waiting = candidate(book, "a", limit=4, in_flight=4, waiting=8)
    full = candidate(book, "b", limit=4, in_flight=4)
    assert names(LeastBusy(random.Random(6)).rank(ASKED, [waiting, full]).order) == ["b", "a"]


def test_usage_is_the_tokens_of_the_minute(book: FiguresBook, clock: HandClock) -> None:
    a, b = candidate(book, "a"), candidate(book, "b", weight=4)
    a.figures.finished(clock(), 1_000, 10, 1.0, 0.5)
    b.figures.finished(clock(), 3_000, 10, 1.0, 0.5)
    usage = Usage(random.Random(6), clock)
    ranking = usage.rank(ASKED, [a, b])
    assert names(ranking.order) == ["b", "a"]
    assert ranking.reason == "used least: 3000 tokens this minute"
    clock.tick(61)
    a.figures.finished(clock(), 1, 1, 1.0, 0.5)
    assert names(usage.rank(ASKED, [a, b]).order) == ["b", "a"]


def test_latency_is_first_token_and_answer(book: FiguresBook, clock: HandClock) -> None:
    quick_start = measured(candidate(book, "a"), clock(), 1.0, tps=10.0)
    quick_answer = measured(candidate(book, "b"), clock(), 5.0, tps=100.0)
    ranking = Latency(random.Random(6), clock).rank(ASKED, [quick_start, quick_answer])
    assert names(ranking.order) == ["b", "a"]
    assert ranking.reason == "fastest: 5.00 s to the first token, 10.01 s in all"
    assert [round(s.value) for s in ranking.scores] == [10, 51]


def test_latency_draws_among_those_within_the_buffer(book: FiguresBook, clock: HandClock) -> None:
    near = [measured(candidate(book, n), clock(), s) for n, s in (("a", 5.0), ("b", 5.5))]
    far = measured(candidate(book, "c"), clock(), 50.0)
    rng, firsts = random.Random(6), Counter[str]()
    for _ in range(400):
        firsts[names(Latency(rng, clock, buffer=0.1).rank(ASKED, [far, *near]).order)[0]] += 1
    assert set(firsts) == {"a", "b"} and min(firsts.values()) > 150
    for _ in range(50):
        order = names(Latency(rng, clock, buffer=0.0).rank(ASKED, [far, *near]).order)
        assert order == ["a", "b", "c"]


def test_latency_tries_the_unknown_first_by_one_at_once(
    book: FiguresBook, clock: HandClock
) -> None:
    known, new = measured(candidate(book, "a"), clock(), 1.0), candidate(book, "b")
    latency = Latency(random.Random(6), clock)
    ranking = latency.rank(ASKED, [known, new])
    assert names(ranking.order) == ["b", "a"]
    assert ranking.reason == "nothing is known of it yet"
    new.figures.began(clock(), 0.0)
    assert names(latency.rank(ASKED, [known, new]).order) == ["a", "b"]


def test_latency_leaves_alone_what_only_fails(book: FiguresBook, clock: HandClock) -> None:
    known, broken = measured(candidate(book, "a"), clock(), 30.0), candidate(book, "b")
    broken.figures.failed(clock(), 0.1, upstream())
    latency = Latency(random.Random(6), clock)
    assert names(latency.rank(ASKED, [known, broken]).order) == ["a", "b"]
    clock.tick(61)
    assert names(latency.rank(ASKED, [known, broken]).order) == ["b", "a"]


def test_latency_pays_for_failures_and_for_waiting(book: FiguresBook, clock: HandClock) -> None:
    latency = Latency(random.Random(6), clock)
    flaky = measured(candidate(book, "a"), clock(), 1.0)
    steady = measured(candidate(book, "b"), clock(), 3.0)
    assert names(latency.rank(ASKED, [flaky, steady]).order) == ["a", "b"]
    flaky.figures.failed(clock(), 20.0, upstream())
    assert names(latency.rank(ASKED, [flaky, steady]).order) == ["b", "a"]
    queued = measured(candidate(book, "c", wait=60.0), clock(), 0.1)
    assert names(latency.rank(ASKED, [queued, steady]).order) == ["b", "c"]
    used_to_queue = measured(candidate(book, "d"), clock(), 0.1)
    used_to_queue.figures.began(clock(), waited=60.0)
    assert names(latency.rank(ASKED, [used_to_queue, steady]).order) == ["b", "d"]


def test_cost_is_prompt_and_answer(book: FiguresBook, clock: HandClock) -> None:
    dear_prompt = candidate(book, "a", prices=(3.0, 0.0))
    dear_answer = candidate(book, "b", prices=(0.0, 60.0))
    ranking = Cost(random.Random(6), clock).rank(ASKED, [dear_prompt, dear_answer])
    assert names(ranking.order) == ["b", "a"]
    assert ranking.reason == "cheapest: about $0.0240"
    long_answers = measured(dear_answer, clock(), 1.0)
    assert names(Cost(random.Random(6), clock).rank(ASKED, [dear_prompt, long_answers]).order) == [
        "a",
        "b",
    ]
    free = candidate(book, "c")
    assert Cost(random.Random(6), clock).rank(ASKED, [dear_prompt, free]).reason == "cheapest: free"


def test_cache_aware_weighs_what_is_held_against_the_others(
    book: FiguresBook, clock: HandClock
) -> None:
    remote = measured(candidate(book, "far"), clock(), 3.0)
    aware = CacheAware(random.Random(6), clock)

    def firsts(matched: int, queue: float) -> list[str]:
        local = candidate(book, "here", estimate=Estimate(10_000, matched, queue, 500.0))
        return names(aware.rank(ASKED, [local, remote]).order)

    assert firsts(0, 0.0) == ["far", "here"]  # 20 s of reading against 3
    assert firsts(9_500, 0.0) == ["here", "far"]  # 1 s
    assert firsts(9_500, 5.0) == ["far", "here"]  # 1 s behind a queue
    local = candidate(book, "here", estimate=Estimate(10_000, 9_500, 0.0, 500.0))
    assert aware.rank(ASKED, [local, remote]).reason == (
        "first token soonest: 1.00 s, 9500 of 10000 tokens in its cache"
    )


def test_cache_aware_doesnt_leave_a_prefix_to_find_out(book: FiguresBook, clock: HandClock) -> None:
    unknown = candidate(book, "far")
    warm = candidate(book, "here", estimate=Estimate(10_000, 9_900, 0.0, 500.0))
    cold = candidate(book, "here", estimate=Estimate(10_000, 0, 0.0, 500.0))
    unmeasured = candidate(book, "here", estimate=Estimate(10_000, 0, 0.0, 0.0))
    aware = CacheAware(random.Random(6), clock)
    assert names(aware.rank(ASKED, [unknown, warm]).order) == ["here", "far"]
    ranking = aware.rank(ASKED, [unknown, cold])
    assert names(ranking.order) == ["far", "here"]
    assert ranking.scores[0].text == "2.00 s assumed"
    assert {s.text for s in aware.rank(ASKED, [unknown, unmeasured]).scores} == {"2.00 s assumed"}


@given(
    st.sampled_from(STRATEGIES),
    st.lists(
        st.tuples(
            st.floats(0, 5), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3),
            st.floats(0, 9), st.booleans(), st.booleans(),
        ),
        max_size=6,
    ),
)  # fmt: skip
def test_nobody_is_lost_whatever_the_figures(
    name: StrategyName,
    drawn: list[tuple[float, int, int, int, float, bool, bool]],
) -> None:
    clock = HandClock()
    book = FiguresBook(clock)
    some = []
    for n, (weight, tier, limit, busy, wait, seen, failed) in enumerate(drawn):
        c = candidate(
            book, f"b{n}", weight=weight, priority=tier, limit=limit, in_flight=busy, wait=wait,
            estimate=Estimate(100, 50, wait, weight),
        )  # fmt: skip
        if seen:
            measured(c, clock(), 1.0 + n)
        if failed:
            c.figures.failed(clock(), 1.0, upstream())
        some.append(c)
    strategy = strategy_for(name, random.Random(6), clock)
    for _ in range(3):
        ranking = strategy.rank(ASKED, some)
        assert sorted(names(ranking.order)) == sorted(names(some))
        assert {s.target for s in ranking.scores} <= {c.target for c in some}
        assert ranking.reason
