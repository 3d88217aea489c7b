"""Where requests go: the backends, the routes to them, and how an answer is begun.

A try isn't over until the backend has begun to answer in earnest, or has had its time for that:
what goes wrong until then can still be mended by another try, for nothing of it has left.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias, TypeVar, cast

from anyclaude.backend import (
    Backend,
    BackendRequest,
    Generation,
    RelayBackend,
    Relayed,
    RelayRequest,
    Remote,
)
from anyclaude.backends import faults
from anyclaude.backends.tap import Tap
from anyclaude.continuing import Continued, GoOn, going_on
from anyclaude.errors import ApiError, NotFound, Unavailable
from anyclaude.first_content import begun, until_content
from anyclaude.fitting import Refit, open_fitting
from anyclaude.routing.dispatch import Dispatcher, Handle, RoutingOptions
from anyclaude.routing.values import Asked, BackendTraits, Target
from anyclaude.told import Told
from anyclaude.ways import Way, Ways

GRACE_S = 3.0
"""How long a backend elsewhere may take to its first content before the client hears of it."""

AnyBackend: TypeAlias = Backend | RelayBackend
JobFor: TypeAlias = Callable[[Backend, str], Awaitable[BackendRequest]]
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
    """Who answers, why, after how many retries, and where its course is to be told.

    ``by_target`` is whether it is one of the route's targets, and no fallback; ``switched`` says
    whether another has gone on with the answer.
    """

    answer: Answering | Passing
    reason: str
    retries: int
    handle: Handle
    by_target: bool
    switched: Callable[[], bool] = lambda: False


class Gateway:
    """Every backend, behind its routes. ``grace_s`` as :data:`GRACE_S`.

    ``identities`` tell apart backends whose answers may differ for their settings alone.
    ``went_on`` is told a request's id and what happened when a backend goes on with another's
    answer; without it none does.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        backends: Mapping[str, AnyBackend],
        *,
        clock: Callable[[], float],
        grace_s: float = GRACE_S,
        identities: Mapping[str, str] = MappingProxyType({}),
        went_on: Callable[[str, str], None] | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self._backends = backends
        self._clock = clock
        self._grace = grace_s
        self._ways = Ways(backends, identities)
        self._went_on = went_on
        # Asked once: it takes a tenth of a millisecond, and every request wants to know.
        self._relays = {n: b for n, b in backends.items() if isinstance(b, RelayBackend)}
        self._remotes = {n: b for n, b in backends.items() if isinstance(b, Remote)}

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
        job_for: JobFor,
        raw: RelayRequest,
        refit: Refit | None = None,
    ) -> Opened:
        """Has one of the route's backends begin to answer.

        ``job_for`` makes the job for a backend and its name of the model, ``refit`` a shorter one
        for a backend that the prompt is too long for. Raises :class:`ApiError`: the truest of all
        tries.
        """

        async def attempt(target: Target) -> Answering | Passing:
            relay = self._relays.get(target.backend)
            if relay is not None:
                return await self._pass(relay, _renamed(raw, asked, target))
            backend = self._own(target.backend)
            job = await job_for(backend, target.model)
            job, generation = await open_fitting(backend, job, refit, self._begin)
            return Answering(backend, job, generation)

        dispatched = await self.dispatcher.run(asked, attempt)
        answer, handle = dispatched.value, dispatched.handle
        target, reason = dispatched.decision.target, dispatched.decision.reason
        switched: Callable[[], bool] = lambda: False  # noqa: E731
        if isinstance(answer, Answering):
            told: Generation = Told(answer.generation, handle)
            if self._went_on is not None and answer.generation.admission.estimated:
                told = continued = Continued(told, self._going_on(asked, job_for, target))
                switched = lambda: continued.switched  # noqa: E731
            answer = replace(answer, generation=told)
        places = dispatched.route.targets
        by_target = target in (place.resolved(asked.model) for place in places)
        return Opened(answer, reason, dispatched.retries, handle, by_target, switched)

    def _going_on(self, asked: Asked, job_for: JobFor, first: Target) -> GoOn:
        """Has a target of the route that hasn't failed yet go on with the answer."""
        failed = [first]

        async def go_on(text: str, error: ApiError) -> Generation:
            async def attempt(target: Target) -> Generation:
                place = target.backend
                if target in failed or place in self._relays or place not in self._remotes:
                    raise Unavailable(f"{target} can't go on with the answer")
                backend = self._own(place)
                return await backend.open(going_on(await job_for(backend, target.model), text))

            dispatched = await self.dispatcher.run(asked, attempt)
            target = dispatched.decision.target
            if self._went_on is not None:
                said = f"{failed[-1]} failed in the middle ({error}); {target} goes on"
                self._went_on(asked.id, said)
            failed.append(target)
            return Told(dispatched.value, dispatched.handle)

        return go_on

    async def again(self, asked: Asked, target: Target, job_for: JobFor) -> Answering:
        """Has the backend that answers the request answer another one for it.

        Nobody else can go on, so there is this one try. Raises as :meth:`open`.
        """
        backend = self._own(target.backend)

        async def attempt(target: Target) -> Answering:
            job = await job_for(backend, target.model)
            return Answering(backend, job, await self._begin(backend, job))

        answering, handle = await self.dispatcher.again(asked, target, attempt)
        return replace(answering, generation=Told(answering.generation, handle))

    def way(self, asked: Asked) -> Way | None:
        """Who may answer, for the keys of caches; ``None`` when no route takes the request."""
        try:
            route = self.dispatcher.route_of(asked)
        except NotFound:
            return None
        return self._ways.of(route, asked.model)

    async def count(
        self,
        asked: Asked,
        job_for: JobFor,
        raw: RelayRequest,
    ) -> tuple[str, str, int]:
        """The backend that counted, why it was asked, and the tokens. Raises as :meth:`open`."""

        async def attempt(target: Target) -> int:
            relay = self._relays.get(target.backend)
            if relay is None:
                backend = self._own(target.backend)
                return await backend.count(await job_for(backend, target.model))
            relayed = await relay.relay(_renamed(raw, asked, target))
            tap = Tap("application/json")
            try:
                async for chunk in relayed:
                    tap.feed(chunk)
            finally:
                await relayed.close()
            tap.finish()
            if not tap.ended:
                raise faults.garbage(relay.name, "no number of tokens")
            return tap.usage.input_tokens

        dispatched = await self.dispatcher.run(asked, attempt)
        dispatched.handle.finished()
        decision = dispatched.decision
        return decision.target.backend, decision.reason, dispatched.value

    # ------------------------------------------------------------------- the backends themselves

    async def probe(self, name: str) -> None:
        """Raises :class:`ApiError` unless the backend is there."""
        if (remote := self._remotes.get(name)) is not None:
            await remote.health()

    async def model_names(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What each backend elsewhere lists, by its name; one that doesn't answer lists nothing."""
        listed = await asyncio.gather(*map(_listed, self._remotes.values()))
        return tuple(zip(self._remotes, listed, strict=True))

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """The names of the backends that are reached over the network."""
        return tuple(self._remotes)

    async def close(self) -> None:
        """Closes every connection to a backend."""
        for remote in self._remotes.values():
            await remote.close()

    def _own(self, name: str) -> Backend:
        """The backend of that name, which is none that passes answers on."""
        return cast(Backend, self._backends[name])

    # ------------------------------------------------------------------------------- attempts

    async def _begin(self, backend: Backend, job: BackendRequest) -> Generation:
        generation = await backend.open(job)
        if generation.admission.estimated:
            generation = await begun(generation, self._grace)
        return generation

    async def _pass(self, backend: RelayBackend, raw: RelayRequest) -> Passing:
        relayed = await backend.relay(raw)
        named = dict(reversed(relayed.headers))
        tap = Tap(
            named.get("content-type", ""), named.get("content-encoding", ""), clock=self._clock
        )
        body = relayed.__aiter__()
        ahead: list[bytes] = []
        try:
            body = await until_content(body, tap, ahead, self._grace)
            if tap.error is not None and tap.first_content_at is None:
                raise faults.in_stream(backend.name, tap.error.payload)
            if tap.finished and tap.cut_off and tap.first_content_at is None:
                raise faults.cut_off(backend.name)
        except BaseException:
            await relayed.close()
            raise
        return Passing(backend, relayed, body, tuple(ahead), tap)


async def _listed(backend: Remote) -> tuple[str, ...]:
    try:
        return await backend.model_names()
    except ApiError:
        return ()


def _renamed(raw: RelayRequest, asked: Asked, target: Target) -> RelayRequest:
    return raw if target.model == asked.model else replace(raw, model=target.model)
