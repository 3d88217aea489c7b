"""What virtual keys have used, counted by several servers together."""

from __future__ import annotations

import asyncio

from anyclaude.caches.shared.state import SharedState, Window
from anyclaude.config.settings import KeySettings
from anyclaude.keys.counters import DAY_S, MINUTE_S, Exhausted

_MICRO = 1_000_000


class SharedCounters:
    """:class:`anyclaude.keys.counters.Counters` on what instances share.

    A minute is the last 60 seconds, the older part of them in proportion. Servers that ask at the
    same moment may each let one request through.
    """

    def __init__(self, state: SharedState) -> None:
        self._state = state

    async def take(self, name: str, limits: KeySettings, now: float) -> Exhausted | None:
        requests, tokens, today, spent = await asyncio.gather(
            self._count(name, "rpm", MINUTE_S, bool(limits.rpm)),
            self._count(name, "tpm", MINUTE_S, bool(limits.tpm)),
            self._count(name, "tokens", DAY_S, bool(limits.tokens_per_day)),
            self._count(name, "usd", DAY_S, bool(limits.budget_usd)),
        )
        midnight = DAY_S - now % DAY_S
        reached: list[Exhausted] = []
        if limits.tokens_per_day and today.count >= limits.tokens_per_day:
            reached.append(Exhausted("tokens_per_day", midnight))
        if limits.budget_usd and spent.count >= limits.budget_usd * _MICRO:
            reached.append(Exhausted("budget_usd", midnight))
        if limits.tpm and (wait_s := _wait_s(tokens, limits.tpm)):
            reached.append(Exhausted("tpm", wait_s))
        if limits.rpm and (wait_s := _wait_s(requests, limits.rpm)):
            reached.append(Exhausted("rpm", wait_s))
        if not reached and limits.rpm:
            await self._state.count(_place(name, "rpm"), MINUTE_S)
        return max(reached, key=lambda one: one.wait_s, default=None)

    async def spend(
        self, name: str, limits: KeySettings, tokens: int, usd: float, now: float
    ) -> None:
        counted = [
            self._state.count(_place(name, "tpm"), MINUTE_S, tokens),
            self._state.count(_place(name, "tokens"), DAY_S, tokens),
            self._state.count(_place(name, "usd"), DAY_S, round(usd * _MICRO)),
        ]
        await asyncio.gather(*counted)

    async def _count(self, name: str, what: str, window_s: float, wanted: bool) -> Window:
        if not wanted:
            return Window(0, 0, 0.0)
        return await self._state.count(_place(name, what), window_s, 0)


def _place(name: str, what: str) -> str:
    return f"key:{name}:{what}"


def _wait_s(window: Window, limit: int) -> float:
    """Seconds until one more fits into the last minute; 0 when it does."""
    if window.sliding + 1 <= limit:
        return 0.0
    room = limit - 1
    if window.count <= room and window.before:
        share = 1 - (room - window.count) / window.before
        return max(0.001, (share - window.share) * MINUTE_S)
    # This window is full by itself: into the next one, until it counts for little enough.
    return (1 - window.share + max(0.0, 1 - room / max(1, window.count))) * MINUTE_S
