"""How the backends are doing, for whoever asks."""

from __future__ import annotations

import math
from collections.abc import Iterator

from anyclaude.config.settings import Settings
from anyclaude.control import BackendInfo, SlotTarget
from anyclaude.engine.engine import Engine
from anyclaude.errors import ConfigError, InvalidRequest
from anyclaude.events import Bus
from anyclaude.gateway import Gateway
from anyclaude.metrics.meter import Meter
from anyclaude.routing.routes import parse_target, slot_named
from anyclaude.routing.station import BackendView
from anyclaude.routing.values import SLOTS


class Backends:
    """The engine in this process, and what the gateway knows of the others."""

    def __init__(
        self, settings: Settings, gateway: Gateway, engine: Engine, meter: Meter, bus: Bus
    ) -> None:
        self._settings = dict(settings.backends)
        self._gateway = gateway
        self._engine = engine
        self._meter = meter
        self._bus = bus
        self._models: dict[str, tuple[str, ...]] = {}

    async def discover(self) -> None:
        """Asks every backend elsewhere what models it has; an answer is kept until the next."""
        for name, models in await self._gateway.model_names():
            if models or name not in self._models:
                self._models[name] = models

    @property
    def models(self) -> tuple[str, ...]:
        """What the backends elsewhere list, each name once."""
        return tuple(dict.fromkeys(name for names in self._models.values() for name in names))

    def infos(self) -> Iterator[BackendInfo]:
        """Each backend that a route leads to, in the order of the configuration."""
        for view in self._gateway.dispatcher.snapshot():
            settings = self._settings.get(view.name)
            if settings is None or settings.type == "mlx":
                yield self._own(view)
                continue
            state = view.health.state
            yield BackendInfo(
                name=view.name,
                type=settings.type,
                healthy=state in ("healthy", "unknown"),
                in_flight=view.queue.in_flight,
                latency_ms=_latency_ms(view),
                detail=view.health.error or state,
                address=settings.base_url,
                waiting=view.queue.waiting,
                breaker=view.breaker.state,
                open_for_s=None if math.isinf(view.breaker.open_for) else view.breaker.open_for,
                error_ratio=max((target.error_ratio for target in view.targets), default=0.0),
                models=self._models.get(view.name, ()),
            )

    def reset(self, name: str) -> None:
        """Raises NotFound for a backend that isn't there."""
        self._gateway.dispatcher.reset(name)

    def slots(self) -> tuple[SlotTarget, ...]:
        """Every slot, and what it was given by hand."""
        given = self._gateway.dispatcher.slots
        return tuple(SlotTarget(slot, str(given[slot]) if slot in given else "") for slot in SLOTS)

    def set_slot(self, slot: str, target: str) -> None:
        """Raises InvalidRequest for what is no slot or no target, NotFound for no backend."""
        try:
            wanted = parse_target(target) if target else None
        except ConfigError as error:
            raise InvalidRequest(str(error), field="target") from error
        self._gateway.dispatcher.send(slot_named(slot), wanted)

    def _own(self, view: BackendView) -> BackendInfo:
        engine, state = self._engine, self._bus.engine_state
        return BackendInfo(
            name=view.name,
            type="mlx",
            healthy=state.phase == "ready",
            in_flight=engine.in_flight,
            latency_ms=self._meter.ttft_ms(0.5),
            detail=state.detail or state.phase,
            waiting=max(0, engine.in_flight - engine.gauges.running),
            models=(engine.model.name,) if engine.model is not None else (),
        )


def _latency_ms(view: BackendView) -> float | None:
    medians = [t.ttft_p50 for t in view.targets if t.ttft_p50 is not None]
    return min(medians) * 1000 if medians else None
