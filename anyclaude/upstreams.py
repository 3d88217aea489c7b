"""The gateway as the configuration has it: its backends, its routes, and when to try again."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING

from anyclaude.backend import Backend
from anyclaude.config.settings import BackendSettings, ResilienceSettings, RouteSettings, Settings
from anyclaude.events import Bus, SystemEvent
from anyclaude.gateway import AnyBackend, Gateway
from anyclaude.routing.breaker import BreakerOptions, Transition
from anyclaude.routing.choice import Estimator
from anyclaude.routing.dispatch import Dispatcher, GaveUp, RoutingEvent, RoutingOptions
from anyclaude.routing.retry import RetryOptions
from anyclaude.routing.routes import parse_target
from anyclaude.routing.values import BackendTraits, Conditions, Route

if TYPE_CHECKING:
    from anyclaude.backends.http import Timeouts
    from anyclaude.backends.openai.backend import OpenAiBackend
    from anyclaude.backends.signatures import SignatureLedger

Clock = Callable[[], float]


def gateway_of(
    settings: Settings,
    engine: Backend,
    bus: Bus,
    *,
    estimate: Estimator | None = None,
    clock: Clock = time.monotonic,
    wall: Clock = time.time,
) -> Gateway:
    """Every backend that a route leads to, ``engine`` being the one in this process.

    Raises ConfigError and UsageError for what can't be used.
    """
    # An engine that is switched off says so itself.
    wanted = settings.reachable if settings.routes else {*settings.reachable, settings.engine}
    reachable = [(name, backend) for name, backend in settings.backends if name in wanted]
    dispatcher = Dispatcher(
        [route_of(route) for route in settings.routes],
        [traits_of(name, backend) for name, backend in reachable],
        options_of(settings.resilience),
        clock=clock,
        rng=random.Random(),
        publish=lambda event: _tell(event, bus, wall()),
        estimate=estimate,
        local=settings.engine,
        small=parse_target(settings.model.small) if settings.model.small else None,
    )
    return Gateway(
        dispatcher,
        backends_of(dict(reachable), settings, engine),
        clock=clock,
        identities={name: identity_of(backend, settings) for name, backend in reachable},
        went_on=_went_on(bus, wall) if settings.resilience.continue_streams else None,
    )


def _went_on(bus: Bus, wall: Clock) -> Callable[[str, str], None]:
    return lambda id, said: bus.publish(SystemEvent(wall(), "warning", "route", said, id))


def identity_of(backend: BackendSettings, settings: Settings) -> str:
    """A digest of every setting that an answer may depend on, keys and addresses included."""
    said: list[object] = [
        backend.type,
        backend.base_url,
        backend.profile,
        backend.api_key,
        sorted(backend.headers),
        asdict(settings.tools),
    ]
    if backend.type == "mlx":
        said += [asdict(settings.model), settings.cache.kv_bits]
    return sha256(json.dumps(said).encode()).hexdigest()[:32]


def backends_of(
    wanted: Mapping[str, BackendSettings], settings: Settings, engine: Backend
) -> dict[str, AnyBackend]:
    """The backends by their names; none of them connects before it is asked."""
    from anyclaude.backends.signatures import SignatureLedger

    signatures = SignatureLedger()
    made: dict[str, AnyBackend] = {}
    for name, backend in wanted.items():
        match backend.type:
            case "mlx":
                made[name] = engine
            case "anthropic":
                made[name] = _anthropic(name, backend, settings)
            case "openai":
                made[name] = openai_backend(name, backend, signatures)
            case "scripted":
                made[name] = _scripted(name, backend)
    return made


def route_of(settings: RouteSettings) -> Route:
    """A route with its targets read."""
    return Route(
        match=settings.match,
        targets=tuple(map(parse_target, settings.targets)),
        strategy=settings.strategy,
        affinity=settings.affinity,
        fallback=tuple(map(parse_target, settings.fallback)),
        fallback_context=tuple(map(parse_target, settings.fallback_context)),
        fallback_overloaded=tuple(map(parse_target, settings.fallback_overloaded)),
        conditions=Conditions(
            roles=settings.roles,
            headers=settings.headers,
            min_tokens=settings.min_tokens,
            max_tokens=settings.max_tokens,
            tools=settings.tools,
        ),
    )


def traits_of(name: str, settings: BackendSettings) -> BackendTraits:
    """What routing has to know of a backend; the engine has a queue of its own."""
    engine = settings.type == "mlx"
    return BackendTraits(
        name=name,
        weight=settings.weight,
        priority=settings.priority,
        max_concurrency=0 if engine else settings.max_concurrency,
        max_waiting=settings.max_waiting,
        price_in=settings.price_in,
        price_out=settings.price_out,
        context_limit=settings.context_limit,
    )


def options_of(settings: ResilienceSettings) -> RoutingOptions:
    return RoutingOptions(
        breaker=BreakerOptions(
            failures=settings.breaker_failures,
            window_s=settings.breaker_window_s,
            ratio=settings.breaker_ratio,
            open_s=settings.breaker_open_s,
            probes=settings.breaker_probes,
            successes=settings.breaker_successes,
            slow_ttft_s=settings.slow_ttft_s,
        ),
        retry=RetryOptions(
            retries=settings.retries,
            budget_s=settings.budget_s,
            backoff_s=settings.backoff_s,
            backoff_max_s=settings.backoff_max_s,
        ),
        cooldown_s=settings.cooldown_s,
    )


def _anthropic(name: str, backend: BackendSettings, settings: Settings) -> AnyBackend:
    from anyclaude.backends.cache_marks import CacheMarks
    from anyclaude.backends.relay import BASE_URL, AnthropicBackend, AnthropicOptions

    marks = settings.cache.cache_marks
    return AnthropicBackend(
        AnthropicOptions(
            name,
            backend.base_url or BASE_URL,
            backend.api_key,
            backend.headers,
            _timeouts(backend),
            CacheMarks("system" in marks, int("last_user" in marks)),
        )
    )


def openai_backend(
    name: str, backend: BackendSettings, signatures: SignatureLedger
) -> OpenAiBackend:
    """A backend that speaks chat completions; raises ConfigError."""
    from anyclaude.backends.openai.backend import OpenAiBackend, OpenAiOptions

    options = OpenAiOptions(
        name,
        backend.base_url,
        backend.api_key,
        backend.profile,
        backend.headers,
        _timeouts(backend),
        backend.context_limit,
    )
    return OpenAiBackend(options, signatures)


def _scripted(name: str, backend: BackendSettings) -> AnyBackend:
    from anyclaude.backends.scripted import ScriptedBackend, ScriptedOptions
    from anyclaude.script import read_script, script_path
    from anyclaude.tools.families.hermes import DIALECT

    return ScriptedBackend(ScriptedOptions(name, read_script(script_path(backend.script)), DIALECT))


def _timeouts(backend: BackendSettings) -> Timeouts:
    from anyclaude.backends.http import Timeouts

    return Timeouts(backend.connect_timeout, backend.headers_timeout, backend.idle_timeout)


def _tell(event: RoutingEvent, bus: Bus, now: float) -> None:
    """What a person may want to look up of it; where a request went stands in its row."""
    match event:
        case Transition():
            message = f"{event.name}: {event.before} to {event.after}, {event.why}"
            bus.publish(
                SystemEvent(now, "warning" if event.after == "open" else "info", "breaker", message)
            )
        case GaveUp() if len(event.tried) > 1:
            tries = "; ".join(f"{t.target}: {t.status} {t.message}" for t in event.tried)
            message = f"no backend answered ({event.why}): {tries}"
            bus.publish(SystemEvent(now, "warning", "route", message, event.request_id))
        case _:
            pass
