"""The breaker's transitions, one by one, on a clock that the test moves."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from anyclaude.errors import (
    ApiError,
    EngineFailed,
    InvalidRequest,
    NotSupported,
    Overloaded,
    PromptTooLong,
    Unavailable,
)
from anyclaude.routing.breaker import Breaker, BreakerOptions, Permit, Transition
from tests.routing.routing_kit import HandClock, refused, too_long, upstream

OPTIONS = BreakerOptions(
    failures=3, window_s=60, ratio=0.5, minimum=10, open_s=30, open_max_s=100, successes=2
)


class Bench:
    """A breaker, its clock and its transitions as ``at: before>after why``."""

    def __init__(self, options: BreakerOptions = OPTIONS) -> None:
        self.clock = HandClock(0.0)
        self.seen: list[Transition] = []
        self.breaker = Breaker("a", options, self.clock, self.seen.append)

    @property
    def moves(self) -> list[str]:
        return [f"{t.at:g}: {t.before}>{t.after}" for t in self.seen]

    def permit(self, *, only: bool = False) -> Permit:
        permit = self.breaker.allow(only=only)
        assert permit is not None
        return permit

    def fail(self, times: int = 1, error: ApiError | None = None) -> None:
        for _ in range(times):
            self.permit().failure(error or upstream())

    def succeed(self, times: int = 1) -> None:
        for _ in range(times):
            self.permit().success()


def test_failures_in_a_row_open_it_and_probes_close_it() -> None:
    b = Bench()
    b.fail(2)
    assert b.breaker.state == "closed"
    b.fail()
    assert b.breaker.allow() is None and not b.breaker.available()
    b.clock.tick(29.9)
    assert b.breaker.allow() is None
    b.clock.tick(0.1)
    assert b.breaker.available()
    b.permit().success()
    b.permit().success()
    assert b.moves == ["0: closed>open", "30: open>half-open", "30: half-open>closed"]
    assert [t.why for t in b.seen] == [
        "3 failures in a row, the last: 503 no room",
        "its time is over",
        "2 probes were answered",
    ]
    assert {t.name for t in b.seen} == {"a"}


def test_a_success_breaks_the_row() -> None:
    b = Bench(replace(OPTIONS, ratio=0))
    for _ in range(20):
        b.fail(2)
        b.succeed()
    assert not b.seen


def test_failures_far_apart_are_no_row() -> None:
    b = Bench()
    for _ in range(10):
        b.fail()
        b.clock.tick(31)
    assert not b.seen


def test_a_ratio_opens_it_when_there_were_enough_calls() -> None:
    b = Bench(replace(OPTIONS, failures=0))
    b.succeed(4)
    b.fail(5)
    assert b.breaker.state == "closed"  # 5 of 9
    b.fail()
    assert b.moves == ["0: closed>open"]
    assert b.seen[0].why == "6 of 10 calls failed, the last: 503 no room"


def test_a_success_never_opens_it() -> None:
    b = Bench(replace(OPTIONS, failures=0))
    b.fail(9)
    b.succeed(1)
    assert not b.seen


def test_the_window_forgets() -> None:
    b = Bench(replace(OPTIONS, failures=0))
    b.fail(8)
    b.clock.tick(60)
    b.succeed(2)
    b.fail(1)
    assert not b.seen
    assert (b.breaker.snapshot().failures, b.breaker.snapshot().calls) == (1, 3)


def test_both_ways_can_be_turned_off() -> None:
    b = Bench(replace(OPTIONS, failures=0, ratio=0))
    b.fail(100)
    assert not b.seen


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (upstream(408), True),
        (upstream(409), True),
        (upstream(429), True),
        (upstream(500), True),
        (upstream(503), True),
        (upstream(504, category="timeout", answered=False), True),
        (upstream(502, category="schema"), True),
        (upstream(529), True),
        (refused(), True),
        (EngineFailed("the model's thread failed"), False),
        (upstream(400), False),
        (upstream(401), False),
        (upstream(403), False),
        (upstream(404), False),
        (upstream(413), False),
        (upstream(422), False),
        (upstream(501, category="not_implemented"), False),
        (too_long(), False),
        (PromptTooLong(9, 8), False),
        (InvalidRequest("no"), False),
        (NotSupported("no"), False),
        (Overloaded("our own queue is full"), False),
        (Unavailable("the model is loading"), False),
    ],
)
def test_what_counts(error: ApiError, counted: bool) -> None:
    b = Bench(replace(OPTIONS, failures=1))
    b.fail(1, error)
    assert (b.breaker.state == "open") is counted


def test_clients_that_leave_count_for_nothing() -> None:
    b = Bench()
    for _ in range(50):
        b.permit().neutral()
    assert not b.seen
    assert b.breaker.snapshot().calls == 0


def test_half_open_lets_few_through_and_gets_them_back() -> None:
    b = Bench(replace(OPTIONS, probes=2))
    b.fail(3)
    b.clock.tick(30)
    first, second = b.permit(), b.permit()
    assert first.probe and second.probe
    assert b.breaker.allow() is None
    first.neutral()
    third = b.permit()
    assert b.breaker.allow() is None
    second.failure(upstream(400))  # it answered, to nonsense
    third.success()
    b.permit().success()
    assert b.breaker.state == "closed"


def test_failed_probes_double_the_time_up_to_a_cap() -> None:
    b = Bench()
    b.fail(3)
    waits = []
    for _ in range(4):
        waits.append(b.breaker.open_for)
        b.clock.tick(b.breaker.open_for)
        b.permit().failure(upstream(500, "still broken"))
    assert waits == [30, 60, 100, 100]
    assert b.seen[-1].why == "a probe failed: 500 still broken"
    b.breaker.reset()
    b.fail(3)
    assert b.breaker.open_for == 30


def test_closing_forgets_the_doubling() -> None:
    b = Bench()
    b.fail(3)
    b.clock.tick(30)
    b.permit().failure(upstream())
    b.clock.tick(60)
    b.succeed(2)
    b.fail(3)
    assert b.breaker.open_for == 30
    assert b.moves == [
        "0: closed>open",
        "30: open>half-open",
        "30: half-open>open",
        "90: open>half-open",
        "90: half-open>closed",
        "90: closed>open",
    ]


@pytest.mark.parametrize(
    ("retry_after", "open_for"), [(7.0, 7.0), (0.2, 1.0), (4000.0, 100.0), (0.0, 30.0)]
)
def test_retry_after_sets_the_time_within_bounds(retry_after: float, open_for: float) -> None:
    b = Bench()
    b.fail(2)
    b.fail(1, upstream(429, retry_after=retry_after))
    assert b.breaker.open_for == open_for


def test_outcomes_from_before_are_no_news() -> None:
    b = Bench()
    old = [b.permit() for _ in range(6)]
    b.fail(3)
    b.clock.tick(30)
    probe = b.permit()
    for late in old[:3]:
        late.failure(upstream())
    for late in old[3:]:
        late.success()
    assert b.breaker.state == "half-open"
    assert b.breaker.snapshot().answered == 0
    assert b.breaker.allow() is None  # their ends gave no probe back either
    probe.success()
    assert b.breaker.snapshot().answered == 1


def test_a_permit_counts_once() -> None:
    b = Bench(replace(OPTIONS, failures=2))
    permit = b.permit()
    permit.failure(upstream())
    permit.failure(upstream())
    permit.success()
    permit.neutral()
    permit.first_content(1.0)
    assert (b.breaker.state, b.breaker.snapshot().calls) == ("closed", 1)


def test_a_probe_is_good_at_its_first_content_and_may_fail_after() -> None:
    b = Bench()
    b.fail(3)
    b.clock.tick(30)
    first = b.permit()
    first.first_content(1.0)
    assert b.breaker.available()  # a long answer doesn't keep the next probe waiting
    second = b.permit()
    second.first_content(1.0)
    assert b.breaker.state == "closed"
    first.success()
    assert b.breaker.snapshot().calls == 0
    second.failure(upstream(504, "silence"))
    assert b.breaker.snapshot().failures == 1


def test_a_probe_that_breaks_off_after_its_first_content_opens_again() -> None:
    b = Bench()
    b.fail(3)
    b.clock.tick(30)
    probe = b.permit()
    probe.first_content(1.0)
    probe.failure(upstream(504, "silence"))
    assert b.moves[-1] == "30: half-open>open"
    assert b.breaker.open_for == 60


def test_first_content_alone_is_no_success_of_a_usual_request() -> None:
    b = Bench(replace(OPTIONS, ratio=0))
    for _ in range(3):
        permit = b.permit()
        permit.first_content(0.1)
        permit.failure(upstream(504, "silence"))
    assert b.breaker.state == "open"


def test_slow_first_content_is_a_failure_if_a_limit_is_set() -> None:
    b = Bench(replace(OPTIONS, slow_ttft_s=10, failures=2))
    for seconds in (10.0, 10.1, 30.0):
        permit = b.permit()
        permit.first_content(seconds)
        permit.success()
    assert b.breaker.state == "open"
    assert b.seen[0].why == (
        "2 failures in a row, the last: first content after 30.0 s, allowed are 10 s"
    )
    b.clock.tick(30)
    b.permit().first_content(11.0)
    assert b.moves[-1] == "30: half-open>open"


def test_without_a_limit_slowness_is_fine() -> None:
    b = Bench()
    for _ in range(20):
        permit = b.permit()
        permit.first_content(500.0)
        permit.success()
    assert not b.seen


def test_the_only_backend_is_never_locked_out() -> None:
    b = Bench()
    b.fail(3)
    assert b.breaker.allow() is None
    probe = b.permit(only=True)
    assert b.breaker.allow(only=True) is None
    error = b.breaker.refusal(only=True)
    assert error.message == (
        "backend a is switched off after failures, it is the only backend for this request, and 1"
        " that may try it are under way (3 failures in a row, the last: 503 no room)"
    )
    assert error.retry_after == 2.0
    probe.failure(upstream())
    assert b.breaker.open_for == 30  # a failure doesn't make it longer
    b.clock.tick(5)
    b.permit(only=True).success()
    b.permit().success()
    assert b.moves == ["0: closed>open", "5: open>half-open", "5: half-open>closed"]


def test_one_success_may_close_it_at_once() -> None:
    b = Bench(replace(OPTIONS, successes=1))
    b.fail(3)
    b.permit(only=True).success()
    assert b.moves == ["0: closed>open", "0: open>closed"]
    assert b.seen[-1].why == "a probe was answered"


def test_a_refusal_says_how_long_and_why() -> None:
    b = Bench()
    b.fail(2)
    b.fail(1, upstream(429, "slow down", retry_after=90))
    error = b.breaker.refusal()
    assert error.message == (
        "backend a is switched off after failures, for another 90 s (3 failures in a row, the last:"
        " 429 slow down)"
    )
    assert (error.status, error.retry_after) == (503, 60.0)  # no client waits longer
    b.clock.tick(90)
    b.permit()
    assert "it is being tried again" in b.breaker.refusal().message


def test_a_persons_trip_holds_against_all_but_a_reset() -> None:
    b = Bench()
    b.breaker.trip("by hand", math.inf)
    b.clock.tick(1e9)
    assert b.breaker.allow() is None and b.breaker.allow(only=True) is None
    b.breaker.half_open("its health check was answered")
    b.breaker.adopt("closed", 0.0, "another instance")
    assert b.breaker.state == "open"
    assert "was switched off by hand, until it is reset" in b.breaker.refusal(only=True).message
    assert b.breaker.snapshot().by_hand
    b.breaker.reset()
    assert b.permit().probe is False
    assert b.moves == ["0: closed>open", "1e+09: open>closed"]


def test_a_trip_is_over_after_its_time() -> None:
    b = Bench()
    b.breaker.trip()
    assert b.breaker.open_for == 30
    b.clock.tick(30)
    b.succeed(2)
    assert b.breaker.state == "closed"


def test_a_health_check_half_opens_it_before_its_time() -> None:
    b = Bench()
    b.breaker.half_open("checked")
    b.fail(3)
    b.clock.tick(3)
    b.breaker.half_open("checked")
    assert b.moves == ["0: closed>open", "3: open>half-open"]
    assert b.permit().probe


def test_another_instances_state_is_taken_over() -> None:
    b = Bench()
    b.breaker.adopt("open", 20.0, "seen by another instance")
    assert b.breaker.open_for == 20
    b.breaker.adopt("open", 10.0, "seen by another instance")
    assert b.breaker.open_for == 20  # never shorter
    b.breaker.adopt("open", 1e6, "seen by another instance")
    assert b.breaker.open_for == 100
    b.breaker.adopt("half-open", 0.0, "seen by another instance")
    b.breaker.adopt("closed", 0.0, "seen by another instance")
    b.breaker.adopt("closed", 0.0, "seen by another instance")
    assert b.moves == ["0: closed>open", "0: open>half-open", "0: half-open>closed"]


def test_a_listener_sees_the_state_that_it_is_told_of() -> None:
    clock = HandClock(0.0)
    open_for: list[float] = []
    breaker = Breaker("a", OPTIONS, clock, lambda t: open_for.append(breaker.open_for))
    breaker.trip(seconds=50)
    assert open_for == [50]


def test_the_snapshot_tells_all() -> None:
    b = Bench()
    b.succeed()
    b.fail(2)
    now = b.breaker.snapshot()
    assert (now.name, now.state, now.failures, now.calls, now.in_a_row) == ("a", "closed", 2, 3, 2)
    b.fail()
    b.clock.tick(30)
    b.permit()
    b.clock.tick(1)
    now = b.breaker.snapshot()
    assert (now.state, now.since, now.probing, now.answered, now.why) == (
        "half-open", 30.0, 1, 0, "its time is over",
    )  # fmt: skip
