"""Routes: where they lead, and whether any request can get to them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase

from anyclaude.config.checks.case import Case, Finding
from anyclaude.config.masking import SECRET_HEADER
from anyclaude.config.settings import SLOT, SLOTS, RouteSettings, Target

_LISTS = ("targets", "fallback", "fallback_context", "fallback_overloaded")


def check_routes(case: Case) -> Iterator[Finding]:
    for number, route in case.routes:
        prefix = f"routes.{number}"
        yield from _match(prefix, route)
        yield from _targets(case, prefix, route)
        yield from _conditions(prefix, route)
        yield from _strategy(case, prefix, route)
        if (earlier := _covering(case, number, route)) is not None:
            yield (
                f"{prefix}.match",
                f"is {json.dumps(route.match)} and is never reached, since routes.{earlier} fits"
                " every such request before it; expected it above that one",
            )
    yield from _small(case)
    yield from _unrouted(case)


def covers(wide: str, narrow: str) -> bool:
    """Whether every name that ``narrow`` fits is one that ``wide`` fits, as far as can be told.

    A yes is certain: a ``*`` of the wide one takes in whatever stands there in the narrow one.
    """
    wide, narrow = wide.lower(), narrow.lower()
    if wide == narrow or (wide and not wide.strip("*")):
        return True
    plain = not any(c in wide + narrow for c in "?[") and not narrow.startswith(SLOT)
    return plain and fnmatchcase(narrow, wide)


def _match(prefix: str, route: RouteSettings) -> Iterator[Finding]:
    slot = route.match.removeprefix(SLOT)
    if slot != route.match and slot not in SLOTS:
        yield (
            f"{prefix}.match",
            f"is {json.dumps(route.match)}; expected {SLOT} with one of {', '.join(SLOTS)} after"
            " it, or a pattern",
        )


def _targets(case: Case, prefix: str, route: RouteSettings) -> Iterator[Finding]:
    backends = dict(case.settings.backends)
    for field in _LISTS:
        key, targets = f"{prefix}.{field}", getattr(route, field)
        for text in targets:
            if problem := _trouble(case, text):
                yield key, f"has {json.dumps(text)}{problem}"
        again = [text for text in targets if field != "targets" and text in route.targets]
        if again:
            shown = json.dumps(again[0])
            yield key, f"has {shown}, which is one of {prefix}.targets; expected others"
    reached = {target.backend for target in route.reaches}
    if all(name in backends and not backends[name].enabled for name in reached):
        yield (
            f"{prefix}.targets",
            f"leads nowhere, since {', '.join(sorted(reached))} is switched off; expected a"
            " backend with enabled = true",
        )


def _trouble(case: Case, text: str) -> str:
    """What is wrong with a target, to go on from it; empty when nothing is."""
    target = Target.parse(text)
    if target.backend not in case.backend_names:
        return f", and there is no such backend; expected {', '.join(case.backend_names)}"
    if text.endswith("/") or target.model.strip() != target.model:
        return "; expected NAME or NAME/model"
    if (model := _model_of_engine(case, target)) is not None:
        return (
            f", but the engine answers with the model it has loaded, {model}; expected"
            f" {json.dumps(target.backend)}"
        )
    return ""


def _small(case: Case) -> Iterator[Finding]:
    """Where small calls go."""
    key, text = "model.small", case.settings.model.small
    if not text or not case.sound(key):
        return
    name = Target.parse(text).backend
    backend = dict(case.settings.backends).get(name)
    if problem := _trouble(case, text):
        yield key, f"is {json.dumps(text)}{problem}"
    elif backend is not None and case.sound_within(f"backends.{name}") and not backend.enabled:
        yield key, f"is {json.dumps(text)}, a backend that is switched off; expected another"


def _model_of_engine(case: Case, target: Target) -> str | None:
    """What the engine serves, if that is not what the target asks of it."""
    backend = dict(case.settings.backends).get(target.backend)
    known = case.sound(f"backends.{target.backend}.type", "model.default")
    if backend is None or backend.type != "mlx" or not target.model or not known:
        return None
    served = case.settings.model.default
    return None if target.model == served else f"model.default {json.dumps(served)}"


def _conditions(prefix: str, route: RouteSettings) -> Iterator[Finding]:
    if route.max_tokens and route.min_tokens > route.max_tokens:
        yield (
            f"{prefix}.min_tokens",
            f"is {route.min_tokens}, which no prompt of at most {route.max_tokens} tokens has;"
            f" expected no more than {prefix}.max_tokens",
        )
    for name, _ in route.headers:
        if SECRET_HEADER.search(name):
            yield (
                f"{prefix}.headers",
                f"has {json.dumps(name)}, which sounds like a secret and is never looked at;"
                " expected another header",
            )
    names = Counter(name.lower() for name, _ in route.headers)
    for name, count in names.items():
        if count > 1:
            yield f"{prefix}.headers", f"has {json.dumps(name)} {count} times; expected it once"


def _strategy(case: Case, prefix: str, route: RouteSettings) -> Iterator[Finding]:
    backends = dict(case.settings.backends)
    named = {Target.parse(text).backend for text in route.targets}
    known = [backends[name] for name in named if name in backends]
    priced = any(backend.price_in or backend.price_out for backend in known)
    sound = all(case.sound_within(f"backends.{name}") for name in named)
    if route.strategy == "cost" and known and sound and not priced:
        yield (
            f"{prefix}.strategy",
            'is "cost", and none of its backends has a price; expected price_in and price_out in'
            " [backends.NAME]",
        )


def _covering(case: Case, number: int, route: RouteSettings) -> int | None:
    """The earlier route that fits every request that this one does."""
    for earlier, other in case.routes:
        if earlier >= number:
            return None
        if not case.sound_within(f"routes.{earlier}"):
            continue
        if covers(other.match, route.match) and _asks_less(other, route):
            return earlier
    return None


def _asks_less(wide: RouteSettings, narrow: RouteSettings) -> bool:
    """Whether what holds for ``narrow`` holds for ``wide``: any of its roles and of its tools,
    every header."""
    return (
        (not wide.roles or (bool(narrow.roles) and set(narrow.roles) <= set(wide.roles)))
        and (not wide.tools or (bool(narrow.tools) and set(narrow.tools) <= set(wide.tools)))
        and set(wide.headers) <= set(narrow.headers)
        and wide.min_tokens <= narrow.min_tokens
        and (not wide.max_tokens or 0 < narrow.max_tokens <= wide.max_tokens)
    )


def _unrouted(case: Case) -> Iterator[Finding]:
    """Backends that wait for requests where there is no route at all."""
    if case.given("routes") or not case.sound("routes"):
        return
    settings = case.settings
    used = {Target.parse(t).backend for t in (settings.cache.embeddings, settings.model.small)}
    for name, backend in settings.backends:
        if backend.type != "mlx" and backend.enabled and name not in used:
            yield (
                f"backends.{name}.enabled",
                "is true, but without [[routes]] every request goes to the engine; expected a"
                f' route such as match = "*" and targets = ["{name}"]',
            )
