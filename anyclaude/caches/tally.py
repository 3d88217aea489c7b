"""What one tier of finished answers has done so far."""

from __future__ import annotations

from dataclasses import dataclass

from anyclaude.events import TierStats
from anyclaude.types import Tier


@dataclass(slots=True)
class Tally:
    """Hits and misses count requests; the tokens and seconds are what the hits spared."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    tokens_saved: int = 0
    seconds_saved: float = 0.0

    def hit(self, tokens: int, seconds: float) -> None:
        self.hits += 1
        self.tokens_saved += tokens
        self.seconds_saved += seconds

    def stats(
        self, tier: Tier, *, enabled: bool, entries: int = 0, bytes: int = 0, limit_bytes: int = 0
    ) -> TierStats:
        return TierStats(
            tier.value,
            enabled,
            self.hits,
            self.misses,
            entries,
            bytes,
            limit_bytes,
            self.evictions,
            self.tokens_saved,
            self.seconds_saved,
        )
