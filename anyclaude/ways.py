"""Who may answer a request, as the keys of caches tell it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from anyclaude import __version__
from anyclaude.backend import Backend, RelayBackend, Remote
from anyclaude.caches.response.key import Served
from anyclaude.routing.values import Route


@dataclass(frozen=True, slots=True)
class Way:
    """``relays``: one of those who may answer gets the request as the client sent it."""

    served: Served
    relays: bool


def way_of(
    route: Route,
    model: str,
    backends: Mapping[str, Backend | RelayBackend],
    identities: Mapping[str, str],
) -> Way:
    """The targets of ``route`` for a request that asks for ``model``; fallbacks don't count.

    ``identities`` tell apart backends whose answers differ for their settings alone.
    """
    places = [place for place in route.targets if place.backend in backends]
    names = [place.backend for place in places]
    found = [backends[name] for name in names]
    # One in this process has one model, whatever name a request has for it.
    models = [
        place.resolved(model).model if isinstance(backend, Remote | RelayBackend) else ""
        for place, backend in zip(places, found, strict=True)
    ]
    served = Served(
        backend=json.dumps([route.match, *names]),
        model=json.dumps(models),
        identity=json.dumps([identities.get(name, "") for name in names]),
        fingerprint=json.dumps([b.fingerprint for b in found if not isinstance(b, RelayBackend)]),
        adapter=__version__,
    )
    return Way(served, any(isinstance(backend, RelayBackend) for backend in found))
