"""The breaker against a slow and simple one, through whatever hypothesis thinks of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anyclaude.routing.breaker import Breaker, BreakerOptions, Permit, Transition
from tests.routing.routing_kit import HandClock, upstream

OPTIONS = BreakerOptions(
    failures=3, window_s=10, ratio=0.6, minimum=6, open_s=4, open_max_s=20, probes=2, successes=2
)


@dataclass
class Reference:
    """The rules as they are written in the options, over the whole history, nothing clever."""

    now: float = 0.0
    state: str = "closed"
    until: float = 0.0
    by_hand: bool = False
    doubled: int = 0
    era: int = 0
    probing: int = 0
    good: int = 0
    outcomes: list[tuple[float, bool]] = field(default_factory=list)
    moves: list[tuple[float, str, str]] = field(default_factory=list)

    def enter(self, state: str, seconds: float = 0.0, by_hand: bool = False) -> None:
        if state != self.state:
            self.moves.append((self.now, self.state, state))
        self.state, self.until, self.by_hand = state, self.now + seconds, by_hand
        self.era += 1
        self.probing = self.good = 0
        if state == "closed":
            self.outcomes = []

    def recent(self) -> list[bool]:
        """Failed or not, of the last ten whole seconds and the running one's part."""
        width = OPTIONS.window_s / 60
        bucket = int(self.now // width)
        return [failed for at, failed in self.outcomes if int(at // width) > bucket - 60]

    def allow(self, only: bool) -> tuple[int, bool] | None:
        if self.state == "open" and self.now >= self.until:
            self.enter("half-open")
        if self.state == "closed":
            return self.era, False
        if self.state == "open" and (not only or self.by_hand):
            return None
        if self.probing >= OPTIONS.probes:
            return None
        self.probing += 1
        return self.era, True

    def success(self, era: int, probe: bool) -> None:
        if era != self.era:
            return
        if not probe:
            self.outcomes.append((self.now, False))
            return
        good = self.good + 1
        if good >= OPTIONS.successes:
            self.doubled = 0
            self.enter("closed")
        elif self.state == "open":
            self.enter("half-open")
            self.good = good
        else:
            self.probing -= 1
            self.good = good

    def failure(self, era: int, probe: bool, retry_after: float | None) -> None:
        if era != self.era:
            return
        if probe:
            self.probing -= 1
        if self.state == "half-open":
            self.doubled += 1
            self.enter("open", self.seconds(retry_after))
        elif self.state == "closed":
            self.outcomes.append((self.now, True))
            recent = self.recent()
            row = 0
            while row < len(recent) and recent[-1 - row]:
                row += 1
            many = len(recent) >= OPTIONS.minimum
            if row >= OPTIONS.failures or (many and sum(recent) / len(recent) >= OPTIONS.ratio):
                self.enter("open", self.seconds(retry_after))

    def neutral(self, era: int, probe: bool) -> None:
        if era == self.era and probe:
            self.probing -= 1

    def seconds(self, retry_after: float | None) -> float:
        if retry_after:
            return min(OPTIONS.open_max_s, max(1.0, retry_after))
        return min(OPTIONS.open_max_s, OPTIONS.open_s * 2**self.doubled)


class BreakerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock(0.0)
        self.seen: list[Transition] = []
        self.breaker = Breaker("a", OPTIONS, self.clock, self.seen.append)
        self.reference = Reference()
        self.open: list[tuple[Permit, tuple[int, bool]]] = []

    # Quarters are exact in floats: neither side may differ by rounding.
    @rule(quarters=st.integers(1, 60))
    def tick(self, quarters: int) -> None:
        self.clock.tick(quarters / 4)
        self.reference.now = self.clock()

    @rule(only=st.booleans(), times=st.integers(1, 4))
    def ask(self, only: bool, times: int) -> None:
        for _ in range(times):
            available = self.breaker.available(only=only)
            permit, expected = self.breaker.allow(only=only), self.reference.allow(only)
            assert (permit is not None) == (expected is not None) == available
            if permit is not None and expected is not None:
                assert permit.probe == expected[1]
                self.open.append((permit, expected))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), how=st.sampled_from(["success", "failure", "failure", "neutral"]))
    def end(self, data: st.DataObject, how: str) -> None:
        permit, known = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        match how:
            case "success":
                permit.success()
                self.reference.success(*known)
            case "failure":
                after = data.draw(st.sampled_from([None, None, 0.5, 7.0, 500.0]))
                permit.failure(upstream(429, retry_after=after))
                self.reference.failure(*known, after)
            case _:
                permit.neutral()
                self.reference.neutral(*known)
        permit.success()  # Ends after the first are nothing.

    @rule()
    def checked(self) -> None:
        self.breaker.half_open("checked")
        if self.reference.state == "open" and not self.reference.by_hand:
            self.reference.enter("half-open")

    @rule(forever=st.booleans())
    def trip(self, forever: bool) -> None:
        seconds = math.inf if forever else None
        self.breaker.trip(seconds=seconds)
        self.reference.enter("open", seconds or OPTIONS.open_s, by_hand=True)

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.reference.doubled = 0
        self.reference.enter("closed")

    @invariant()
    def the_same(self) -> None:
        reference, snapshot = self.reference, self.breaker.snapshot()
        assert snapshot.state == reference.state
        assert snapshot.probing == reference.probing
        assert 0 <= snapshot.probing <= OPTIONS.probes
        assert snapshot.answered == reference.good
        assert [(t.at, t.before, t.after) for t in self.seen] == reference.moves
        if reference.state == "open":
            assert snapshot.open_for == max(0.0, reference.until - reference.now)


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
