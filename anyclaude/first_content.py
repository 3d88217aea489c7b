"""Waiting for an answer's first content, for a while: what came until then is kept for whoever
goes on reading."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TypeVar

from anyclaude.backend import Admission, BackendEvent, Delta, Finish, Generation, Parsed
from anyclaude.backends.tap import Tap
from anyclaude.errors import ApiError

T = TypeVar("T")


class _Ahead:
    """A generation of which some events were taken already."""

    def __init__(
        self,
        generation: Generation,
        taken: list[BackendEvent],
        next_: asyncio.Future[BackendEvent | None] | None,
        source: AsyncIterator[BackendEvent],
    ) -> None:
        self._generation = generation
        self._taken = deque(taken)
        self._next = next_
        self._source = source

    @property
    def admission(self) -> Admission:
        return self._generation.admission

    async def __aiter__(self) -> AsyncIterator[BackendEvent]:
        while self._taken:
            yield self._taken.popleft()
        while True:
            if self._next is None:
                self._next = asyncio.ensure_future(_next(self._source))
            # Who stops waiting may come back for it: nothing that was sent is lost.
            event = await asyncio.shield(self._next)
            self._next = None
            if event is None:
                return
            yield event
            if isinstance(event, Finish):
                return

    async def cancel(self) -> None:
        await self._generation.cancel()
        await _dropped(self._next)


async def begun(generation: Generation, grace: float) -> Generation:
    """The generation once content is there, or after its time for that; raises its error."""
    source = generation.__aiter__()
    taken: list[BackendEvent] = []
    waiting = True

    async def look() -> BackendEvent | None:
        """Once nobody waits for it any more, the next event is its result."""
        while not any(isinstance(e, Delta | Parsed | Finish) for e in taken[-1:]):
            event = await _next(source)
            if event is None or not waiting:
                return event
            taken.append(event)
        return None

    looking = asyncio.ensure_future(look())
    try:
        if await _done_within(grace, looking):
            looking.result()
            return _Ahead(generation, taken, None, source)
    except BaseException:
        await generation.cancel()
        await _dropped(looking)
        raise
    waiting = False
    return _Ahead(generation, taken, looking, source)


async def until_content(
    body: AsyncIterator[bytes], tap: Tap, ahead: list[bytes], grace: float
) -> AsyncIterator[bytes]:
    """Takes chunks until the tap sees content, an error or the end; what is left of the body.

    Of a body that isn't a stream nothing is seen before its end.
    """
    waiting = True

    async def look() -> bytes | None:
        """Once nobody waits for it any more, the next chunk is its result."""
        while tap.first_content_at is None and tap.error is None and tap.readable:
            chunk = await _next(body)
            if not waiting:
                return chunk
            if chunk is None:
                tap.finish()
                break
            tap.feed(chunk)
            ahead.append(chunk)
        return None

    looking = asyncio.ensure_future(look())
    try:
        if await _done_within(grace, looking):
            looking.result()
            return body
    except BaseException:
        await _dropped(looking)
        raise
    waiting = False
    return _after(looking, body)


async def _after(
    first: asyncio.Future[bytes | None], body: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    try:
        chunk = await first
        while chunk is not None:
            yield chunk
            chunk = await _next(body)
    finally:
        await _dropped(first)


async def _done_within(seconds: float, work: asyncio.Future[T]) -> bool:
    done, _ = await asyncio.wait({work}, timeout=seconds)
    return bool(done)


async def _next(source: AsyncIterator[T]) -> T | None:
    return await anext(source, None)


async def _dropped(
    work: asyncio.Future[BackendEvent | None] | asyncio.Future[bytes | None] | None,
) -> None:
    """Ends a wait that nobody is interested in any more."""
    if work is None:
        return
    work.cancel()
    with suppress(asyncio.CancelledError, ApiError):
        await work
