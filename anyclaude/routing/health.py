"""How backends are doing: what requests found out, and a look now and then when none comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from anyclaude.errors import ApiError
from anyclaude.routing.breaker import Breaker
from anyclaude.routing.faults import counts
from anyclaude.routing.values import Clock

HealthState: TypeAlias = Literal["unknown", "healthy", "degraded", "failing"]
Probe: TypeAlias = Callable[[str], Awaitable[None]]
"""Asks a backend for something cheap; raises an error of ours when it isn't there. It has to end
by itself, in bounded time."""
Sleep: TypeAlias = Callable[[float], Awaitable[None]]

DEGRADED_RATIO = 0.1
"""Failures among a minute's calls (Helicone's bound)."""
FAILING_CHECKS = 2
"""Checks in a row that a backend must fail to be passed over."""
JITTER = 0.2


@dataclass(frozen=True, slots=True)
class HealthView:
    """``checked_at`` and ``seen_at``: the last check, and the last good answer to a request."""

    state: HealthState
    checked_at: float | None
    seen_at: float | None
    failed_checks: int
    error: str


class Health:
    """One backend's, as far as checks and requests tell."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._checked_at: float | None = None
        self._seen_at: float | None = None
        self._failed_checks = 0
        self._error = ""

    @property
    def failing(self) -> bool:
        """Whether checks fail and no request has gone well since."""
        return self._failed_checks >= FAILING_CHECKS

    @property
    def error(self) -> str:
        return self._error

    def seen_within(self, seconds: float) -> bool:
        """Whether a request went well so lately that there is no need to look."""
        return self._seen_at is not None and self._clock() - self._seen_at < seconds

    def answered(self) -> None:
        """A request got content."""
        self._seen_at = self._clock()
        self._failed_checks = 0
        self._error = ""

    def failed(self, error: ApiError) -> None:
        """A request failed through the backend's fault."""
        self._error = error.message

    def checked(self, error: str = "") -> None:
        """A check ended, well without an error."""
        self._checked_at = self._clock()
        self._failed_checks = self._failed_checks + 1 if error else 0
        self._error = error

    def view(self, breaker: Breaker, error_ratio: float) -> HealthView:
        return HealthView(
            self._state(breaker, error_ratio),
            self._checked_at,
            self._seen_at,
            self._failed_checks,
            self._error,
        )

    def _state(self, breaker: Breaker, error_ratio: float) -> HealthState:
        if breaker.state == "open" or self.failing:
            return "failing"
        if breaker.state == "half-open" or error_ratio > DEGRADED_RATIO or self._failed_checks:
            return "degraded"
        return "unknown" if self._checked_at is self._seen_at is None else "healthy"


class HealthChecker:
    """Checks every backend that no request has just answered for, each at its own pace.

    ``interval_s`` 0 turns it off. A check that goes well half-opens the breaker. One that fails
    opens nothing: requests do.
    """

    def __init__(
        self,
        healths: Mapping[str, Health],
        breakers: Mapping[str, Breaker],
        probe: Probe,
        *,
        interval_s: float,
        rng: random.Random,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._healths = healths
        self._breakers = breakers
        self._probe = probe
        self._interval = interval_s
        self._rng = rng
        self._sleep = sleep

    async def run(self, names: Iterable[str] | None = None) -> None:
        """Until cancelled."""
        if self._interval <= 0:
            return
        async with asyncio.TaskGroup() as group:
            for name in self._healths if names is None else names:
                group.create_task(self._watch(name), name=f"health of {name}")

    async def check(self, name: str) -> bool:
        """One check now; whether it went well."""
        try:
            await self._probe(name)
        except ApiError as error:
            if counts(error) or error.status >= 500:
                self._healths[name].checked(error.message)
                return False
            # It answered, if only that it has no such thing.
        except Exception as error:  # One probe's fault must not end the others' watch.
            self._healths[name].checked(f"{type(error).__name__}: {error}")
            return False
        return self._well(name)

    def _well(self, name: str) -> bool:
        self._healths[name].checked()
        self._breakers[name].half_open("its health check was answered")
        return True

    async def _watch(self, name: str) -> None:
        while True:
            await self._sleep(self._interval * self._rng.uniform(1 - JITTER, 1 + JITTER))
            if not self._healths[name].seen_within(self._interval):
                await self.check(name)
