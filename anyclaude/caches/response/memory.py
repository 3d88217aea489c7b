"""L2: packed answers in memory, least recently used first to go. Loop thread only."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from anyclaude.caches.tally import Tally
from anyclaude.events import TierStats
from anyclaude.types import Tier

DEFAULT_BYTES = 128 * 2**20
DEFAULT_TTL_S = 3600.0

MAX_SHARE = 0.25
"""An answer that takes more than this of the whole is not kept: it would drive out the rest."""

_OVERHEAD = 400
"""Bytes around a payload: its key, its place in the dictionary, and the object that holds it."""


@dataclass(slots=True)
class _Held:
    payload: bytes
    until: float

    @property
    def size(self) -> int:
        return sys.getsizeof(self.payload) + _OVERHEAD


class MemoryTier:
    """Packed answers by digest, under ``limit_bytes``, each for ``ttl_s`` after it was put here.

    ``clock`` only has to go forward; it is in seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        limit_bytes: int = DEFAULT_BYTES,
        ttl_s: float = DEFAULT_TTL_S,
    ) -> None:
        self._clock = clock
        self._limit = limit_bytes
        self._ttl = ttl_s
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        self._bytes = 0
        self.tally = Tally()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, digest: bytes) -> bytes | None:
        """The payload, which counts as used; ``None`` when there is none or its time is over."""
        held = self._held.get(digest)
        if held is None:
            return None
        if self._clock() >= held.until:
            self.delete(digest)
            return None
        self._held.move_to_end(digest)
        return held.payload

    def put(self, digest: bytes, payload: bytes) -> bool:
        """Keeps the payload, in place of an older one; whether it did."""
        held = _Held(payload, self._clock() + self._ttl)
        self.delete(digest)
        if held.size > self._limit * MAX_SHARE:
            return False
        self._held[digest] = held
        self._bytes += held.size
        while self._bytes > self._limit:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= oldest.size
            self.tally.evictions += 1
        return True

    def delete(self, digest: bytes) -> None:
        held = self._held.pop(digest, None)
        if held is not None:
            self._bytes -= held.size

    def flush(self) -> tuple[int, int]:
        """Forgets everything; how many entries and bytes that were."""
        gone = len(self._held), self._bytes
        self._held.clear()
        self._bytes = 0
        return gone

    def stats(self) -> TierStats:
        return self.tally.stats(
            Tier.RESPONSE,
            enabled=True,
            entries=len(self._held),
            bytes=self._bytes,
            limit_bytes=self._limit,
        )
