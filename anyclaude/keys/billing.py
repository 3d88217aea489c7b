"""What a request has cost, and on whose key it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from anyclaude.config.settings import BackendSettings, Settings
from anyclaude.keys.counters import MemoryCounters, Spent
from anyclaude.keys.limiter import Limiter
from anyclaude.records import RequestRecord
from anyclaude.types import Role, Tier

PER = 1_000_000
"""Tokens that a price is for."""

CACHE_READ, CACHE_WRITE = 0.1, 1.25
"""Of Anthropic's price for a token read, that for one out of its cache and for one put into it
for five minutes: https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching#pricing"""

_OF_A_BACKEND = frozenset({None, Tier.KV.value, Tier.KV_DISK.value})


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens, by what becomes of them."""

    read: float
    written: float
    from_cache: float
    into_cache: float

    @classmethod
    def of(cls, backend: BackendSettings) -> Price:
        """Those of the settings; only of Anthropic's API is it known what its cache costs."""
        cached = backend.type == "anthropic"
        return cls(
            read=backend.price_in,
            written=backend.price_out,
            from_cache=backend.price_in * (CACHE_READ if cached else 1.0),
            into_cache=backend.price_in * (CACHE_WRITE if cached else 1.0),
        )

    @property
    def free(self) -> bool:
        return not (self.read or self.written)

    def cost(self, record: RequestRecord) -> float:
        """Dollars for the tokens of a row."""
        return (
            self.read * record.input_tokens
            + self.from_cache * record.cache_read_tokens
            + self.into_cache * record.cache_creation_tokens
            + self.written * record.output_tokens
        ) / PER


class Billing:
    """Puts finished requests on the accounts of their keys. ``prices`` are by backend."""

    def __init__(self, limiter: Limiter, prices: Mapping[str, Price]) -> None:
        self.limiter = limiter
        self._prices = {name: price for name, price in prices.items() if not price.free}

    @classmethod
    def of(cls, settings: Settings, limiter: Limiter) -> Billing:
        """The one for these settings, with the backends that a request may be sent to."""
        reachable = settings.reachable
        return cls(
            limiter,
            {name: Price.of(b) for name, b in settings.backends if name in reachable},
        )

    @classmethod
    def resumed(
        cls,
        settings: Settings,
        used: Iterable[tuple[str, int, float]],
        clock: Callable[[], float],
    ) -> Billing:
        """The same, counting in this process from what keys have used today already.

        ``used`` has their names, tokens and dollars; ``clock`` is Unix time.
        """
        today = {name: Spent(tokens, usd) for name, tokens, usd in used}
        return cls.of(settings, Limiter.of(settings, MemoryCounters(today, clock()), clock))

    @property
    def warning(self) -> str:
        """That keys have a budget which nothing is ever taken from; empty when that isn't so."""
        budgets = [name for name, limits in self.limiter.keys.items() if limits.budget_usd]
        if self._prices or not budgets:
            return ""
        return (
            f"the budget_usd of {', '.join(budgets)} is never used up: no backend that a request"
            " may be sent to has a price_in or price_out"
        )

    def cost(self, record: RequestRecord) -> float:
        """Dollars that the request cost: none when no backend of a price took part."""
        price = self._prices.get(record.backend)
        if price is None or record.role == Role.COUNT or record.cache_tier not in _OF_A_BACKEND:
            return 0.0
        return price.cost(record)

    async def settle(self, record: RequestRecord) -> None:
        """Has the request's key, if it came with one, pay for what stands in the row."""
        tokens = tokens_of(record)
        if record.key_name and (tokens or record.cost_usd):
            key = self.limiter.named(record.key_name)
            await self.limiter.settle(key, tokens, record.cost_usd)


def tokens_of(record: RequestRecord) -> int:
    """Tokens read, from a cache or not, and written; counting them uses none."""
    if record.role == Role.COUNT:
        return 0
    return (
        record.input_tokens
        + record.cache_read_tokens
        + record.cache_creation_tokens
        + record.output_tokens
    )
