"""What to do after a failure: another target at once, the same one later, or the truth.

Everything happens before the first content has left; who calls sees to that. Few tries, since
Claude Code has ten of its own, and all of them inside one budget of time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from anyclaude.errors import ApiError
from anyclaude.routing.faults import is_busy, is_overflow, may_retry, may_wait, realness
from anyclaude.routing.values import Target


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """``retries`` within a route's targets, and at most ``hops`` to its fallbacks.

    No try begins ``budget_s`` after the first one was sent. Waits are drawn from nothing to
    ``backoff_s``, doubled each time up to ``backoff_max_s`` (full jitter).
    """

    retries: int = 2
    budget_s: float = 20.0
    backoff_s: float = 0.5
    backoff_max_s: float = 8.0
    hops: int = 5


@dataclass(frozen=True, slots=True)
class Fallbacks:
    """A route's lists, the models' names filled in."""

    general: tuple[Target, ...] = ()
    context: tuple[Target, ...] = ()
    overloaded: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Try:
    """Ask ``target`` after ``wait`` seconds; ``why`` goes on from "because"."""

    target: Target
    wait: float
    why: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """``error`` is what the client gets; ``why`` nothing else was tried."""

    error: ApiError
    why: str


Step: TypeAlias = Try | GiveUp
Usable: TypeAlias = Callable[[Target, bool], bool]
"""Whether a target may be asked now; the second argument: though it has failed this request."""


@dataclass(frozen=True, slots=True)
class _Failure:
    error: ApiError
    at: float


class Plan:
    """One request's. ``order`` are the route's targets as its strategy has them."""

    def __init__(
        self,
        options: RetryOptions,
        order: Sequence[Target],
        fallbacks: Fallbacks,
        rng: random.Random,
        usable: Usable,
    ) -> None:
        self._options = options
        self._ring: tuple[Target, ...] = tuple(order)
        self._fallbacks = fallbacks
        self._rng = rng
        self._usable = usable
        self._started: float | None = None
        self._failed: dict[Target, _Failure] = {}
        self._truest: ApiError | None = None
        self._overflowed = False
        self._hops = 0
        self._waits = 0
        self.retries = 0

    def first(self) -> Target | None:
        """Where to begin; ``None`` when nobody may be asked."""
        for target in (*self._ring, *self._fallbacks.general):
            if self._usable(target, False):
                return target
        return None

    def sent(self, now: float) -> None:
        """A try is on its way; the first one starts the budget."""
        if self._started is None:
            self._started = now

    def after(self, target: Target, error: ApiError, now: float, *, sent: bool = True) -> Step:
        """The next step. Without ``sent`` the target refused before anything was sent to it."""
        self._failed[target] = _Failure(error, now)
        if self._truest is None or realness(error) >= realness(self._truest):
            self._truest = error
        why = f"{target} {'answered' if sent else 'refused'}: {error.status} {error.message}"
        if is_overflow(error):
            return self._after_overflow(why)
        if not may_retry(error):
            return self._give_up(f"{error.status} is not tried again")
        left = self._options.budget_s - (now - (now if self._started is None else self._started))
        if left <= 0:
            return self._give_up(f"the {self._options.budget_s:g} s for tries are over")
        return (
            self._sibling(why, free=not sent)
            or (self._hop(self._fallbacks.overloaded, why) if is_busy(error) else None)
            or self._later(why, now, left)
            or self._hop(self._fallbacks.general, why)
            or self._give_up("nothing else may be asked")
        )

    def _after_overflow(self, why: str) -> Step:
        """To where prompts may be longer, however late it is; there is nothing to wait for."""
        if not self._overflowed:
            self._overflowed = True
            self._ring = ()
            self._fallbacks = Fallbacks(context=self._fallbacks.context)
        return self._hop(self._fallbacks.context, why) or self._give_up(
            "no fallback takes a longer prompt"
        )

    def _sibling(self, why: str, *, free: bool) -> Try | None:
        if self._overflowed:
            return self._hop(self._fallbacks.context, why)
        if not free and self.retries >= self._options.retries:
            return None
        for target in self._ring:
            if target not in self._failed and self._usable(target, False):
                self.retries += not free
                return Try(target, 0.0, why)
        return None

    def _later(self, why: str, now: float, left: float) -> Try | None:
        """The target that is ready first, after its Retry-After or a drawn wait."""
        if self.retries >= self._options.retries:
            return None
        ready: list[tuple[float, Target]] = []
        for target in self._ring or tuple(self._failed):
            failure = self._failed.get(target)
            if failure is None or not may_wait(failure.error) or not self._usable(target, True):
                continue
            wait = max(0.0, failure.at + (failure.error.retry_after or 0.0) - now)
            if wait <= left:
                ready.append((wait, target))
        if not ready:
            return None
        asked_for, target = min(ready, key=lambda pair: pair[0])
        options = self._options
        # Behind a Retry-After a little chance is enough to keep waiting requests apart.
        most = options.backoff_s if asked_for else options.backoff_s * 2.0 ** min(self._waits, 32)
        wait = asked_for + self._rng.uniform(
            0.0, min(most, options.backoff_max_s, left - asked_for)
        )
        self.retries += 1
        self._waits += 1
        return Try(target, wait, f"{why}; again after {wait:.2f} s")

    def _hop(self, targets: Sequence[Target], why: str) -> Try | None:
        if self._hops >= self._options.hops:
            return None
        for target in targets:
            if target not in self._failed and self._usable(target, False):
                self._hops += 1
                return Try(target, 0.0, f"fallback, {why}")
        return None

    def _give_up(self, why: str) -> GiveUp:
        assert self._truest is not None
        return GiveUp(self._truest, why)
