"""Which backends are out of service, as instances tell each other of those they share.

An instance that takes a backend out of service, or finds that it answers again, writes that down
where all can read it; the others go by it, unless a person has decided otherwise there.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeAlias

from anyclaude.caches.shared.state import SharedState, Versioned
from anyclaude.config.settings import BackendSettings, Settings
from anyclaude.gateway import Gateway
from anyclaude.routing.breaker import Breaker

INTERVAL_S = 1.0
_KEPT_S = 60.0
"""How long a state is kept beyond its own time, for those who were away."""

State: TypeAlias = Literal["open", "closed"]


@dataclass(frozen=True, slots=True)
class _Told:
    """A state with who wrote it; ``until`` is Unix time."""

    by: str
    state: State
    until: float
    why: str


class SharedBreakers:
    """``breakers`` by the names that instances have in common; ``me`` is this one's own name."""

    def __init__(
        self,
        breakers: Mapping[str, Breaker],
        state: SharedState,
        *,
        me: str,
        wall: Callable[[], float],
    ) -> None:
        self._breakers = breakers
        self._state = state
        self._me = me
        self._wall = wall
        self._known: dict[str, State] = dict.fromkeys(breakers, "closed")
        """What was last told or heard of each."""
        self._seen: dict[str, int] = {}

    async def run(self) -> None:
        """Tells and hears, once a second, until it is cancelled."""
        while True:
            await self.sync()
            await asyncio.sleep(INTERVAL_S)

    async def sync(self) -> None:
        """Tells what changed here, and takes over what changed elsewhere."""
        for name, breaker in self._breakers.items():
            held = await self._state.get(f"breaker:{name}")
            if not await self._tell(name, breaker, held):
                self._hear(name, breaker, held)

    async def _tell(self, name: str, breaker: Breaker, held: Versioned | None) -> bool:
        now = breaker.snapshot()
        if now.by_hand or now.state == "half-open" or now.state == self._known[name]:
            return False
        told = {
            "by": self._me,
            "state": now.state,
            "until": self._wall() + now.open_for,
            "why": now.why,
        }
        version = held.version if held is not None else 0
        ttl_s = now.open_for + _KEPT_S
        if await self._state.put(f"breaker:{name}", json.dumps(told), seen=version, ttl_s=ttl_s):
            self._known[name] = now.state
            self._seen[name] = version + 1
        return True

    def _hear(self, name: str, breaker: Breaker, held: Versioned | None) -> None:
        if held is None or held.version == self._seen.get(name):
            return
        self._seen[name] = held.version
        told = _read(held.value)
        if told is None or told.by == self._me:
            return
        left = told.until - self._wall()
        if told.state == "open" and left <= 0:
            return
        self._known[name] = told.state
        breaker.adopt(told.state, left, f"another anyclaude found: {told.why}")


async def share_breakers(
    settings: Settings, gateway: Gateway, state: SharedState, *, wall: Callable[[], float]
) -> None:
    """Tells and hears of the backends elsewhere until it is cancelled."""
    own, names = gateway.dispatcher.breakers, shared_names(settings)
    breakers = {names[name]: own[name] for name in gateway.elsewhere if name in own}
    await SharedBreakers(breakers, state, me=secrets.token_hex(8), wall=wall).run()


def shared_names(settings: Settings) -> dict[str, str]:
    """For each backend elsewhere a name that any instance gives it, whatever it is called there."""
    return {n: _shared_name(b) for n, b in settings.backends if b.type in ("openai", "anthropic")}


def _shared_name(backend: BackendSettings) -> str:
    said = json.dumps([backend.type, backend.base_url.rstrip("/"), backend.api_key])
    return sha256(said.encode()).hexdigest()[:24]


def _read(value: str) -> _Told | None:
    """``None`` for what another release wrote."""
    try:
        told = _Told(**json.loads(value))
    except (ValueError, TypeError):
        return None
    return told if told.state in ("open", "closed") else None
