"""The connection to a Redis or Valkey server, and how it is left alone while it is away.

No call takes longer than the timeout. After a failure none is made until a ping in the background,
which no request waits for, has found the server there: the first at once, for it may have been this
process that was slow, the next ones after a while each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlsplit

from anyclaude.errors import ConfigError
from anyclaude.events import SystemEvent

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")

_PING_S = 2.0
"""Longer than a call may take: nobody waits for it."""


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """``url`` is redis://, rediss:// or unix://; times are seconds."""

    url: str
    timeout_s: float = 0.05
    away_s: float = 5.0

    @property
    def place(self) -> str:
        """The address without user, password or query: fit for a person and for the log."""
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return parts.path
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.hostname or ''}{port}{parts.path}"


class Away(Exception):
    """The server can't be asked just now."""


class Link:
    """One server. ``clock`` only has to go forward, ``wall`` is Unix time."""

    def __init__(
        self,
        options: LinkOptions,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        report: Callable[[SystemEvent], None],
        connect: Callable[[LinkOptions], Redis] | None = None,
    ) -> None:
        """Raises ConfigError when redis-py isn't installed or the URL can't be read."""
        self.options = options
        self._clock = clock
        self._wall = wall
        self._report = report
        self._redis = (connect or _connect)(options)
        self._away_until: float | None = None
        self._probe: asyncio.Task[None] | None = None
        self._told = False

    @property
    def is_away(self) -> bool:
        return self._away_until is not None

    async def start(self) -> None:
        """Finds out whether the server is there, so that no request has to."""
        self._away_until = self._clock()
        await self._look()

    async def call(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        """What ``work`` gets from the server; raises :class:`Away`, and nothing else of its own."""
        if self._away_until is not None:
            if self._clock() >= self._away_until and self._probe is None:
                self._begin_look()
            raise Away(self.options.place)
        try:
            async with asyncio.timeout(self.options.timeout_s):
                return await work(self._redis)
        except _failures() as error:
            if self._away_until is None:
                self._away_until = self._clock()
                self._begin_look()
            raise Away(self.options.place) from error

    async def settled(self) -> None:
        """Returns once no ping is under way."""
        if self._probe is not None:
            await asyncio.wait([self._probe])

    async def close(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.cancel()
            with suppress(asyncio.CancelledError):
                await probe
        with suppress(*_failures()):
            async with asyncio.timeout(_PING_S):
                await self._redis.aclose()

    # ------------------------------------------------------------------------------- inside

    def _begin_look(self) -> None:
        self._probe = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """One ping: is the server there? A person hears of every change, once."""
        place = self.options.place
        try:
            async with asyncio.timeout(_PING_S):
                await self._redis.get("anyclaude:ping")
        except _failures() as error:
            self._away_until = self._clock() + self.options.away_s
            if not self._told:
                why = str(error) or "no answer in time"
                self._say(
                    "warning",
                    f"the shared cache at {place} is away ({why}); this instance goes on by itself",
                )
            self._told = True
        else:
            self._away_until = None
            if self._told:
                self._say("info", f"the shared cache at {place} is back")
            self._told = False
        finally:
            self._probe = None

    def _say(self, level: Literal["info", "warning"], message: str) -> None:
        self._report(SystemEvent(self._wall(), level, "cache", message))


def _connect(options: LinkOptions) -> Redis:
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as error:
        raise ConfigError(
            "cache.redis_url needs redis-py: pip install 'anyclaude[shared]'"
        ) from error
    try:
        # One more try for a pooled connection that the server has closed; all within the timeout.
        return Redis.from_url(
            options.url,
            socket_timeout=options.timeout_s,
            socket_connect_timeout=options.timeout_s,
            retry=Retry(NoBackoff(), 1),
        )
    except ValueError as error:
        raise ConfigError(f"cache.redis_url can't be used: {error}") from error


def _failures() -> tuple[type[BaseException], ...]:
    from redis.exceptions import RedisError

    return (RedisError, OSError, TimeoutError)
