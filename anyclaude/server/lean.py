"""Quart without what it looks up anew for each request and what is always the same here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from quart import Quart, Request
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.routing import MapAdapter, Rule


class _Request(Request):
    @property
    def blueprints(self) -> list[str]:
        return []


class LeanQuart(Quart):
    """Every function given to it is a coroutine function, and there are no blueprints.

    Call :meth:`settle` after the last route.
    """

    request_class = _Request

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._fixed: dict[tuple[str, str], _Fixed] = {}

    def settle(self) -> None:
        """All routes are there: those without variables are found by their path alone."""
        self._fixed = {
            (method, rule.rule): _Fixed(rule)
            for rule in self.url_map.iter_rules()
            if not rule.arguments
            for method in rule.methods or ()
        }

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        found = self._fixed.get((request.method, request.path)) if request is not None else None
        return super().create_url_adapter(request) if found is None else cast(MapAdapter, found)

    def ensure_async(self, func: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        return func


class _Fixed:
    """A MapAdapter, as far as it is asked for the route of its request."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def match(self, *, return_rule: bool) -> tuple[Rule, dict[str, Any]]:
        return self._rule, {}
