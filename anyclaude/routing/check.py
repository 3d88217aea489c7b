"""What is wrong with routes, before a request finds out."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from anyclaude.routing.routes import SLOT_PREFIX, described
from anyclaude.routing.values import SLOTS, STRATEGIES, Conditions, Route, Target
from anyclaude.types import Role


@dataclass(frozen=True, slots=True)
class RouteProblem:
    """``path`` is the key in the configuration, ``routes[0].targets[1]``."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def check(routes: Sequence[Route], backend_names: Collection[str]) -> tuple[RouteProblem, ...]:
    """Every problem, in the order of the routes."""
    found: list[RouteProblem] = []
    for index, route in enumerate(routes):
        path = f"routes[{index}]"
        found += _pattern(path, route)
        found += _targets(path, route, backend_names)
        found += _loops(path, route)
        found += _conditions(path, route.conditions)
        found += _reachable(path, route, routes[:index])
    return tuple(found)


def _pattern(path: str, route: Route) -> Iterator[RouteProblem]:
    pattern = route.match.strip().lower()
    if not pattern:
        yield RouteProblem(f"{path}.match", "is empty: expected a pattern, or * for every name")
    slot = pattern.removeprefix(SLOT_PREFIX).strip()
    if pattern.startswith(SLOT_PREFIX) and slot not in SLOTS:
        known = ", ".join(f"{SLOT_PREFIX}{name}" for name in SLOTS)
        yield RouteProblem(f"{path}.match", f"{route.match!r} is no slot: expected {known}")
    if route.strategy not in STRATEGIES:
        yield RouteProblem(
            f"{path}.strategy", f"{route.strategy!r}: expected one of {', '.join(STRATEGIES)}"
        )


def _targets(path: str, route: Route, backend_names: Collection[str]) -> Iterator[RouteProblem]:
    if not route.targets:
        yield RouteProblem(f"{path}.targets", "is empty: the route would refuse what it takes")
    for key, targets in _lists(route):
        for index, target in enumerate(targets):
            where = f"{path}.{key}[{index}]"
            if target.backend not in backend_names:
                yield RouteProblem(where, _unknown(target, backend_names))
            if target in targets[:index]:
                yield RouteProblem(where, f"{target} is listed twice")


def _loops(path: str, route: Route) -> Iterator[RouteProblem]:
    for key, targets in _lists(route)[1:]:
        for index, target in enumerate(targets):
            if target in route.targets:
                yield RouteProblem(
                    f"{path}.{key}[{index}]",
                    f"{target} is a target of the route itself, which would fall back on"
                    " what has just failed",
                )


def _conditions(path: str, asks: Conditions) -> Iterator[RouteProblem]:
    roles = [role.value for role in Role]
    for index, role in enumerate(asks.roles):
        if role not in roles:
            yield RouteProblem(
                f"{path}.roles[{index}]", f"{role!r}: expected one of {', '.join(roles)}"
            )
    for key, value in (("min_tokens", asks.min_tokens), ("max_tokens", asks.max_tokens)):
        if value < 0:
            yield RouteProblem(f"{path}.{key}", f"{value} is negative: expected 0 for no bound")
    if 0 < asks.max_tokens < asks.min_tokens:
        yield RouteProblem(
            f"{path}.max_tokens",
            f"{asks.max_tokens} is below min_tokens {asks.min_tokens}: no request fits",
        )


def _reachable(path: str, route: Route, before: Sequence[Route]) -> Iterator[RouteProblem]:
    for index, earlier in enumerate(before):
        if _covers(earlier.match, route.match) and _asks_less(earlier.conditions, route.conditions):
            same = earlier.match.lower() == route.match.lower()
            yield RouteProblem(
                f"{path}.match",
                f"{described(route)} is never reached: routes[{index}], {described(earlier)},"
                f" {'is the same' if same else 'takes all of it first'}",
            )
            return


def _covers(wide: str, narrow: str) -> bool:
    """Whether every name that ``narrow`` takes is taken by ``wide`` too, as far as is certain."""
    wide, narrow = wide.strip().lower(), narrow.strip().lower()
    if wide in ("*", narrow):
        return True
    if SLOT_PREFIX in (wide[: len(SLOT_PREFIX)], narrow[: len(SLOT_PREFIX)]):
        return False
    # Only stars may stand for a star: read as text, one pattern then shows what the other takes.
    return not set(wide) & set("?[") and "[" not in narrow and fnmatchcase(narrow, wide)


def _asks_less(wide: Conditions, narrow: Conditions) -> bool:
    return (
        (not wide.roles or (bool(narrow.roles) and set(narrow.roles) <= set(wide.roles)))
        and (not wide.tools or (bool(narrow.tools) and set(narrow.tools) <= set(wide.tools)))
        and set(wide.headers) <= set(narrow.headers)
        and wide.min_tokens <= narrow.min_tokens
        and (not wide.max_tokens or 0 < narrow.max_tokens <= wide.max_tokens)
    )


def _lists(route: Route) -> tuple[tuple[str, tuple[Target, ...]], ...]:
    return (
        ("targets", route.targets),
        ("fallback", route.fallback),
        ("fallback_context", route.fallback_context),
        ("fallback_overloaded", route.fallback_overloaded),
    )


def _unknown(target: Target, names: Collection[str]) -> str:
    close = difflib.get_close_matches(target.backend, names, 1)
    if close:
        return f"there is no backend {target.backend!r}; did you mean {close[0]!r}?"
    known = ", ".join(sorted(names)) or "none"
    return f"there is no backend {target.backend!r}; configured: {known}"
