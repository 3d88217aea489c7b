"""A backend takes so many requests at once; the others wait in order, and not too many of them.

Who is urgent goes first, and everyone gets more urgent by waiting. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from anyclaude.errors import Overloaded
from anyclaude.routing.values import Clock
from anyclaude.types import Role

AGING_SECONDS = 20.0
"""A request that has waited so long counts as one rank more urgent."""
ASSUMED_SECONDS = 10.0
"""Of a request, while none has been timed."""
_LEAST_ADVICE = 1.0
_LONGEST_ADVICE = 60.0
"""Claude Code gives up on a longer Retry-After."""

_RANKS = {
    Role.MAIN: 0,
    Role.COMPACT: 0,
    Role.SEARCH: 1,
    Role.PROBE: 1,
    Role.SUBAGENT: 1,
    Role.TITLE: 2,
    Role.COUNT: 2,
}


def rank_of(role: Role) -> int:
    """0 is what a person waits for; larger is later. The engine's scheduler ranks alike."""
    return _RANKS[role]


class Slot:
    """Leave to send one request. Release it when its answer is over."""

    __slots__ = ("_queue", "_released", "waited")

    def __init__(self, queue: AdmissionQueue, waited: float) -> None:
        self.waited = waited
        self._queue = queue
        self._released = False

    def release(self) -> None:
        """Lets the next one in. Idempotent."""
        if not self._released:
            self._released = True
            self._queue._leave()


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """``limit`` 0: none."""

    in_flight: int
    waiting: int
    limit: int


class AdmissionQueue:
    """One backend's. ``seconds`` tells how long a request takes there, if that is known."""

    def __init__(
        self,
        name: str,
        max_concurrency: int,
        max_waiting: int,
        clock: Clock,
        seconds: Callable[[], float | None] = lambda: None,
        aging_s: float = AGING_SECONDS,
    ) -> None:
        self.name = name
        self._limit = max_concurrency
        self._max_waiting = max_waiting
        self._clock = clock
        self._seconds = seconds
        self._aging = aging_s
        self._in_flight = 0
        self._count = itertools.count()
        self._heap: list[tuple[float, int, asyncio.Future[None]]] = []

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def waiting(self) -> int:
        return len(self._heap)

    @property
    def full(self) -> bool:
        """Whether another request would be refused."""
        return self._busy and self.waiting >= self._max_waiting

    @property
    def _busy(self) -> bool:
        return bool(self._heap) or 0 < self._limit <= self._in_flight

    def wait_seconds(self) -> float:
        """How long one more request would wait, by how long they have taken."""
        if not self._busy:
            return 0.0
        each = self._seconds()
        rounds = (self.waiting + 1) / self._limit if self._limit else 0.0
        return rounds * (ASSUMED_SECONDS if each is None else each)

    async def acquire(self, rank: int = 0) -> Slot:
        """Waits for a turn.

        Raises :class:`Overloaded`, with a Retry-After, when too many wait already.
        """
        if not self._busy:
            self._in_flight += 1
            return Slot(self, 0.0)
        if self.full:
            raise self._overloaded()
        began = self._clock()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Rank less waiting time orders the same at any moment: it need not be reckoned again.
        entry = (rank * self._aging + began, next(self._count), turn)
        heapq.heappush(self._heap, entry)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._leave()  # The turn had come, and nobody is here to take it.
            elif entry in self._heap:
                self._heap.remove(entry)
                heapq.heapify(self._heap)
            raise
        return Slot(self, self._clock() - began)

    def snapshot(self) -> QueueSnapshot:
        return QueueSnapshot(self._in_flight, self.waiting, self._limit)

    def _leave(self) -> None:
        """One is through: its place goes straight to the next, so that no newcomer gets it."""
        while self._heap:
            turn = heapq.heappop(self._heap)[2]
            if not turn.done():  # A cancelled one may not have run yet to take itself out.
                turn.set_result(None)
                return
        self._in_flight -= 1

    def _overloaded(self) -> Overloaded:
        wait = min(_LONGEST_ADVICE, max(_LEAST_ADVICE, self.wait_seconds()))
        waiting = f"and {self.waiting} wait" if self.waiting else "and none may wait"
        return Overloaded(
            f"backend {self.name} is full: {self._in_flight} requests at work {waiting};"
            f" try again in about {wait:.0f} s",
            retry_after=wait,
            context={"backend": self.name},
        )
