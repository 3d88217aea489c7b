"""One generated turn as it is kept: packed, with the verdict on its last echo."""

from __future__ import annotations

from dataclasses import dataclass

_OVERHEAD = 200


@dataclass(slots=True)
class StoredTurn:
    """``content`` and ``tokens`` are packed; ``accepted`` is the digest of an echo that fits.

    ``thinking`` is whether it was on in the request that the turn answered.
    """

    content: bytes
    tokens: bytes
    thinking: bool
    accepted: bytes = b""

    @property
    def size(self) -> int:
        """Bytes it takes, in memory or on disk, with what surrounds it."""
        return len(self.content) + len(self.tokens) + _OVERHEAD
