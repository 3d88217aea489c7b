"""Sessions stay where their prefix is.

A session that moves pays for its whole prompt once more, so it keeps its target as long as that
one may be asked, however good another looks.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from anyclaude.routing.values import Clock, Target

SESSIONS = 4096
TTL = 3600.0
"""Seconds without a request after which a session's prefix is taken to be gone everywhere."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a session's requests of one route go, as the route lists it, and how it came there."""

    target: Target
    since: float
    used: float
    why: str
    moves: int = 0


class Affinity:
    """Sessions and their targets, the longest unused forgotten first.

    One session asks for several models, each with a route and prefixes of its own: the key is
    both.
    """

    def __init__(self, clock: Clock, *, limit: int = SESSIONS, ttl: float = TTL) -> None:
        self._clock = clock
        self._limit = limit
        self._ttl = ttl
        self._bound: OrderedDict[tuple[str, str], Binding] = OrderedDict()

    def __len__(self) -> int:
        return len(self._bound)

    def get(self, session: str, route: str) -> Binding | None:
        """Where the session is; asking keeps it."""
        key = (session, route)
        binding = self._bound.get(key)
        if binding is None:
            return None
        now = self._clock()
        if now - binding.used >= self._ttl:
            del self._bound[key]
            return None
        binding = self._bound[key] = replace(binding, used=now)
        self._bound.move_to_end(key)
        return binding

    def bind(self, session: str, route: str, target: Target, why: str) -> Binding:
        """Puts the session there; ``why`` is kept of the last move."""
        before = self.get(session, route)
        now = self._clock()
        if before is not None and before.target == target:
            return before
        moves = before.moves + 1 if before is not None else 0
        binding = self._bound[session, route] = Binding(target, now, now, why, moves)
        self._bound.move_to_end((session, route))
        while len(self._bound) > self._limit:
            self._bound.popitem(last=False)
        return binding

    def forget(self, backend: str) -> int:
        """Frees every session of a backend, whose caches are gone; says how many."""
        gone = [key for key, b in self._bound.items() if b.target.backend == backend]
        for key in gone:
            del self._bound[key]
        return len(gone)
