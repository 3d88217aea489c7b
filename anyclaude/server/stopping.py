"""Ending what waits when the server stops.

Hypercorn can't end a response that is under way, so every wait of ours that may be long is
inside :meth:`Stopping.guard`, and shutdown turns it into an error that the client gets to see.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from anyclaude.errors import Unavailable

RETRY_AFTER_S = 5.0


class Stopping:
    """Knows the waits that are open now."""

    def __init__(self) -> None:
        self.stopped = False
        self._scopes: set[asyncio.Timeout] = set()

    def stop(self) -> None:
        """Ends every guarded wait, and each later one as soon as it would suspend."""
        self.stopped = True
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)

    def guard(self) -> Guarded:
        """Raises Unavailable in place of waiting on once :meth:`stop` was called."""
        return Guarded(self._scopes, asyncio.timeout(0 if self.stopped else None))


class Guarded:
    """The inside of :meth:`Stopping.guard`, entered once for every piece of a stream."""

    __slots__ = ("_scope", "_scopes")

    def __init__(self, scopes: set[asyncio.Timeout], scope: asyncio.Timeout) -> None:
        self._scopes = scopes
        self._scope = scope

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()
        self._scopes.add(self._scope)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._scopes.discard(self._scope)
        try:
            await self._scope.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise Unavailable("anyclaude is stopping", retry_after=RETRY_AFTER_S) from None
