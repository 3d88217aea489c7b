"""Model names and client slots to routes: the first one that takes a request has it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import translate

from anyclaude.errors import ConfigError, InvalidRequest, NotFound
from anyclaude.routing.values import SLOTS, Asked, Conditions, Route, Slot, Target, family_of
from anyclaude.types import Role

SLOT_PREFIX = "slot:"
SMALL = "model.small"
"""How the route of small calls is named: by the key that it comes from."""
SMALL_ROLES = frozenset({Role.TITLE})
"""Calls that a small model does as well. No probe: it asks for the very model that it names."""
_LONG_WINDOW = "[1m]"
"""Claude Code's mark for the long window of a model; in a pattern it would be a class."""


def parse_target(text: str) -> Target:
    """``NAME/model`` or ``NAME``; a model's name may have slashes of its own.

    Raises :class:`ConfigError`.
    """
    backend, slash, model = (part.strip() for part in text.partition("/"))
    if not backend or (slash and not model):
        raise ConfigError(f"{text!r} is no target: expected NAME/model, or NAME of a backend")
    return Target(backend, model)


def default_routes(local: str) -> tuple[Route, ...]:
    """Without any routes in the configuration every model name goes to the local engine."""
    return (Route("*", (Target(local),)),)


class RouteTable:
    """The routes in their order, after what slots were given by hand.

    Small calls go to ``small``, unless their route is one for their role, and along that route
    when it can't answer.
    """

    def __init__(
        self, routes: Sequence[Route], *, local: str | None = None, small: Target | None = None
    ) -> None:
        self.routes: tuple[Route, ...] = tuple(routes)
        if not self.routes and local is not None:
            self.routes = default_routes(local)
        self._small = {} if small is None else {r: small_route(r, small) for r in self.routes}
        self._by_hand: dict[Slot, Route] = {}

    @property
    def by_hand(self) -> Mapping[Slot, Target]:
        """Where slots go whatever the routes say."""
        return {slot: route.targets[0] for slot, route in self._by_hand.items()}

    def send(self, slot: Slot, target: Target | None) -> None:
        """Has a slot's requests go there; ``None``: where the routes say again."""
        if target is None:
            self._by_hand.pop(slot, None)
        else:
            self._by_hand[slot] = Route(f"{SLOT_PREFIX}{slot}", (target,))

    def find(self, asked: Asked) -> Route:
        """The first route that takes the request.

        Raises :class:`NotFound`, which says what would have been taken.
        """
        for slot in (asked.slot, family_of(asked.model)):
            if slot in self._by_hand:
                return self._by_hand[slot]
        for route in self.routes:
            if takes(route, asked):
                return self._small.get(route, route) if asked.role in SMALL_ROLES else route
        known = "; ".join(dict.fromkeys(described(route) for route in self.routes))
        named = f" (slot {asked.slot})" if asked.slot else ""
        raise NotFound(
            f"no route takes the model {asked.model!r}{named}, role {asked.role.value}, about"
            f" {asked.tokens} tokens; there are routes for {known or 'nothing'}"
        )


def small_route(route: Route, small: Target) -> Route:
    """The way of small calls that ``route`` takes; itself where it is meant for them."""
    roles = route.conditions.roles
    if small in route.targets or any(role.value in roles for role in SMALL_ROLES):
        return route

    def others(*places: Target) -> tuple[Target, ...]:
        return tuple(place for place in places if place != small)

    return replace(
        route,
        match=SMALL,
        targets=(small,),
        fallback=others(*route.targets, *route.fallback),
        fallback_context=others(*route.targets, *route.fallback_context),
        fallback_overloaded=others(*route.fallback_overloaded),
        conditions=Conditions(),
    )


def takes(route: Route, asked: Asked) -> bool:
    """Whether name, slot and conditions all fit."""
    return matches(route.match, asked) and _holds(route.conditions, asked)


def matches(pattern: str, asked: Asked) -> bool:
    """Whether a route's pattern takes the model's name, or the slot that it speaks of.

    A subagent on an opus model is in both slots, so that a route for opus alone has it too.
    """
    pattern = pattern.strip().lower()
    if pattern.startswith(SLOT_PREFIX):
        slot = pattern.removeprefix(SLOT_PREFIX).strip()
        return bool(slot) and slot in (asked.slot, family_of(asked.model))
    name = asked.model.lower()
    return (
        pattern == name
        or _glob(pattern, name)
        or (name.endswith(_LONG_WINDOW) and _glob(pattern, name.removesuffix(_LONG_WINDOW)))
    )


def slot_named(name: str) -> Slot:
    """Raises :class:`InvalidRequest` for what is no slot of the client's."""
    found = next((slot for slot in SLOTS if slot == name), None)
    if found is None:
        raise InvalidRequest(f"there is no {name!r}; there are {', '.join(SLOTS)}", field="slot")
    return found


def described(route: Route) -> str:
    """The match and its conditions in a few words."""
    asks = route.conditions
    parts = [
        *([f"role {' or '.join(asks.roles)}"] if asks.roles else []),
        *(f"header {name}" for name, _ in asks.headers),
        *([f"at least {asks.min_tokens} tokens"] if asks.min_tokens else []),
        *([f"at most {asks.max_tokens} tokens"] if asks.max_tokens else []),
        *([f"tool {' or '.join(asks.tools)}"] if asks.tools else []),
    ]
    return f"{route.match} ({', '.join(parts)})" if parts else route.match


def _holds(asks: Conditions, asked: Asked) -> bool:
    tokens = asked.tokens
    return (
        (not asks.roles or asked.role.value in asks.roles)
        and tokens >= asks.min_tokens
        and (not asks.max_tokens or tokens <= asks.max_tokens)
        and (not asks.tools or any(_glob(t, name) for t in asks.tools for name in asked.tools))
        and all(_has_header(asked, name, value) for name, value in asks.headers)
    )


def _has_header(asked: Asked, name: str, pattern: str) -> bool:
    wanted = name.lower()
    return any(n.lower() == wanted and _glob(pattern, value) for n, value in asked.headers)


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern), re.IGNORECASE)


def _glob(pattern: str, text: str) -> bool:
    return _compiled(pattern).match(text) is not None
