"""Model names and client slots to routes: the first one that takes a request has it."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from fnmatch import translate

from anyclaude.errors import ConfigError, NotFound
from anyclaude.routing.values import Asked, Conditions, Route, Target, family_of

SLOT_PREFIX = "slot:"
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
    """The routes in their order."""

    def __init__(self, routes: Sequence[Route], *, local: str | None = None) -> None:
        self.routes: tuple[Route, ...] = tuple(routes)
        if not self.routes and local is not None:
            self.routes = default_routes(local)

    def find(self, asked: Asked) -> Route:
        """The first route that takes the request.

        Raises :class:`NotFound`, which says what would have been taken.
        """
        for route in self.routes:
            if takes(route, asked):
                return route
        known = "; ".join(dict.fromkeys(described(route) for route in self.routes))
        slot = f" (slot {asked.slot})" if asked.slot else ""
        raise NotFound(
            f"no route takes the model {asked.model!r}{slot}, role {asked.role.value}, about"
            f" {asked.tokens} tokens; there are routes for {known or 'nothing'}"
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
