"""Figures over time, bounded: each is kept by the second for minutes and by ten for an hour.

The store feeds a :class:`History`; plots ask it for evenly spaced points. No clock here: every
call says what time it is, in Unix seconds of this machine.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from anyclaude.events import Vitals

SPANS_S = (120, 300, 900, 3600)
HOLD_S = 3.0
"""A figure that comes once a second may be this late before its absence shows as a gap."""

# Each ring keeps a little more than the span it is for, since plots end on a whole point.
_RINGS = ((1.0, 330), (10.0, 370))


@dataclass(frozen=True, slots=True)
class Summary:
    """What a span of time had: its newest value, and the extremes."""

    last: float
    low: float
    high: float
    mean: float


@dataclass(slots=True)
class _Bucket:
    """All values of one step of time."""

    index: int
    total: float
    weight: float
    low: float
    high: float
    last: float


class _Ring:
    def __init__(self, step_s: float, keep: int) -> None:
        self.step_s = step_s
        self.covers_s = step_s * keep
        self.buckets: deque[_Bucket] = deque(maxlen=keep)

    def add(self, at: float, value: float, weight: float) -> None:
        index = math.floor(at / self.step_s)
        newest = self.buckets[-1] if self.buckets else None
        if newest is None or index > newest.index:
            self.buckets.append(_Bucket(index, value * weight, weight, value, value, value))
            return
        # A clock that was set back does not make a second past: what comes counts as newest.
        newest.total += value * weight
        newest.weight += weight
        newest.low, newest.high = min(newest.low, value), max(newest.high, value)
        newest.last = value

    def since(self, at: float) -> Iterator[_Bucket]:
        """Newest first, those that end after ``at``."""
        for bucket in reversed(self.buckets):
            if (bucket.index + 1) * self.step_s <= at:
                return
            yield bucket


class Series:
    """One figure over the last hour."""

    def __init__(self) -> None:
        self._rings = tuple(_Ring(step, keep) for step, keep in _RINGS)

    def add(self, at: float, value: float, weight: float = 1.0) -> None:
        """Takes in one value; a mean over time counts it ``weight`` times."""
        for ring in self._rings:
            ring.add(at, value, weight)

    @property
    def since(self) -> float | None:
        """When its oldest value is from."""
        ring = self._rings[-1]
        return ring.buckets[0].index * ring.step_s if ring.buckets else None

    def points(
        self, now: float, span_s: float, count: int, *, peaks: bool = False
    ) -> list[float | None]:
        """``count`` means over equal parts of the last ``span_s`` seconds, oldest first.

        With ``peaks`` the highest values instead; ``None`` where nothing was known. Points lie on
        whole multiples of their own length, so that what has been drawn only moves and is never
        drawn otherwise.
        """
        if count <= 0:
            return []
        length = span_s / count
        start = math.ceil(now / length) * length - span_s
        ring = self._ring(span_s)
        totals, weights, highs = [0.0] * count, [0.0] * count, [-math.inf] * count
        for bucket in ring.since(start):
            at = (bucket.index * ring.step_s - start) / length
            first = math.floor(at + 1e-6)
            last = max(first, math.ceil(at + ring.step_s / length - 1e-6) - 1)
            for point in range(max(0, first), min(count - 1, last) + 1):
                totals[point] += bucket.total
                weights[point] += bucket.weight
                highs[point] = max(highs[point], bucket.high)
        found = [t / w if w else None for t, w in zip(totals, weights, strict=True)]
        if peaks:
            found = [None if high == -math.inf else high for high in highs]
        return _held(found, int(HOLD_S / length))

    def summary(self, now: float, span_s: float) -> Summary | None:
        """The extremes of the values of a span, not of their means."""
        buckets = list(self._ring(span_s).since(now - span_s))
        if not buckets:
            return None
        return Summary(
            buckets[0].last,
            min(b.low for b in buckets),
            max(b.high for b in buckets),
            sum(b.total for b in buckets) / sum(b.weight for b in buckets),
        )

    def _ring(self, span_s: float) -> _Ring:
        return next((r for r in self._rings if r.covers_s >= span_s), self._rings[-1])


def _held(values: list[float | None], most: int) -> list[float | None]:
    """Gaps of at most ``most`` points with the value before them."""
    known: float | None = None
    age = 0
    for index, value in enumerate(values):
        if value is not None:
            known, age = value, 0
        else:
            age += 1
            if age <= most:
                values[index] = known
    return values


def span_for(age_s: float) -> int:
    """The shortest span that shows figures of this age."""
    return next((span for span in SPANS_S if age_s <= span), SPANS_S[-1])


class History:
    """What the console's plots are made of. Rates are tokens/s, latencies ms, memory bytes."""

    def __init__(self) -> None:
        self.decode = Series()
        self.prefill = Series()
        self.ttft_p50 = Series()
        self.ttft_p95 = Series()
        self.memory = Series()
        self.mlx_memory = Series()
        self.memory_total = 0
        self.busy = Series()
        self.lag = Series()
        self.running = Series()
        self.waiting = Series()
        self.reuse = Series()
        self.at = 0.0
        self.revision = 0

    def vitals(self, vitals: Vitals, now: float) -> None:
        """Takes in the figures of about a second."""
        self._tick(now)
        self.memory_total = vitals.memory_total_bytes
        for series, value in (
            (self.decode, vitals.decode_tps),
            (self.prefill, vitals.prefill_tps),
            (self.ttft_p50, vitals.ttft_p50_ms),
            (self.ttft_p95, vitals.ttft_p95_ms),
            (self.memory, vitals.memory_bytes),
            (self.mlx_memory, vitals.mlx_active_bytes),
            (self.busy, vitals.mlx_busy),
            (self.lag, vitals.loop_lag_p99_ms),
            (self.running, vitals.running),
            (self.waiting, vitals.waiting),
        ):
            if value is not None:
                series.add(now, value)

    def admitted(self, cached: int, prompt: int, at: float) -> None:
        """A prompt of ``prompt`` tokens, ``cached`` of which needn't be read again."""
        if prompt > 0:
            self._tick(at)
            self.reuse.add(at, cached / prompt, prompt)

    def _tick(self, now: float) -> None:
        self.at = max(self.at, now)
        self.revision += 1
