"""What instances share through one Redis or Valkey server: finished answers and small state.

Every key begins with a namespace, so that several installations can use one server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyclaude.caches.shared.link import Away, Link
from anyclaude.caches.shared.state import LocalState, Versioned, Window, window_at
from anyclaude.caches.tally import Tally
from anyclaude.events import TierStats
from anyclaude.types import Tier

if TYPE_CHECKING:
    from redis.asyncio import Redis

_SCAN = 500


@dataclass(frozen=True, slots=True)
class SharedOptions:
    """``answers`` false keeps conversations out of the server: then it has counts and states only.

    An answer over ``max_bytes`` isn't sent: it would take longer than the timeout.
    """

    namespace: str = "anyclaude"
    ttl_s: float = 3600.0
    answers: bool = True
    max_bytes: int = 2**20


class SharedAnswers:
    """Packed answers on the server; where it is away there are none."""

    def __init__(self, link: Link, options: SharedOptions) -> None:
        self._link = link
        self._options = options
        self._prefix = f"{options.namespace}:answer:"
        self.tally = Tally()

    async def get(self, digest: bytes) -> bytes | None:
        if not self._options.answers:
            return None
        try:
            found = await self._link.call(lambda redis: redis.get(self._name(digest)))
        except Away:
            return None
        return found if isinstance(found, bytes) else None

    async def put(self, digest: bytes, payload: bytes) -> bool:
        """Whether the server has it now."""
        if not self._options.answers or len(payload) > self._options.max_bytes:
            return False
        ttl = max(1, round(self._options.ttl_s * 1000))
        try:
            await self._link.call(lambda redis: redis.set(self._name(digest), payload, px=ttl))
        except Away:
            return False
        return True

    async def delete(self, digest: bytes) -> None:
        try:
            await self._link.call(lambda redis: redis.unlink(self._name(digest)))
        except Away:
            return

    async def flush(self) -> int:
        """Deletes every instance's answers of this namespace; how many, before it went away."""
        deleted, cursor = 0, 0
        try:
            while True:
                cursor, count = await self._link.call(self._sweep(cursor))
                deleted += count
                if not cursor:
                    return deleted
        except Away:
            return deleted

    def stats(self) -> TierStats:
        """Without entries and bytes: the server holds what others put there too."""
        return self.tally.stats(Tier.SHARED, enabled=self._options.answers)

    def _name(self, digest: bytes) -> str:
        return self._prefix + digest.hex()

    def _sweep(self, cursor: int) -> Callable[[Redis], Awaitable[tuple[int, int]]]:
        async def work(redis: Redis) -> tuple[int, int]:
            pattern = _literal(self._prefix) + "*"
            after, names = await redis.scan(cursor, match=pattern, count=_SCAN)
            return int(after), await redis.unlink(*names) if names else 0

        return work


class RedisState:
    """:class:`anyclaude.caches.shared.state.SharedState` on the server.

    This process keeps its own copy of what it saw and counted, and goes on with that where the
    server is away.
    """

    def __init__(self, link: Link, wall: Callable[[], float], namespace: str = "anyclaude") -> None:
        self._link = link
        self._wall = wall
        self._namespace = namespace
        self._local = LocalState(wall)

    async def get(self, name: str) -> Versioned | None:
        try:
            raw, ttl_ms = await self._link.call(lambda redis: _read(redis, self._state(name)))
        except Away:
            return await self._local.get(name)
        held = _versioned(raw)
        if held is None:
            self._local.forget(name)
        else:
            self._local.note(name, held, max(0, ttl_ms) / 1000)
        return held

    async def put(self, name: str, value: str, *, seen: int, ttl_s: float) -> bool:
        async def work(redis: Redis) -> bool:
            return await _swap(redis, self._state(name), value, seen, ttl_s)

        try:
            done = await self._link.call(work)
        except Away:
            return await self._local.put(name, value, seen=seen, ttl_s=ttl_s)
        if done:
            self._local.note(name, Versioned(value, seen + 1), ttl_s)
        return done

    async def count(self, name: str, window_s: float, amount: int = 1) -> Window:
        """Windows begin by this machine's clock: those that share counts should agree on it."""
        local = await self._local.count(name, window_s, amount)
        number, share = window_at(self._wall(), window_s)
        this = f"{self._namespace}:count:{name}:{window_s:g}:{number}"
        last = f"{self._namespace}:count:{name}:{window_s:g}:{number - 1}"

        async def work(redis: Redis) -> list[object]:
            async with redis.pipeline(transaction=True) as pipe:
                pipe.incrby(this, amount)
                pipe.pexpire(this, round(window_s * 2000))
                pipe.get(last)
                return list(await pipe.execute())

        try:
            count, _, before = await self._link.call(work)
        except Away:
            return local
        return Window(_integer(count), _integer(before), share)

    def _state(self, name: str) -> str:
        return f"{self._namespace}:state:{name}"


async def _read(redis: Redis, key: str) -> tuple[object, int]:
    async with redis.pipeline(transaction=True) as pipe:
        pipe.get(key)
        pipe.pttl(key)
        raw, ttl_ms = await pipe.execute()
    return raw, int(ttl_ms)


async def _swap(redis: Redis, key: str, value: str, seen: int, ttl_s: float) -> bool:
    from redis.exceptions import WatchError

    async with redis.pipeline(transaction=True) as pipe:
        await pipe.watch(key)
        held = _versioned(await pipe.get(key))
        if (held.version if held else 0) != seen:
            return False
        pipe.multi()  # type: ignore[no-untyped-call]
        pipe.set(key, f"{seen + 1} {value}", px=max(1, round(ttl_s * 1000)))
        try:
            await pipe.execute()
        except WatchError:
            return False
    return True


def _versioned(raw: object) -> Versioned | None:
    """``None`` for what is no value of ours, too."""
    if not isinstance(raw, bytes):
        return None
    version, space, value = raw.decode("utf-8", "replace").partition(" ")
    return Versioned(value, int(version)) if space and version.isdecimal() else None


def _integer(raw: object) -> int:
    return int(raw) if isinstance(raw, (int, bytes)) else 0


def _literal(text: str) -> str:
    """The text for a Redis pattern, its own special characters taken as they are."""
    return "".join(f"\\{char}" if char in "*?[]\\^-" else char for char in text)
