"""One request's targets in the order in which they are to be asked, and why in that order."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from anyclaude.routing.affinity import Affinity, Binding
from anyclaude.routing.retry import Fallbacks, Usable
from anyclaude.routing.routes import RouteTable, described
from anyclaude.routing.station import Out, Stations
from anyclaude.routing.strategies import Candidate, RoundRobin, Strategy, strategy_for
from anyclaude.routing.values import (
    Asked,
    Clock,
    Estimate,
    LeftOut,
    Route,
    Score,
    StrategyName,
    Target,
)

SHORT_REST = 10.0
"""Seconds that a session's target may rest without losing the session: its prefix is worth more
than that, so only the request goes elsewhere."""

Estimator: TypeAlias = Callable[[Asked, Target], Estimate | None]
"""What a backend on this machine knows of the request; ``None`` for all others."""

Need: TypeAlias = Literal["none", "soft", "fallback", "only"]
"""How hard it was to find somebody: candidates as wanted; only such as rest or are ill; none but
the fallbacks; or nobody at all, so that breakers let probes through."""


@dataclass(frozen=True, slots=True)
class Choice:
    """``order`` has the models' names filled in; ``places`` is it as the route lists them."""

    route: Route
    name: str
    order: tuple[Target, ...]
    places: dict[Target, Target]
    scores: tuple[Score, ...]
    left_out: tuple[LeftOut, ...]
    reason: str
    fallbacks: Fallbacks
    usable: Usable
    need: Need
    moves: bool
    """Whether the session is to stay where this request goes: it had no target, or lost it."""


class Chooser:
    """Routes, strategies and affinity together."""

    def __init__(
        self,
        table: RouteTable,
        stations: Stations,
        affinity: Affinity,
        rng: random.Random,
        clock: Clock,
        estimate: Estimator | None = None,
    ) -> None:
        self._table = table
        self._stations = stations
        self._affinity = affinity
        self._estimate = estimate
        self._strategies: dict[Route, Strategy] = {}
        self._make: Callable[[StrategyName], Strategy] = lambda name: strategy_for(name, rng, clock)

    def route_of(self, asked: Asked) -> Route:
        """The route that takes the request; raises NotFound when none does."""
        return self._table.find(asked)

    def choose(self, asked: Asked) -> Choice:
        """Raises NotFound when no route takes the request."""
        route = self._table.find(asked)
        name = described(route)
        places = {place.resolved(asked.model): place for place in reversed(route.targets)}
        targets = list(dict.fromkeys(place.resolved(asked.model) for place in route.targets))
        out = {t: o for t in targets if (o := self._stations.out(t, asked.tokens)) is not None}
        fallbacks = _fallbacks(route, asked.model)
        able, need = self._able(targets, out, fallbacks)
        candidates = [self._candidate(asked, route, places[t], t) for t in able]
        left_out = tuple(LeftOut(t, o.why) for t, o in out.items() if t not in able)
        binding = self._binding(asked, route, name)
        order, scores, reason = self._ordered(asked, route, candidates, binding, left_out)
        if need == "only":
            order = tuple(sorted(order, key=self._open_for))
            reason = "nobody else is left: tried though it fails"
        elif need == "soft":
            reason = f"{reason}; all of the route's targets are in trouble"
        staying = [*able, *(t for t, o in out.items() if o.seconds <= SHORT_REST)]
        moves = binding is None or all(places[t] != binding.target for t in staying)
        # Who was left out comes last: he may be back before it is his turn.
        rest = tuple(t for t in targets if t not in order and self._stations.get(t.backend))
        return Choice(
            route,
            name,
            (*order, *rest),
            places,
            scores,
            left_out,
            reason,
            fallbacks,
            self._usable(need, asked, places),
            need,
            moves and bool(asked.session) and route.affinity,
        )

    def bind(self, asked: Asked, choice: Choice, target: Target, why: str) -> None:
        """Remembers where the session is, unless it went to a fallback or there is no choice."""
        place = choice.places.get(target)
        if place is None or len(choice.places) == 1:
            return
        if asked.session and choice.route.affinity:
            self._affinity.bind(asked.session, choice.name, place, why)

    # --------------------------------------------------------------------------------- steps

    def _able(
        self,
        targets: Sequence[Target],
        out: Mapping[Target, Out],
        fallbacks: Fallbacks,
    ) -> tuple[list[Target], Need]:
        able = [t for t in targets if t not in out]
        if able:
            return able, "none"
        able = [t for t in targets if not out[t].hard]
        if able:
            return able, "soft"
        if any(self._free(t) for t in fallbacks.general):
            return [], "fallback"
        return [t for t in targets if self._stations.get(t.backend) is not None], "only"

    def _candidate(self, asked: Asked, route: Route, place: Target, target: Target) -> Candidate:
        station = self._stations[target.backend]
        estimate = None
        if self._estimate is not None and route.strategy == "cache-aware":
            estimate = self._estimate(asked, target)
        return Candidate(
            place,
            target,
            station.traits,
            self._stations.figures.of(target),
            station.queue.in_flight,
            station.queue.waiting,
            station.queue.wait_seconds(),
            estimate,
        )

    def _binding(self, asked: Asked, route: Route, name: str) -> Binding | None:
        if not asked.session or not route.affinity:
            return None
        return self._affinity.get(asked.session, name)

    def _ordered(
        self,
        asked: Asked,
        route: Route,
        candidates: Sequence[Candidate],
        binding: Binding | None,
        left_out: Sequence[LeftOut],
    ) -> tuple[tuple[Target, ...], tuple[Score, ...], str]:
        if not candidates:
            return (), (), "none of the route's targets may be asked"
        if len(candidates) == 1:
            only = candidates[0].target
            return (only,), (), "the only target" if not left_out else "the only one left"
        strategy = self._strategy(route)
        bound = next((c for c in candidates if binding and c.place == binding.target), None)
        if bound is not None and isinstance(strategy, RoundRobin):
            others = tuple(c.target for c in candidates if c is not bound)
            return (bound.target, *others), (), "its session is there"
        ranking = strategy.rank(asked, candidates)
        order = tuple(c.target for c in ranking.order)
        if bound is not None:
            others = tuple(t for t in order if t != bound.target)
            return (bound.target, *others), ranking.scores, "its session is there"
        reason = f"{route.strategy}: {ranking.reason}"
        if binding is not None:
            was = next((o.why for o in left_out if o.target.backend == binding.target.backend), "")
            reason = f"its session was at {binding.target}{f' ({was})' if was else ''}; {reason}"
        return order, ranking.scores, reason

    def _strategy(self, route: Route) -> Strategy:
        strategy = self._strategies.get(route)
        if strategy is None:
            strategy = self._strategies[route] = self._make(route.strategy)
        return strategy

    def _free(self, target: Target) -> bool:
        out = self._stations.out(target)
        return out is None or not out.hard

    def _open_for(self, target: Target) -> float:
        return self._stations[target.backend].breaker.open_for

    def _usable(self, need: Need, asked: Asked, places: Mapping[Target, Target]) -> Usable:
        def usable(target: Target, again: bool) -> bool:
            station = self._stations.get(target.backend)
            if station is None:
                return False
            if need == "only" and not again:
                return station.breaker.available(only=True)
            if again or (need == "soft" and target in places):
                return station.breaker.available()
            out = self._stations.out(target, asked.tokens)
            # There is nothing behind a fallback that it could be passed over for.
            return out is None or (target not in places and out.kind in ("ill", "resting"))

        return usable


def _fallbacks(route: Route, model: str) -> Fallbacks:
    general, context, overloaded = (
        tuple(dict.fromkeys(place.resolved(model) for place in listed))
        for listed in (route.fallback, route.fallback_context, route.fallback_overloaded)
    )
    return Fallbacks(general, context, overloaded)
