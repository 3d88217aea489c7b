"""Tokens per second over a sliding window, of work that several requests share.

Each piece of work is an interval with a number of tokens in it. The rate is the tokens that
fall into the window over the time in it during which *anything* was being worked on: two
requests decoding side by side add up, and a pause between requests doesn't dilute the figure.
"""

from __future__ import annotations

from collections import deque


class Throughput:
    """Intervals of the last ``window`` seconds; times are any monotonic clock's seconds."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._intervals: deque[tuple[float, float, int]] = deque()

    def add(self, start: float, end: float, tokens: int) -> None:
        """``tokens`` were made between ``start`` and ``end``; ends never go back in time."""
        if tokens > 0 and end > start:
            self._intervals.append((start, end, tokens))
            self._forget(end)

    def rate(self, now: float) -> float:
        """Tokens/s over the busy part of the window, 0.0 when nothing was done in it."""
        self._forget(now)
        since = now - self._window
        tokens = busy = 0.0
        covered = since
        # Sorted by start, what is not yet covered of each interval adds to the busy time.
        for start, end, count in sorted(self._intervals):
            inside = max(start, since)
            if end <= inside:
                continue
            tokens += count * (end - inside) / (end - start)
            busy += max(0.0, end - max(inside, covered))
            covered = max(covered, end)
        return tokens / busy if busy > 0 else 0.0

    def _forget(self, now: float) -> None:
        while self._intervals and self._intervals[0][1] <= now - self._window:
            self._intervals.popleft()
