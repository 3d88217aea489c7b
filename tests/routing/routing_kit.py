"""What the tests of routing share: a clock that a test moves, and errors in short."""

from __future__ import annotations

import random
from collections.abc import Sequence

from anyclaude.errors import UpstreamError
from anyclaude.records import ErrorCategory
from anyclaude.routing.figures import FiguresBook
from anyclaude.routing.strategies import Candidate
from anyclaude.routing.values import BackendTraits, Estimate, Target


class HandClock:
    """Seconds that pass when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


class Dice(random.Random):
    """Gives the numbers it was made with, over and over; ``uniform`` follows from them."""

    def __init__(self, *numbers: float) -> None:
        super().__init__(0)
        self._numbers = numbers
        self._at = 0

    def random(self) -> float:
        number = self._numbers[self._at % len(self._numbers)]
        self._at += 1
        return number


def upstream(
    status: int = 503,
    message: str = "no room",
    *,
    backend: str = "a",
    category: ErrorCategory | None = None,
    answered: bool = True,
    overflow: bool = False,
    retry_after: float | None = None,
) -> UpstreamError:
    """An error as the backends make them."""
    again = status in (408, 409, 429) or status >= 500
    return UpstreamError(
        message,
        backend=backend,
        status=status,
        type="api_error",
        category=category or ("resource" if again else "invalid_input"),
        retryable=again and not overflow,
        answered=answered,
        overflow=overflow,
        retry_after=retry_after,
    )


def refused(backend: str = "a") -> UpstreamError:
    return upstream(502, "connection refused", backend=backend, category="network", answered=False)


def too_long(backend: str = "a") -> UpstreamError:
    return upstream(
        400,
        "prompt is too long: 9000 tokens > 8192 maximum",
        backend=backend,
        category="resource",
        overflow=True,
    )


def candidate(
    book: FiguresBook,
    name: str,
    *,
    weight: float = 1.0,
    priority: int = 0,
    limit: int = 0,
    in_flight: int = 0,
    waiting: int = 0,
    wait: float = 0.0,
    prices: tuple[float, float] = (0.0, 0.0),
    estimate: Estimate | None = None,
) -> Candidate:
    target = Target(name, "m")
    return Candidate(
        Target(name),
        target,
        BackendTraits(
            name,
            weight=weight,
            priority=priority,
            max_concurrency=limit,
            price_in=prices[0],
            price_out=prices[1],
        ),
        book.of(target),
        in_flight,
        waiting,
        wait,
        estimate,
    )


def names(candidates: Sequence[Candidate]) -> list[str]:
    return [c.place.backend for c in candidates]
