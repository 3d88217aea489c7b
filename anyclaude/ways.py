"""Who may answer a request, as the keys of caches tell it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from anyclaude import __version__
from anyclaude.backend import Backend, RelayBackend, Remote
from anyclaude.caches.response.key import Served
from anyclaude.routing.values import Route

MAX_KNOWN = 256


@dataclass(frozen=True, slots=True)
class Way:
    """``relays``: one of those who may answer gets the request as the client sent it."""

    served: Served
    relays: bool


class Ways:
    """The ways to ``backends``; ``identities`` tell apart those whose answers differ for their
    settings alone."""

    def __init__(
        self, backends: Mapping[str, Backend | RelayBackend], identities: Mapping[str, str]
    ) -> None:
        self._backends = backends
        self._identities = identities
        self._relays = frozenset(n for n, b in backends.items() if isinstance(b, RelayBackend))
        # One in this process has one model, whatever name a request has for it.
        self._named = self._relays | {n for n, b in backends.items() if isinstance(b, Remote)}
        self._known: dict[tuple[Route, str, tuple[str, ...]], Way] = {}

    def of(self, route: Route, model: str) -> Way:
        """The targets of ``route`` for a request that asks for ``model``; fallbacks don't count."""
        names = [place.backend for place in route.targets if place.backend in self._backends]
        prints = tuple(
            cast(Backend, self._backends[name]).fingerprint
            for name in names
            if name not in self._relays
        )
        key = (route, model, prints)
        way = self._known.get(key)
        if way is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            way = self._known[key] = self._make(route, model, names, prints)
        return way

    def _make(self, route: Route, model: str, names: Sequence[str], prints: Sequence[str]) -> Way:
        places = [place for place in route.targets if place.backend in self._backends]
        models = [
            place.resolved(model).model if place.backend in self._named else "" for place in places
        ]
        served = Served(
            backend=json.dumps([route.match, *names]),
            model=json.dumps(models),
            identity=json.dumps([self._identities.get(name, "") for name in names]),
            fingerprint=json.dumps(prints),
            adapter=__version__,
        )
        return Way(served, not self._relays.isdisjoint(names))
