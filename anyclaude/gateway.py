"""Where requests go: the backends, the routes to them, and how an answer is begun.

A try isn't over until the backend has begun to answer in earnest, or has had its time for that:
what goes wrong until then can still be mended by another try, for nothing of it has left.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from anyclaude.backend import (
    Admission,
    Backend,
    BackendEvent,
    BackendRequest,
    Delta,
    Finish,
    Generation,
    Parsed,
    RelayBackend,
    Relayed,
    RelayRequest,
    Remote,
)
from anyclaude.backends import faults
from anyclaude.backends.tap import Tap
from anyclaude.errors import ApiError
from anyclaude.routing.dispatch import Dispatched, Dispatcher, Handle, RoutingOptions
from anyclaude.routing.values import Asked, BackendTraits, Target

GRACE_S = 3.0
"""How long a backend elsewhere may take to its first content before the client hears of it."""

AnyBackend: TypeAlias = Backend | RelayBackend
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answering:
    """A generation that was opened, and the job that it answers."""

    backend: Backend
    job: BackendRequest
    generation: Generation


@dataclass(frozen=True, slots=True)
class Passing:
    """An answer that is passed on as it comes, with the first bytes of it already here."""

    backend: RelayBackend
    relayed: Relayed
    body: AsyncIterator[bytes]
    ahead: tuple[bytes, ...]
    tap: Tap


@dataclass(frozen=True, slots=True)
class Opened:
    """Who answers, why, after how many retries, and where its course is to be told."""

    answer: Answering | Passing
    reason: str
    retries: int
    handle: Handle


class Gateway:
    """Every backend, behind its routes. ``grace_s`` as :data:`GRACE_S`."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        backends: Mapping[str, AnyBackend],
        *,
        clock: Callable[[], float],
        grace_s: float = GRACE_S,
    ) -> None:
        self.dispatcher = dispatcher
        self._backends = backends
        self._clock = clock
        self._grace = grace_s

    @classmethod
    def of(cls, backend: Backend) -> Gateway:
        """One backend that answers whatever is asked."""
        dispatcher = Dispatcher(
            (),
            [BackendTraits(backend.name)],
            RoutingOptions(),
            clock=time.monotonic,
            rng=random.Random(),
            local=backend.name,
        )
        return cls(dispatcher, {backend.name: backend}, clock=time.monotonic)

    async def open(
        self,
        asked: Asked,
        job_for: Callable[[Backend, str], Awaitable[BackendRequest]],
        raw: RelayRequest,
    ) -> Opened:
        """Has one of the route's backends begin to answer.

        ``job_for`` makes the job for a backend and its name of the model. Raises
        :class:`ApiError`: the truest of all tries.
        """

        async def attempt(target: Target) -> Answering | Passing:
            backend = self._backends[target.backend]
            if isinstance(backend, RelayBackend):
                return await self._pass(backend, _renamed(raw, asked, target))
            job = await job_for(backend, target.model)
            generation = await backend.open(job)
            if generation.admission.estimated:
                generation = await _begun(generation, self._grace)
            return Answering(backend, job, generation)

        return self._opened(await self.dispatcher.run(asked, attempt))

    async def count(
        self,
        asked: Asked,
        job_for: Callable[[Backend, str], Awaitable[BackendRequest]],
        raw: RelayRequest,
    ) -> tuple[str, str, int]:
        """The backend that counted, why it was asked, and the tokens. Raises as :meth:`open`."""

        async def attempt(target: Target) -> int:
            backend = self._backends[target.backend]
            if not isinstance(backend, RelayBackend):
                return await backend.count(await job_for(backend, target.model))
            relayed = await backend.relay(_renamed(raw, asked, target))
            tap = Tap("application/json")
            try:
                async for chunk in relayed:
                    tap.feed(chunk)
            finally:
                await relayed.close()
            tap.finish()
            if not tap.ended:
                raise faults.garbage(backend.name, "no number of tokens")
            return tap.usage.input_tokens

        dispatched = await self.dispatcher.run(asked, attempt)
        dispatched.handle.finished()
        decision = dispatched.decision
        return decision.target.backend, decision.reason, dispatched.value

    # ------------------------------------------------------------------- the backends themselves

    async def probe(self, name: str) -> None:
        """Raises :class:`ApiError` unless the backend is there."""
        backend = self._backends[name]
        if isinstance(backend, Remote):
            await backend.health()

    async def model_names(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What each backend elsewhere lists, by its name; one that doesn't answer lists nothing."""
        remote = [(n, b) for n, b in self._backends.items() if isinstance(b, Remote)]
        listed = await asyncio.gather(*(_listed(backend) for _, backend in remote))
        return tuple((name, found) for (name, _), found in zip(remote, listed, strict=True))

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """The names of the backends that are reached over the network."""
        return tuple(n for n, backend in self._backends.items() if isinstance(backend, Remote))

    async def close(self) -> None:
        """Closes every connection to a backend."""
        for backend in self._backends.values():
            if isinstance(backend, Remote):
                await backend.close()

    # ------------------------------------------------------------------------------- attempts

    def _opened(self, dispatched: Dispatched[Answering | Passing]) -> Opened:
        answer, handle = dispatched.value, dispatched.handle
        if isinstance(answer, Answering):
            answer = replace(answer, generation=Told(answer.generation, handle))
        return Opened(answer, dispatched.decision.reason, dispatched.retries, handle)

    async def _pass(self, backend: RelayBackend, raw: RelayRequest) -> Passing:
        relayed = await backend.relay(raw)
        named = dict(reversed(relayed.headers))
        tap = Tap(
            named.get("content-type", ""), named.get("content-encoding", ""), clock=self._clock
        )
        body = relayed.__aiter__()
        ahead: list[bytes] = []
        try:
            body = await _until_content(body, tap, ahead, self._grace)
            if tap.error is not None and tap.first_content_at is None:
                raise faults.in_stream(backend.name, tap.error.payload)
            if tap.finished and tap.cut_off and tap.first_content_at is None:
                raise faults.cut_off(backend.name)
        except BaseException:
            await relayed.close()
            raise
        return Passing(backend, relayed, body, tuple(ahead), tap)


class Told:
    """A generation whose course is told to the routing."""

    def __init__(self, generation: Generation, handle: Handle) -> None:
        self._generation = generation
        self._handle = handle

    @property
    def admission(self) -> Admission:
        return self._generation.admission

    async def __aiter__(self) -> AsyncIterator[BackendEvent]:
        handle, usage = self._handle, self.admission.usage
        try:
            async for event in self._generation:
                match event:
                    case Delta() | Parsed():
                        handle.first_content(usage.prompt_tokens - usage.cache_read_tokens)
                    case Finish():
                        handle.finished(event.usage.prompt_tokens, event.usage.output_tokens)
                yield event
        except ApiError as error:
            handle.failed(error)
            raise

    async def cancel(self) -> None:
        self._handle.client_gone()
        await self._generation.cancel()


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


async def _begun(generation: Generation, grace: float) -> Generation:
    """The generation once content is there, or after its time for that; raises its error."""
    source = generation.__aiter__()
    taken: list[BackendEvent] = []
    next_: asyncio.Future[BackendEvent | None] | None = None
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while not any(isinstance(e, Delta | Parsed | Finish) for e in taken[-1:]):
                    next_ = asyncio.ensure_future(_next(source))
                    event = await asyncio.shield(next_)
                    next_ = None
                    if event is None:
                        break
                    taken.append(event)
    except BaseException:
        await generation.cancel()
        await _dropped(next_)
        raise
    return _Ahead(generation, taken, next_, source)


async def _until_content(
    body: AsyncIterator[bytes], tap: Tap, ahead: list[bytes], grace: float
) -> AsyncIterator[bytes]:
    """Takes chunks until the tap sees content, an error or the end; what is left of the body.

    Of a body that isn't a stream nothing is seen before its end.
    """
    next_: asyncio.Future[bytes | None] | None = None
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while tap.first_content_at is None and tap.error is None and tap.readable:
                    next_ = asyncio.ensure_future(_next(body))
                    chunk = await asyncio.shield(next_)
                    next_ = None
                    if chunk is None:
                        tap.finish()
                        break
                    tap.feed(chunk)
                    ahead.append(chunk)
    except BaseException:
        await _dropped(next_)
        raise
    return body if next_ is None else _after(next_, body)


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


async def _listed(backend: Remote) -> tuple[str, ...]:
    try:
        return await backend.model_names()
    except ApiError:
        return ()


def _renamed(raw: RelayRequest, asked: Asked, target: Target) -> RelayRequest:
    return raw if target.model == asked.model else replace(raw, model=target.model)
