"""What of the prefix tree is kept beyond its requests: leases under a name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from anyclaude.caches.kv.node import Lease

S = TypeVar("S")
T = TypeVar("T")


class Pins(Generic[S, T]):
    """One pin a name, and another one that a person put there. The tree's lock guards it."""

    def __init__(self) -> None:
        self._own: dict[str, Lease[S, T]] = {}
        self._by_hand: dict[str, Lease[S, T]] = {}

    def __iter__(self) -> Iterator[tuple[str, Lease[S, T]]]:
        """Names and leases, those by hand first, the newest last."""
        yield from self._by_hand.items()
        yield from self._own.items()

    def put(self, key: str, lease: Lease[S, T], *, by_hand: bool) -> int:
        """Takes the lease over; it takes the place of the old one, unless that goes on from
        there. The tokens of the lease."""
        pins = self._by_hand if by_hand else self._own
        length = lease.length
        old = pins.get(key)
        if old is not None and lease.starts(old):
            lease.drop()
            pins[key] = pins.pop(key)
            return length
        _drop(pins, key)
        if length:
            pins[key] = lease
        return length

    def drop(self, key: str, *, by_hand: bool) -> None:
        _drop(self._by_hand if by_hand else self._own, key)

    def drop_oldest(self) -> bool:
        """Lets go of the oldest that no person put there, unless it is the only one."""
        if len(self._own) < 2:
            return False
        _drop(self._own, next(iter(self._own)))
        return True

    def passing(self) -> set[Lease[S, T]]:
        """Those that :meth:`drop_oldest` comes to, if it is asked often enough."""
        return set(list(self._own.values())[:-1])

    def clear(self) -> None:
        for pins in (self._by_hand, self._own):
            for key in list(pins):
                _drop(pins, key)


def _drop(pins: dict[str, Lease[S, T]], key: str) -> None:
    if (old := pins.pop(key, None)) is not None:
        old.drop()
