"""Counts by upper bound, as Prometheus wants them, and percentiles of recent values."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence


class Histogram:
    """How many values were at most each of ``bounds``, with their sum and number."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def cumulative(self) -> tuple[tuple[float, int], ...]:
        """Pairs of bound and the number of values up to it, without the infinite one."""
        pairs: list[tuple[float, int]] = []
        total = 0
        for bound, count in zip(self.bounds, self._counts, strict=False):
            total += count
            pairs.append((bound, total))
        return tuple(pairs)


class Recent:
    """The last ``size`` values."""

    def __init__(self, size: int) -> None:
        self._values: deque[float] = deque(maxlen=size)

    def observe(self, value: float) -> None:
        self._values.append(value)

    def percentile(self, fraction: float) -> float | None:
        """Interpolated as SQL's ``quantile_cont`` does; ``None`` without values."""
        return percentile(sorted(self._values), fraction)


def percentile(ordered: Sequence[float], fraction: float) -> float | None:
    """The ``fraction`` (0..1) quantile of ascending values, interpolated linearly."""
    if not ordered:
        return None
    place = (len(ordered) - 1) * fraction
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
