"""A request's way through routing: who is asked, who next, and what is learnt of it.

Generic over what an attempt gives. An attempt must not return before the backend has begun to
answer in earnest, as far as its protocol allows: what it raises can still be mended elsewhere,
what happens after it has returned belongs to the client.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from anyclaude.errors import ApiError, NotFound, Unavailable
from anyclaude.routing.affinity import SESSIONS, TTL, Affinity
from anyclaude.routing.breaker import Breaker, BreakerOptions, Permit, Transition
from anyclaude.routing.choice import Choice, Chooser, Estimator
from anyclaude.routing.cooldown import Cooldowns, Rest
from anyclaude.routing.faults import counts
from anyclaude.routing.figures import HALF_LIFE, FiguresBook
from anyclaude.routing.health import Health, Sleep
from anyclaude.routing.queue import Slot, rank_of
from anyclaude.routing.retry import GiveUp, Plan, RetryOptions
from anyclaude.routing.routes import RouteTable
from anyclaude.routing.station import BackendView, Station, Stations
from anyclaude.routing.values import Asked, BackendTraits, Clock, Decision, Route, Target
from anyclaude.routing.values import Slot as ClientSlot

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RoutingOptions:
    """Times in seconds; ``sessions`` are remembered for ``session_ttl_s``."""

    breaker: BreakerOptions = field(default_factory=BreakerOptions)
    retry: RetryOptions = field(default_factory=RetryOptions)
    cooldown_s: float = 5.0
    half_life_s: float = HALF_LIFE
    sessions: int = SESSIONS
    session_ttl_s: float = TTL


@dataclass(frozen=True, slots=True)
class Tried:
    """A try that came to nothing. Without ``sent`` the target refused it before it was asked."""

    target: Target
    status: int
    message: str
    seconds: float
    sent: bool


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No target answered: the error that the client gets, and why nothing else was tried."""

    request_id: str
    route: str
    status: int
    message: str
    why: str
    retries: int
    tried: tuple[Tried, ...]


RoutingEvent: TypeAlias = Decision | Transition | Rest | GaveUp


class Handle:
    """What becomes of an answer after the attempt. One of the ends has to be called, once.

    Until then it takes one of the backend's places; ends after the first are ignored.
    """

    def __init__(
        self,
        target: Target,
        station: Station,
        stations: Stations,
        permit: Permit,
        slot: Slot,
        asked: Asked,
        clock: Clock,
    ) -> None:
        self.target = target
        self.queued = slot.waited
        self._station = station
        self._cooldowns = stations.cooldowns
        self._figures = stations.figures.of(target)
        self._permit = permit
        self._slot = slot
        self._asked = asked
        self._clock = clock
        self._began = clock()
        self._first_at: float | None = None
        self._over = False
        self._figures.began(self._began, slot.waited)

    def first_content(self, new_tokens: int | None = None, seconds: float | None = None) -> None:
        """Content came. ``new_tokens`` were read for it, else the prompt's estimate is taken.

        ``seconds`` are counted from the attempt's beginning unless given.
        """
        if self._over or self._first_at is not None:
            return
        now = self._clock()
        self._first_at = now
        took = now - self._began if seconds is None else seconds
        tokens = self._asked.tokens if new_tokens is None else new_tokens
        self._figures.first_content(now, took, tokens)
        self._station.health.answered()
        self._permit.first_content(took)

    def finished(self, prompt_tokens: int = 0, output_tokens: int = 0) -> None:
        """The answer came to its end, with all tokens of its prompt and its own."""
        if not self._end():
            return
        now = self._clock()
        decode = now - self._first_at if self._first_at is not None else None
        tokens = prompt_tokens + output_tokens
        self._figures.finished(now, tokens, output_tokens, now - self._began, decode)
        self._station.health.answered()
        self._permit.success()

    def failed(self, error: ApiError, *, rest: bool = False) -> None:
        """It failed, through whoever's fault; ``rest`` has the target rest if it should."""
        if not self._end():
            return
        if counts(error):
            now = self._clock()
            self._figures.failed(now, now - self._began, error)
            self._station.health.failed(error)
            if rest:
                self._cooldowns.note(self.target, error, self._figures)
        self._permit.failure(error)

    def client_gone(self) -> None:
        """Nobody listens any more, which says nothing of the backend."""
        if self._end():
            self._permit.neutral()

    def _end(self) -> bool:
        if self._over:
            return False
        self._over = True
        self._figures.ended()
        self._slot.release()
        return True


@dataclass(frozen=True, slots=True)
class Dispatched(Generic[T]):
    """An attempt's value, who gave it and why, the tries before it, and where to report."""

    value: T
    route: Route
    decision: Decision
    retries: int
    tried: tuple[Tried, ...]
    handle: Handle


class Dispatcher:
    """Belongs to one event loop."""

    def __init__(
        self,
        routes: Sequence[Route],
        backends: Sequence[BackendTraits],
        options: RoutingOptions,
        *,
        clock: Clock,
        rng: random.Random,
        sleep: Sleep = asyncio.sleep,
        publish: Callable[[RoutingEvent], None] = lambda event: None,
        estimate: Estimator | None = None,
        local: str | None = None,
        small: Target | None = None,
    ) -> None:
        self._options = options
        self._clock = clock
        self._rng = rng
        self._sleep = sleep
        self._publish = publish
        figures = FiguresBook(clock, half_life=options.half_life_s)
        cooldowns = Cooldowns(clock, options.cooldown_s, publish)
        self._stations = Stations(backends, options.breaker, figures, cooldowns, clock, publish)
        self._affinity = Affinity(clock, limit=options.sessions, ttl=options.session_ttl_s)
        self._table = RouteTable(routes, local=local, small=small)
        self._chooser = Chooser(self._table, self._stations, self._affinity, rng, clock, estimate)

    # ------------------------------------------------------------------------- one request

    async def run(self, asked: Asked, attempt: Callable[[Target], Awaitable[T]]) -> Dispatched[T]:
        """Has a target answer; ``attempt`` is given it with its model's name.

        Raises the truest :class:`ApiError` of those that came when nobody could, NotFound
        without a route, Unavailable when nobody could be asked at all.
        """
        choice = self._chooser.choose(asked)
        plan = Plan(self._options.retry, choice.order, choice.fallbacks, self._rng, choice.usable)
        target = plan.first()
        if target is None:
            raise self._nobody(choice)
        if choice.moves:
            self._chooser.bind(asked, choice, target, choice.reason)
        reason = choice.reason if target in choice.order else "fallback, since nobody else can"
        tried: list[Tried] = []
        while True:
            outcome = await self._try(
                asked,
                target,
                attempt,
                only=choice.need == "only",
                rest=len(choice.order) > 1,
                sent=plan.sent,
            )
            if not isinstance(outcome, _Failed):
                value, handle = outcome
                break
            error, sent = outcome.error, outcome.sent
            tried.append(Tried(target, error.status, error.message, outcome.seconds, sent))
            step = plan.after(target, error, self._clock(), sent=sent)
            if isinstance(step, GiveUp):
                self._gave_up(asked, choice, plan, step, tried)
                raise step.error
            if step.wait > 0:
                await self._sleep(step.wait)
            target, reason = step.target, step.why
        if tried and choice.moves:
            self._chooser.bind(asked, choice, target, reason)
        decision = Decision(asked.id, choice.name, target, reason, choice.scores, choice.left_out)
        self._publish(decision)
        return Dispatched(value, choice.route, decision, plan.retries, tuple(tried), handle)

    async def again(
        self, asked: Asked, target: Target, attempt: Callable[[Target], Awaitable[T]]
    ) -> tuple[T, Handle]:
        """One try at a target that has answered the request so far: it is the only one that can
        go on. Raises what comes of it."""
        outcome = await self._try(asked, target, attempt, only=True, rest=False)
        if isinstance(outcome, _Failed):
            raise outcome.error
        return outcome

    async def _try(
        self,
        asked: Asked,
        target: Target,
        attempt: Callable[[Target], Awaitable[T]],
        *,
        only: bool,
        rest: bool,
        sent: Callable[[float], None] = lambda now: None,
    ) -> tuple[T, Handle] | _Failed:
        """``sent`` is told when the target is asked; ``rest`` has it rest if it fails so."""
        station, began = self._stations[target.backend], self._clock()
        try:
            slot = await station.queue.acquire(rank_of(asked.role))
        except ApiError as error:
            return _Failed(error, False, self._clock() - began)
        # The breaker is asked when the turn has come: it may have opened meanwhile.
        permit = station.breaker.allow(only=only)
        if permit is None:
            slot.release()
            return _Failed(station.breaker.refusal(only=only), False, self._clock() - began)
        handle = Handle(target, station, self._stations, permit, slot, asked, self._clock)
        sent(self._clock())
        try:
            return await attempt(target), handle
        except ApiError as error:
            handle.failed(error, rest=rest)
            return _Failed(error, True, self._clock() - began)
        except BaseException:
            handle.client_gone()
            raise

    def _gave_up(
        self, asked: Asked, choice: Choice, plan: Plan, step: GiveUp, tried: Sequence[Tried]
    ) -> None:
        error = step.error
        self._publish(
            GaveUp(
                asked.id,
                choice.name,
                error.status,
                error.message,
                step.why,
                plan.retries,
                tuple(tried),
            )
        )

    def _nobody(self, choice: Choice) -> ApiError:
        """The error when not even a first try is possible."""
        stations = [s for t in choice.order if (s := self._stations.get(t.backend)) is not None]
        if stations:
            return stations[0].breaker.refusal(only=True)
        names = ", ".join(dict.fromkeys(t.backend for t in choice.places)) or "nothing"
        return Unavailable(
            f"the route {choice.name} leads to {names}, which isn't there",
            context={"retry": False},
        )

    # ------------------------------------------------------------------- looking and steering

    def route_of(self, asked: Asked) -> Route:
        """The route that takes the request; raises NotFound when none does."""
        return self._chooser.route_of(asked)

    @property
    def slots(self) -> Mapping[ClientSlot, Target]:
        """The client's slots that were given to a target by hand."""
        return self._table.by_hand

    def send(self, slot: ClientSlot, target: Target | None) -> None:
        """Has a slot's requests go to ``target`` from now on, ``None``: where the routes say.

        Raises NotFound for a backend that no route leads to.
        """
        if target is not None:
            self._station(target.backend)
        self._table.send(slot, target)

    def snapshot(self) -> tuple[BackendView, ...]:
        """Every backend's state, in the order of the configuration."""
        return tuple(self._stations.view(name) for name in self._stations.names)

    def reset(self, backend: str) -> None:
        """Closes a backend's breaker and wakes its targets. Raises NotFound."""
        self._station(backend).breaker.reset()
        self._stations.cooldowns.clear(backend)

    def trip(self, backend: str, seconds: float | None = None) -> None:
        """Opens a backend's breaker by hand (``math.inf``: until reset). Raises NotFound."""
        self._station(backend).breaker.trip(seconds=seconds)

    def rest(self, target: Target, seconds: float) -> None:
        """Has a target passed over, as another instance found out; this isn't published."""
        self._stations.cooldowns.rest(target, seconds)

    def forget_sessions(self, backend: str) -> int:
        """Frees sessions from a backend that lost its caches; says how many."""
        return self._affinity.forget(backend)

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        return {name: self._stations[name].breaker for name in self._stations.names}

    @property
    def healths(self) -> Mapping[str, Health]:
        return {name: self._stations[name].health for name in self._stations.names}

    def _station(self, backend: str) -> Station:
        station = self._stations.get(backend)
        if station is None:
            known = ", ".join(self._stations.names) or "none"
            raise NotFound(f"there is no backend {backend!r}; there are: {known}")
        return station


@dataclass(frozen=True, slots=True)
class _Failed:
    error: ApiError
    sent: bool
    seconds: float
