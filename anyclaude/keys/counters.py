"""What each virtual key has used: two token buckets and a day.

A bucket holds what a minute allows and fills evenly. Tokens are known only when an answer has
ended, so a key may use more than it has left, and then waits until that is made up for; what is
under way isn't counted yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from anyclaude.config.settings import KeySettings

Limit: TypeAlias = Literal["rpm", "tpm", "tokens_per_day", "budget_usd"]
MINUTE_S = 60.0
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What a key has used on one day."""

    tokens: int = 0
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The limit that a key is at, and the seconds until it may go on."""

    limit: Limit
    wait_s: float


class Counters(Protocol):
    """Where the counts are. Several servers that share one count together.

    ``now`` is Unix time. Neither method raises: a tier elsewhere that is away counts here
    meanwhile.
    """

    async def take(self, name: str, limits: KeySettings, now: float) -> Exhausted | None:
        """Counts one request, unless the key is at a limit: then nothing is counted."""
        ...

    async def spend(
        self, name: str, limits: KeySettings, tokens: int, usd: float, now: float
    ) -> None:
        """Counts what a request has used."""
        ...


@dataclass(slots=True)
class Bucket:
    """``level`` of what a minute allows was left at the time ``at``; ``None``: all of it."""

    level: float | None = None
    at: float = 0.0

    def left(self, per_minute: int, now: float) -> float:
        """What is left; a clock that was put back fills nothing."""
        if self.level is None:
            return float(per_minute)
        filled = max(0.0, now - self.at) * per_minute / MINUTE_S
        return min(float(per_minute), self.level + filled)

    def wait_s(self, per_minute: int, now: float) -> float:
        """Seconds until there is one; 0 when there is."""
        return max(0.0, 1.0 - self.left(per_minute, now)) * MINUTE_S / per_minute

    def take(self, amount: float, per_minute: int, now: float) -> None:
        self.level, self.at = self.left(per_minute, now) - amount, now


@dataclass(slots=True)
class _Account:
    requests: Bucket = field(default_factory=Bucket)
    tokens: Bucket = field(default_factory=Bucket)
    day: int = -1
    spent: Spent = Spent()

    def today(self, now: float) -> Spent:
        """A new day begins with nothing; one that is over doesn't come back with the clock."""
        day = int(now // DAY_S)
        if day > self.day:
            self.day, self.spent = day, Spent()
        return self.spent


class MemoryCounters:
    """Counts in this process.

    ``today`` is what keys have used since midnight UTC already, by their names, as at ``now``:
    a restart gives nobody a new day.
    """

    def __init__(self, today: Mapping[str, Spent] | None = None, now: float = 0.0) -> None:
        self._accounts = {
            name: _Account(day=int(now // DAY_S), spent=spent)
            for name, spent in (today or {}).items()
        }

    async def take(self, name: str, limits: KeySettings, now: float) -> Exhausted | None:
        account = self._accounts.setdefault(name, _Account())
        exhausted = _exhausted(account, limits, now)
        if exhausted is None and limits.rpm:
            account.requests.take(1.0, limits.rpm, now)
        return exhausted

    async def spend(
        self, name: str, limits: KeySettings, tokens: int, usd: float, now: float
    ) -> None:
        account = self._accounts.setdefault(name, _Account())
        spent = account.today(now)
        account.spent = Spent(spent.tokens + tokens, spent.usd + usd)
        if limits.tpm:
            account.tokens.take(tokens, limits.tpm, now)

    def spent(self, name: str, now: float) -> Spent:
        """What the key has used since midnight UTC."""
        account = self._accounts.get(name)
        return account.today(now) if account else Spent()


def _exhausted(account: _Account, limits: KeySettings, now: float) -> Exhausted | None:
    """The limit that takes longest to pass, if any is reached."""
    spent, midnight = account.today(now), DAY_S - now % DAY_S
    reached: list[Exhausted] = []
    if limits.tokens_per_day and spent.tokens >= limits.tokens_per_day:
        reached.append(Exhausted("tokens_per_day", midnight))
    if limits.budget_usd and spent.usd >= limits.budget_usd:
        reached.append(Exhausted("budget_usd", midnight))
    if limits.tpm and (wait_s := account.tokens.wait_s(limits.tpm, now)):
        reached.append(Exhausted("tpm", wait_s))
    if limits.rpm and (wait_s := account.requests.wait_s(limits.rpm, now)):
        reached.append(Exhausted("rpm", wait_s))
    return max(reached, key=lambda one: one.wait_s, default=None)
