"""How late the event loop is.

A timer is set again and again; how much later than asked it fires is the time that something
held the loop. Anything longer than the interval is seen for certain.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from anyclaude.metrics.histogram import percentile

INTERVAL_S = 0.02
SAMPLES = 1500


class Timer(Protocol):
    def cancel(self) -> None: ...


class Timers(Protocol):
    """The part of an event loop that is needed here."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer: ...


class LoopLag:
    """Delays of the last 30 seconds (1,500 samples, one every 20 ms)."""

    def __init__(self, loop: Timers | None = None) -> None:
        """``loop`` is the running event loop unless given; it is looked up at start."""
        self._loop = loop
        self._timer: Timer | None = None
        self._due = 0.0
        self._late_s: deque[float] = deque(maxlen=SAMPLES)

    def start(self) -> None:
        """Begins to measure; a second call changes nothing."""
        if self._timer is None:
            self._set(self._loop or asyncio.get_running_loop())

    def stop(self) -> None:
        """Ends the measuring; what was measured stays readable."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def p99_ms(self) -> float:
        """The 99th percentile in milliseconds, 0.0 before the first sample."""
        late = percentile(sorted(self._late_s), 0.99)
        return 0.0 if late is None else late * 1000

    def _set(self, loop: Timers) -> None:
        self._due = loop.time() + INTERVAL_S
        self._timer = loop.call_at(self._due, lambda: self._fired(loop))

    def _fired(self, loop: Timers) -> None:
        self._late_s.append(max(0.0, loop.time() - self._due))
        self._set(loop)
