"""Small things that several instances have in common: a breaker's state, counts for limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

_MAX_LOCAL = 10_000
_KEEP = 0.9


@dataclass(frozen=True, slots=True)
class Versioned:
    """A value and how often it was changed; ``version`` begins at 1."""

    value: str
    version: int


@dataclass(frozen=True, slots=True)
class Window:
    """A count in the window of time that is now, of which ``share`` (0..1) has gone by.

    ``before`` is the whole of the window before it.
    """

    count: int
    before: int
    share: float

    @property
    def sliding(self) -> float:
        """The count of the last whole window's length, the older part of it in proportion."""
        return self.count + self.before * (1 - self.share)


class SharedState(Protocol):
    """State that instances share where they can; nothing here ever raises for a lost server."""

    async def get(self, name: str) -> Versioned | None:
        """The value last put, unless its time is over."""
        ...

    async def put(self, name: str, value: str, *, seen: int, ttl_s: float) -> bool:
        """Puts a value in place of the version ``seen``, 0 for none; ``False`` if that is gone."""
        ...

    async def count(self, name: str, window_s: float, amount: int = 1) -> Window:
        """Adds ``amount`` to this window of ``window_s`` seconds and says what is there then."""
        ...


def window_at(now: float, window_s: float) -> tuple[int, float]:
    """The number of the window that ``now`` is in, and how much of it has gone by."""
    number = int(now // window_s)
    return number, now / window_s - number


class LocalState:
    """:class:`SharedState` of one process. ``wall`` is Unix time."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._values: dict[str, tuple[Versioned, float]] = {}
        self._counts: dict[tuple[str, int], tuple[int, float]] = {}

    def __len__(self) -> int:
        """How many values and counts are held, some perhaps over already."""
        return len(self._values) + len(self._counts)

    async def get(self, name: str) -> Versioned | None:
        return self._get(name)

    async def put(self, name: str, value: str, *, seen: int, ttl_s: float) -> bool:
        held = self._get(name)
        if (held.version if held else 0) != seen:
            return False
        self.note(name, Versioned(value, seen + 1), ttl_s)
        return True

    async def count(self, name: str, window_s: float, amount: int = 1) -> Window:
        number, share = window_at(self._wall(), window_s)
        count, _ = self._counts.get((name, number), (0, 0.0))
        before, _ = self._counts.get((name, number - 1), (0, 0.0))
        self._purge()
        self._counts[name, number] = (count + amount, (number + 2) * window_s)
        return Window(count + amount, before, share)

    def note(self, name: str, versioned: Versioned, ttl_s: float) -> None:
        """Takes over what another place holds."""
        self._purge()
        self._values[name] = (versioned, self._wall() + ttl_s)

    def forget(self, name: str) -> None:
        self._values.pop(name, None)

    def _get(self, name: str) -> Versioned | None:
        held = self._values.get(name)
        return held[0] if held is not None and self._wall() < held[1] else None

    def _purge(self) -> None:
        """Over its size, forgets what is over; where that is too little, what is oldest too."""
        if len(self) < _MAX_LOCAL:
            return
        now = self._wall()
        self._values = {name: held for name, held in self._values.items() if now < held[1]}
        self._counts = {at: held for at, held in self._counts.items() if now < held[1]}
        while len(self) > _MAX_LOCAL * _KEEP:
            if len(self._counts) > len(self._values):
                del self._counts[next(iter(self._counts))]
            else:
                del self._values[next(iter(self._values))]
