"""A backend that fails is left alone for a while, and let back in with few requests.

::

    closed ──(failures in a row, or their ratio)──▶ open ──(time, health check)──▶ half-open
       ▲                                              ▲                                │
       └────────────────(enough probes answered)──────┼────────────────────────────────┤
                                                      └────────(a probe failed)────────┘

What the client did wrong, and clients that hang up, count for nothing. Outcomes of requests that
were let through before the last change of state are no news either.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from anyclaude.errors import ApiError, Unavailable
from anyclaude.routing.faults import counts
from anyclaude.routing.figures import Window
from anyclaude.routing.values import Clock

BreakerState: TypeAlias = Literal["closed", "open", "half-open"]

_LEAST_OPEN = 1.0
_LONGEST_ADVICE = 60.0
"""The longest Retry-After that Claude Code heeds; for more than that it gives up."""
_PROBE_ADVICE = 2.0


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """When it opens and closes; times in seconds.

    ``failures`` in a row within ``window_s`` open it, or a ``ratio`` of failures among at least
    ``minimum`` calls in it; 0 turns either off. It stays open for the Retry-After of the failure
    that opened it, at most ``open_max_s``, else for ``open_s``, doubled each time that probes
    fail. ``probes`` requests at once are let through half-open; ``successes`` of them close it.
    A first content later than ``slow_ttft_s`` is a failure, unless that is 0.
    """

    failures: int = 5
    window_s: float = 60.0
    ratio: float = 0.5
    minimum: int = 10
    open_s: float = 30.0
    open_max_s: float = 300.0
    probes: int = 1
    successes: int = 2
    slow_ttft_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state for the event log; ``at`` is the routing's clock."""

    at: float
    name: str
    before: BreakerState
    after: BreakerState
    why: str


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """A breaker as the console shows it. ``open_for`` is in seconds, ``math.inf`` by hand.

    ``failures`` and ``calls`` are those of the window, ``by_hand`` whether a person opened it.
    """

    name: str
    state: BreakerState
    since: float
    open_for: float
    failures: int
    calls: int
    in_a_row: int
    probing: int
    answered: int
    why: str
    by_hand: bool


class Permit:
    """One request let through. Exactly one of its ends counts, whatever is called after it."""

    __slots__ = ("_answered", "_breaker", "_done", "_epoch", "probe")

    def __init__(self, breaker: Breaker, epoch: int, probe: bool) -> None:
        self.probe = probe
        self._breaker = breaker
        self._epoch = epoch
        self._done = False
        self._answered = False

    def first_content(self, seconds: float) -> None:
        """The backend began to answer. For a probe that is enough; too late is a failure."""
        if self._done or self._answered:
            return
        limit = self._breaker.options.slow_ttft_s
        if 0 < limit < seconds:
            self._answered = True
            why = f"first content after {seconds:.1f} s, allowed are {limit:g} s"
            self._end()
            self._breaker._failed(self._epoch, self.probe, why, None)
        elif self.probe:
            self._answered = True
            self._breaker._succeeded(self._epoch, self.probe)

    def success(self) -> None:
        """The answer came to its end."""
        if not self._end() and not self._answered:
            self._breaker._succeeded(self._epoch, self.probe)

    def failure(self, error: ApiError) -> None:
        """It failed, before or in the middle; what says nothing of the backend is neutral."""
        if not counts(error):
            self.neutral()
        elif not self._end():
            why = f"{error.status} {error.message}"
            if self._answered:  # Good news was told already: this is bad news of its own.
                self._breaker._failed(None, False, why, error.retry_after)
            else:
                self._breaker._failed(self._epoch, self.probe, why, error.retry_after)

    def neutral(self) -> None:
        """It ended in a way that says nothing: the client left, or asked for nonsense."""
        if not self._end() and not self._answered:
            self._breaker._left(self._epoch, self.probe)

    def _end(self) -> bool:
        """Whether it had ended before."""
        done, self._done = self._done, True
        return done


class Breaker:
    """One backend's."""

    def __init__(
        self,
        name: str,
        options: BreakerOptions,
        clock: Clock,
        publish: Callable[[Transition], None] = lambda transition: None,
    ) -> None:
        self.name = name
        self.options = options
        self._clock = clock
        self._publish = publish
        self._state: BreakerState = "closed"
        self._since = clock()
        self._until = 0.0
        self._why = ""
        self._by_hand = False
        self._epoch = 0
        self._openings = 0
        self._probing = 0
        self._answered = 0
        self._clear()

    @property
    def state(self) -> BreakerState:
        """As of the last request; an open one whose time is over says open until one comes."""
        return self._state

    # ------------------------------------------------------------------------ letting through

    def available(self, *, only: bool = False) -> bool:
        """Whether :meth:`allow` would let a request through now."""
        if self._state == "closed":
            return True
        if self._state == "half-open":
            return self._probing < self.options.probes
        if self._clock() >= self._until:
            return True
        return only and not self._by_hand and self._probing < self.options.probes

    def allow(self, *, only: bool = False) -> Permit | None:
        """Lets a request through or not.

        ``only`` says that nothing else could answer it: then as many probes as half-open ones
        pass while it is open, so that the one backend is never locked out; a person's trip holds
        all the same.
        """
        if not self.available(only=only):
            return None
        if self._state == "closed":
            return Permit(self, self._epoch, probe=False)
        if self._state == "open" and self._clock() >= self._until:
            self._enter("half-open", "its time is over")
        self._probing += 1
        return Permit(self, self._epoch, probe=True)

    def refusal(self, *, only: bool = False) -> Unavailable:
        """The error for a request that isn't let through."""
        left = self.open_for
        if only and self._probing and not self._by_hand:
            what = (
                f"it is the only backend for this request, and {self._probing} that may try it"
                " are under way"
            )
            left = _PROBE_ADVICE
        elif self._state == "half-open":
            what, left = "it is being tried again", _PROBE_ADVICE
        elif math.isinf(left):
            what = "until it is reset"
        else:
            what = f"for another {max(1.0, left):.0f} s"
        by = "was switched off by hand" if self._by_hand else "is switched off after failures"
        return Unavailable(
            f"backend {self.name} {by}, {what} ({self._why})",
            retry_after=min(_LONGEST_ADVICE, max(_LEAST_OPEN, left)),
            context={"backend": self.name, "breaker": self._state},
        )

    @property
    def open_for(self) -> float:
        """Seconds until it lets a probe through; 0 when it does."""
        return max(0.0, self._until - self._clock()) if self._state == "open" else 0.0

    # ------------------------------------------------------------------------- from outside

    def reset(self, why: str = "reset by hand") -> None:
        """Closes it and forgets what it counted."""
        self._openings = 0
        self._enter("closed", why)

    def trip(self, why: str = "by hand", seconds: float | None = None) -> None:
        """Opens it for so long (``math.inf``: until reset); the usual time if not given."""
        self._open(self.options.open_s if seconds is None else seconds, why, by_hand=True)

    def half_open(self, why: str) -> None:
        """Lets probes through before its time, since a health check was answered."""
        if self._state == "open" and not self._by_hand:
            self._enter("half-open", why)

    def adopt(self, state: BreakerState, seconds: float, why: str) -> None:
        """Takes over what another instance found out; ``seconds`` it is to stay open.

        A person's trip here isn't touched, nor an open time that is longer.
        """
        if self._by_hand and self.open_for > 0:
            return
        if state == "open":
            if seconds > self.open_for:
                self._open(min(seconds, self.options.open_max_s), why)
        elif state != self._state:
            self._enter(state, why)

    def snapshot(self) -> BreakerSnapshot:
        now = self._clock()
        return BreakerSnapshot(
            name=self.name,
            state=self._state,
            since=self._since,
            open_for=self.open_for,
            failures=int(self._failures.total(now)),
            calls=int(self._calls.total(now)),
            in_a_row=int(self._run.total(now)),
            probing=self._probing,
            answered=self._answered,
            why=self._why,
            by_hand=self._by_hand,
        )

    # ------------------------------------------------------------------- what permits report

    def _succeeded(self, epoch: int, probe: bool) -> None:
        if epoch != self._epoch:
            return
        if not probe:
            self._calls.add(self._clock())
            self._run = Window(self.options.window_s)
            return
        self._probing -= 1
        answered = self._answered + 1
        if answered >= self.options.successes:
            self._openings = 0
            times = "a probe was" if answered == 1 else f"{answered} probes were"
            self._enter("closed", f"{times} answered")
        elif self._state == "open":
            self._enter("half-open", "a probe was answered")
            self._answered = answered
        else:
            self._answered = answered

    def _failed(self, epoch: int | None, probe: bool, why: str, retry_after: float | None) -> None:
        """``epoch`` is ``None`` for news that count whenever the request was let through."""
        if epoch is not None and epoch != self._epoch:
            return
        if probe:
            self._probing -= 1
        if self._state == "half-open":
            self._openings += 1
            self._open(self._open_time(retry_after), f"a probe failed: {why}")
        elif self._state == "closed":
            self._count_failure(why, retry_after)

    def _left(self, epoch: int, probe: bool) -> None:
        if probe and epoch == self._epoch:
            self._probing -= 1

    def _count_failure(self, why: str, retry_after: float | None) -> None:
        now, options = self._clock(), self.options
        for window in (self._calls, self._failures, self._run):
            window.add(now)
        run = int(self._run.total(now))
        calls, failures = self._calls.total(now), self._failures.total(now)
        if 0 < options.failures <= run:
            reason = f"{run} failures in a row, the last: {why}"
        elif 0 < options.ratio <= failures / calls and calls >= options.minimum:
            reason = f"{failures:.0f} of {calls:.0f} calls failed, the last: {why}"
        else:
            return
        self._open(self._open_time(retry_after), reason)

    def _open_time(self, retry_after: float | None) -> float:
        longest = self.options.open_max_s
        if retry_after is not None and retry_after > 0:
            return min(longest, max(_LEAST_OPEN, retry_after))
        # Doubling stops mattering long before the exponent gets large.
        return min(longest, self.options.open_s * 2.0 ** min(self._openings, 32))

    def _open(self, seconds: float, why: str, *, by_hand: bool = False) -> None:
        self._enter("open", why, seconds, by_hand=by_hand)

    def _enter(
        self, state: BreakerState, why: str, seconds: float = 0.0, *, by_hand: bool = False
    ) -> None:
        before, self._state = self._state, state
        self._since = self._clock()
        self._until = self._since + seconds
        self._why = why
        self._by_hand = by_hand
        self._epoch += 1
        self._probing = self._answered = 0
        if state == "closed":
            self._clear()
        if before != state:
            self._publish(Transition(self._since, self.name, before, state, why))

    def _clear(self) -> None:
        window = self.options.window_s
        self._calls, self._failures, self._run = Window(window), Window(window), Window(window)
