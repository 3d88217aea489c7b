"""Ending what waits when the server stops.

Hypercorn can't end a response that is under way, so every wait of ours that may be long is
inside :meth:`Stopping.guard`, and shutdown turns it into an error that the client gets to see.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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

    @asynccontextmanager
    async def guard(self) -> AsyncIterator[None]:
        """Raises Unavailable in place of waiting on once :meth:`stop` was called."""
        scope = asyncio.timeout(0 if self.stopped else None)
        try:
            async with scope:
                self._scopes.add(scope)
                try:
                    yield
                finally:
                    self._scopes.discard(scope)
        except TimeoutError:
            if scope.expired():
                raise Unavailable("anyclaude is stopping", retry_after=RETRY_AFTER_S) from None
            raise
