"""The steps after failures, without any waiting."""

from __future__ import annotations

import random
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.errors import (
    ApiError,
    EngineFailed,
    InvalidRequest,
    NotSupported,
    Overloaded,
    PromptTooLong,
    Unavailable,
)
from anyclaude.routing.retry import Fallbacks, GiveUp, Plan, RetryOptions, Step, Try
from anyclaude.routing.values import Target
from tests.routing.routing_kit import Dice, refused, too_long, upstream

A, B, C, F, G, X = (Target(name) for name in "abcfgx")


class Bench:
    """A plan that began at 0, and whose time is told with each failure."""

    def __init__(
        self,
        *order: Target,
        options: RetryOptions = RetryOptions(),  # noqa: B008
        fallbacks: Fallbacks = Fallbacks(),  # noqa: B008
        rng: random.Random | None = None,
        down: Collection[Target] = (),
    ) -> None:
        self.down = set(down)
        self.plan = Plan(
            options, order, fallbacks, rng or Dice(0.5), lambda t, again: t not in self.down
        )
        self.plan.sent(0.0)

    def after(self, target: Target, error: ApiError, now: float = 1.0, **how: bool) -> Step:
        return self.plan.after(target, error, now, **how)


def tried(step: Step) -> tuple[Target, float]:
    assert isinstance(step, Try), step
    return step.target, step.wait


def given_up(step: Step) -> ApiError:
    assert isinstance(step, GiveUp), step
    return step.error


def test_it_begins_with_the_first_that_may_be_asked() -> None:
    assert Bench(A, B).plan.first() == A
    assert Bench(A, B, down=[A]).plan.first() == B
    assert Bench(A, fallbacks=Fallbacks(general=(F, G)), down=[A, F]).plan.first() == G
    assert (
        Bench(A, fallbacks=Fallbacks(context=(F,), overloaded=(G,)), down=[A]).plan.first() is None
    )


def test_another_target_comes_at_once() -> None:
    b = Bench(A, B, C)
    assert tried(b.after(A, upstream(503, retry_after=9))) == (B, 0.0)
    assert tried(b.after(B, refused("b"))) == (C, 0.0)
    assert b.plan.retries == 2
    assert isinstance(b.after(C, upstream()), GiveUp)


def test_targets_that_may_not_be_asked_are_passed_over() -> None:
    assert tried(Bench(A, B, C, down=[B]).after(A, upstream())) == (C, 0.0)


def test_one_target_alone_is_asked_again_with_full_jitter() -> None:
    options = RetryOptions(retries=6, backoff_s=0.5, backoff_max_s=4.0, budget_s=100)
    b = Bench(A, options=options, rng=Dice(1.0))
    waits = [tried(b.after(A, upstream()))[1] for _ in range(6)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert isinstance(b.after(A, upstream()), GiveUp)
    b = Bench(A, options=options, rng=Dice(0.0))
    assert tried(b.after(A, upstream())) == (A, 0.0)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (upstream(408), True),
        (upstream(409), True),
        (upstream(429), True),
        (upstream(500), True),
        (upstream(529), True),
        (refused(), True),
        (EngineFailed("thread"), False),
        (upstream(400), False),
        (upstream(401), False),
        (upstream(403), False),
        (upstream(404), False),
        (upstream(413), False),
        (upstream(422), False),
        (InvalidRequest("no"), False),
        (NotSupported("no"), False),
        (Unavailable("off", context={"retry": False}), False),
    ],
)
def test_what_is_tried_again(error: ApiError, again: bool) -> None:
    assert isinstance(Bench(A).after(A, error), Try) is again


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_clients_fault_goes_nowhere_else(status: int) -> None:
    b = Bench(A, B, fallbacks=Fallbacks((F,), (F,), (F,)))
    assert given_up(b.after(A, upstream(status))).status == status


def test_an_engine_that_is_off_for_good_sends_to_others() -> None:
    off = Unavailable("switched off", context={"retry": False})
    assert tried(Bench(A, B).after(A, off)) == (B, 0.0)
    assert tried(Bench(A, fallbacks=Fallbacks((F,))).after(A, off)) == (F, 0.0)


def test_retry_after_is_waited_for_within_the_budget() -> None:
    b = Bench(A, rng=Dice(1.0))
    assert tried(b.after(A, upstream(429, retry_after=7), now=1.0)) == (A, 7.5)
    b = Bench(A, rng=Dice(1.0))
    assert tried(b.after(A, upstream(429, retry_after=19), now=1.0)) == (A, 19.0)


def test_a_retry_after_beyond_the_budget_is_the_clients() -> None:
    b = Bench(A)
    error = upstream(429, "limit", retry_after=19.1)
    assert given_up(b.after(A, error, now=1.0)) is error
    b = Bench(A, fallbacks=Fallbacks((F,)))
    assert tried(b.after(A, error, now=1.0)) == (F, 0.0)


def test_of_several_the_one_that_is_ready_first_is_asked_again() -> None:
    b = Bench(A, B, options=RetryOptions(retries=3), rng=Dice(0.0))
    assert tried(b.after(A, upstream(429, retry_after=9), now=1.0)) == (B, 0.0)
    assert tried(b.after(B, upstream(429, retry_after=3), now=2.0)) == (B, 3.0)
    assert tried(b.after(B, upstream(429, retry_after=30), now=5.0)) == (A, 5.0)


def test_nothing_begins_after_the_budget() -> None:
    b = Bench(A, B, fallbacks=Fallbacks((F,)))
    step = b.after(A, upstream(504, "silence", answered=False), now=20.0)
    assert given_up(step).message == "silence"
    assert isinstance(step, GiveUp) and step.why == "the 20 s for tries are over"


def test_the_budget_starts_with_the_first_request_that_is_sent() -> None:
    plan = Plan(RetryOptions(), [A, B], Fallbacks(), Dice(0.5), lambda t, again: True)
    assert tried(plan.after(A, Overloaded("full"), 500.0, sent=False)) == (B, 0.0)
    plan.sent(900.0)
    plan.sent(910.0)
    assert isinstance(plan.after(B, upstream(), 919.0), Try)
    assert isinstance(plan.after(B, upstream(), 920.0), GiveUp)


def test_waits_end_with_the_budget() -> None:
    b = Bench(A, options=RetryOptions(backoff_s=100, backoff_max_s=100), rng=Dice(1.0))
    assert tried(b.after(A, upstream(), now=15.0)) == (A, 5.0)


def test_fallbacks_come_after_the_retries_and_once_each() -> None:
    b = Bench(A, options=RetryOptions(retries=1), fallbacks=Fallbacks((F, G)), rng=Dice(0.5))
    assert tried(b.after(A, upstream())) == (A, 0.25)
    assert tried(b.after(A, upstream())) == (F, 0.0)
    assert tried(b.after(F, upstream(backend="f"))) == (G, 0.0)
    assert isinstance(b.after(G, upstream(backend="g")), GiveUp)


def test_the_busy_have_a_list_of_their_own_before_any_wait() -> None:
    lists = Fallbacks(general=(F,), overloaded=(G,))
    for busy in (upstream(429), upstream(503), upstream(529), Overloaded("full")):
        assert tried(Bench(A, fallbacks=lists).after(A, busy)) == (G, 0.0)
    assert tried(Bench(A, B, fallbacks=lists).after(A, upstream(529))) == (B, 0.0)
    options = RetryOptions(retries=0)
    assert tried(Bench(A, fallbacks=lists, options=options).after(A, upstream(500))) == (F, 0.0)
    b = Bench(A, fallbacks=lists, options=options)
    b.after(A, upstream(529))
    assert tried(b.after(G, upstream(529))) == (F, 0.0)


def test_too_long_goes_where_prompts_may_be_longer_and_nowhere_else() -> None:
    lists = Fallbacks(general=(F,), context=(G, X), overloaded=(F,))
    b = Bench(A, B, fallbacks=lists, options=RetryOptions(retries=1))
    assert tried(b.after(A, too_long(), now=500.0)) == (G, 0.0)
    assert tried(b.after(G, upstream(503), now=1.0)) == (X, 0.0)
    assert tried(b.after(X, upstream(500), now=1.0)) == (G, 0.25)
    error = given_up(b.after(G, upstream(500), now=1.5))
    assert error.message.startswith("prompt is too long: ")
    assert isinstance(Bench(A, B, fallbacks=Fallbacks((F,))).after(A, too_long()), GiveUp)
    assert tried(Bench(A, fallbacks=lists).after(A, PromptTooLong(9, 8))) == (G, 0.0)


def test_five_hops_are_enough() -> None:
    many = tuple(Target(f"f{n}") for n in range(9))
    b = Bench(A, options=RetryOptions(retries=0), fallbacks=Fallbacks(many))
    target, hops = A, 0
    while isinstance(step := b.after(target, upstream()), Try):
        target, hops = step.target, hops + 1
    assert hops == 5


def test_a_refusal_costs_no_retry() -> None:
    b = Bench(A, B, C, options=RetryOptions(retries=0))
    assert tried(b.after(A, Overloaded("full"), sent=False)) == (B, 0.0)
    assert tried(b.after(B, Unavailable("open"), sent=False)) == (C, 0.0)
    assert b.plan.retries == 0
    assert isinstance(b.after(C, upstream()), GiveUp)


@pytest.mark.parametrize(
    ("errors", "kept"),
    [
        ([upstream(503), refused("b")], 0),
        ([refused("a"), upstream(500, backend="b")], 1),
        ([upstream(503), upstream(500, backend="b")], 1),
        ([refused("a"), upstream(504, category="timeout", answered=False)], 1),
        ([upstream(500), Overloaded("full")], 0),
        ([refused("a"), Unavailable("open")], 0),
        ([Overloaded("full"), refused("b")], 1),
        ([upstream(429), EngineFailed("thread")], 1),
    ],
)
def test_the_truest_error_is_what_the_client_gets(errors: list[ApiError], kept: int) -> None:
    b = Bench(A, B, options=RetryOptions(retries=1))
    assert isinstance(b.after(A, errors[0]), Try)
    assert given_up(b.after(B, errors[1])) is errors[kept]


_ERRORS = st.sampled_from(
    [
        upstream(503), upstream(429, retry_after=3), upstream(429, retry_after=90), refused(),
        upstream(500), too_long(), Overloaded("full"), upstream(404),
    ]
)  # fmt: skip


@given(
    st.integers(0, 4),
    st.integers(0, 3),
    st.lists(st.tuples(_ERRORS, st.floats(0, 3)), min_size=40, max_size=40),
    st.integers(0, 99),
)
def test_it_always_ends_in_bounds(
    retries: int, hops: int, outcomes: list[tuple[ApiError, float]], seed: int
) -> None:
    options = RetryOptions(retries=retries, hops=hops)
    lists = Fallbacks((F, G), (G, X), (X, F))
    plan = Plan(options, (A, B), lists, random.Random(seed), lambda t, again: True)
    target, now, sent = plan.first(), 0.0, 0
    said: list[ApiError] = []
    for error, seconds in outcomes:
        assert target is not None
        plan.sent(now)
        now, sent = now + seconds, sent + 1
        said.append(error)
        step = plan.after(target, error, now)
        if isinstance(step, GiveUp):
            assert step.error in said
            if any(e.status == 400 for e in said):
                assert step.error.status == 400
            break
        assert 0 <= step.wait <= 20
        now += step.wait
        assert now <= 20 or said[-1].status == 400 or any(e.status == 400 for e in said)
        target = step.target
    else:
        raise AssertionError("it never gave up")
    assert sent <= 1 + retries + hops
