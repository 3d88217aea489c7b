"""Identical requests in flight: one is answered, the others wait for its finished answer.

The first of a key leads and does the work; the others follow. A leader that lands an answer hands
it to all of them; one that leaves without passes the lead to the follower who has waited longest,
and to nobody else. That is so for deterministic requests. Requests that are sampled want an answer
each, so of those one only ever follows a leader whose own client has gone (:meth:`Seat.orphan`):
no two live ones get the same answer. Loop thread only; nothing here starts a task.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Flight(Generic[T]):
    deterministic: bool
    leader: Seat[T]
    followers: deque[Seat[T]] = field(default_factory=deque)
    orphaned: bool = False


class Seat(Generic[T]):
    """One request's place in a flight; a context manager, which it leaves at the end."""

    def __init__(self, flights: Flights[T], key: bytes) -> None:
        self._flights = flights
        self._key = key
        self._flight: _Flight[T] | None = None
        self._turn: asyncio.Future[T | None] | None = None

    @property
    def leads(self) -> bool:
        """Whether the work is this request's to do."""
        return self._flight is not None and self._flight.leader is self

    @property
    def followed(self) -> bool:
        """Whether anyone waits for this request's answer."""
        return self.leads and self._flight is not None and bool(self._flight.followers)

    async def answer(self) -> T | None:
        """The leader's answer, once it has landed; ``None``: this seat leads, now or already."""
        if self._turn is None:
            return None
        return await self._turn

    def orphan(self) -> None:
        """This leader's client has gone while the work goes on: one sampled request may follow."""
        if self.leads and self._flight is not None:
            self._flight.orphaned = True

    def land(self, answer: T) -> None:
        """Hands the leader's answer to all who wait, and ends the flight."""
        if not self.leads or self._flight is None:
            raise RuntimeError("only the leader of a flight can land it")
        flight, self._flight = self._flight, None
        self._flights.end(self._key, flight)
        for follower in flight.followers:
            follower.settle(answer)

    def leave(self) -> None:
        """Gives the place up; a leader's goes to the next in line. Idempotent."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        if flight.leader is not self:
            flight.followers.remove(self)
            return
        if not flight.followers:
            self._flights.end(self._key, flight)
            return
        flight.leader = flight.followers.popleft()
        flight.orphaned = False
        flight.leader.promote()

    def __enter__(self) -> Seat[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    # ------------------------------------------------------------------- for flights and seats

    def take(self, flight: _Flight[T], turn: asyncio.Future[T | None] | None) -> None:
        self._flight, self._turn = flight, turn

    def settle(self, answer: T) -> None:
        self._flight = None
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(answer)

    def promote(self) -> None:
        # Cancelled already, it still leads until its own ``leave`` passes that on.
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)


class Flights(Generic[T]):
    """Every request that is being answered, by its key."""

    def __init__(self) -> None:
        self._flights: dict[bytes, list[_Flight[T]]] = {}

    def __len__(self) -> int:
        """How many flights there are."""
        return sum(len(flights) for flights in self._flights.values())

    def board(self, key: bytes, *, deterministic: bool) -> Seat[T]:
        """A seat in a flight that this request may share, or the lead of a new one."""
        seat: Seat[T] = Seat(self, key)
        for flight in self._flights.get(key, ()):
            if _may_follow(flight, deterministic):
                flight.followers.append(seat)
                seat.take(flight, asyncio.get_running_loop().create_future())
                return seat
        flight = _Flight(deterministic, seat)
        self._flights.setdefault(key, []).append(flight)
        seat.take(flight, None)
        return seat

    def end(self, key: bytes, flight: _Flight[T]) -> None:
        """Takes a flight off the board."""
        flights = self._flights[key]
        flights.remove(flight)
        if not flights:
            del self._flights[key]


def _may_follow(flight: _Flight[T], deterministic: bool) -> bool:
    if deterministic and flight.deterministic:
        return True
    return not deterministic and flight.orphaned and not flight.followers
