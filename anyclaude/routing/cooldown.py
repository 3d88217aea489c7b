"""A target that has just said no is passed over for some seconds, if there is another.

Shorter and narrower than the breaker: one model of one backend, such as one over its rate limit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from anyclaude.errors import ApiError
from anyclaude.routing.faults import counts
from anyclaude.routing.figures import TargetFigures
from anyclaude.routing.values import Clock, Target

LONGEST = 60.0
"""Seconds; a longer Retry-After is the breaker's business (LiteLLM has the same bound)."""
_RATE_LIMITED = 429
_CALLS = 5
_RATIO = 0.5
"""LiteLLM: over half of a minute's calls, and at least five of them."""


@dataclass(frozen=True, slots=True)
class Rest:
    """A target is passed over for so many seconds from ``at``, on the routing's clock."""

    at: float
    target: Target
    seconds: float
    why: str


class Cooldowns:
    """Targets that rest. ``seconds`` of 0 turns it off."""

    def __init__(
        self,
        clock: Clock,
        seconds: float = 5.0,
        publish: Callable[[Rest], None] = lambda rest: None,
        *,
        limit: int = 256,
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._publish = publish
        self._limit = limit
        self._until: OrderedDict[Target, float] = OrderedDict()

    def note(self, target: Target, error: ApiError, figures: TargetFigures) -> float:
        """Takes an error into account; the seconds that the target now rests, mostly 0.

        One that is over its rate, or says when to come back, rests at once; others once more than
        half of their last minute's calls failed. Not at any 503: a rest moves every session that
        asks meanwhile away from its prefix.
        """
        if self._seconds <= 0 or not counts(error):
            return 0.0
        now = self._clock()
        often = figures.calls_this_minute(now) >= _CALLS and figures.error_ratio(now) > _RATIO
        told = error.retry_after or 0.0
        if error.status != _RATE_LIMITED and told <= 0 and not often:
            return 0.0
        seconds = min(LONGEST, told if told > 0 else self._seconds)
        self.rest(target, seconds)
        self._publish(Rest(now, target, seconds, f"{error.status} {error.message}"))
        return seconds

    def rest(self, target: Target, seconds: float) -> None:
        """Has a target rest, as another instance may have found out. Never shortens a rest."""
        self._until[target] = max(self._clock() + seconds, self._until.get(target, 0.0))
        self._until.move_to_end(target)
        while len(self._until) > self._limit:
            self._until.popitem(last=False)

    def left(self, target: Target) -> float:
        """Seconds that the target still rests."""
        until = self._until.get(target)
        if until is None:
            return 0.0
        left = until - self._clock()
        if left <= 0:
            del self._until[target]
            return 0.0
        return left

    def clear(self, backend: str) -> None:
        """Wakes all of a backend's targets."""
        for target in [t for t in self._until if t.backend == backend]:
            del self._until[target]
