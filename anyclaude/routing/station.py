"""All that routing keeps of one backend, and how it is shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from anyclaude.routing.breaker import Breaker, BreakerOptions, BreakerSnapshot, Transition
from anyclaude.routing.cooldown import Cooldowns
from anyclaude.routing.figures import FiguresBook, TargetFigures, TargetView
from anyclaude.routing.health import Health, HealthView
from anyclaude.routing.queue import AdmissionQueue, QueueSnapshot
from anyclaude.routing.values import BackendTraits, Clock, Target


@dataclass(frozen=True, slots=True)
class BackendView:
    """A backend for the console. ``resting`` are targets with the seconds they still rest."""

    name: str
    health: HealthView
    breaker: BreakerSnapshot
    queue: QueueSnapshot
    targets: tuple[TargetView, ...]
    resting: tuple[tuple[Target, float], ...]


@dataclass(frozen=True, slots=True)
class Out:
    """Why a target is not asked, and for how long, where that is known."""

    kind: Literal["gone", "open", "long", "ill", "resting"]
    why: str
    seconds: float = math.inf

    @property
    def hard(self) -> bool:
        """Whether it can't be asked even if there is nobody else."""
        return self.kind in ("gone", "open")


@dataclass(frozen=True, slots=True)
class Station:
    """One backend's limits, breaker, queue and health."""

    traits: BackendTraits
    breaker: Breaker
    queue: AdmissionQueue
    health: Health


class Stations:
    """Every backend that may be asked, and what is measured of their targets."""

    def __init__(
        self,
        backends: Iterable[BackendTraits],
        breaker: BreakerOptions,
        figures: FiguresBook,
        cooldowns: Cooldowns,
        clock: Clock,
        publish: Callable[[Transition], None],
    ) -> None:
        self.figures = figures
        self.cooldowns = cooldowns
        self._clock = clock
        self._of: dict[str, Station] = {}
        for traits in backends:
            name = traits.name
            self._of[name] = Station(
                traits,
                Breaker(name, breaker, clock, publish),
                AdmissionQueue(
                    name,
                    traits.max_concurrency,
                    traits.max_waiting,
                    clock,
                    lambda name=name: figures.duration_at(name),  # type: ignore[misc]
                ),
                Health(clock),
            )

    def get(self, backend: str) -> Station | None:
        return self._of.get(backend)

    def __getitem__(self, backend: str) -> Station:
        return self._of[backend]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._of)

    def out(self, target: Target, prompt_tokens: int = 0) -> Out | None:
        """Why a target isn't asked; ``None`` if it may be."""
        station = self._of.get(target.backend)
        if station is None:
            return Out("gone", f"there is no backend {target.backend!r}")
        if not station.breaker.available():
            return Out("open", station.breaker.refusal().message)
        limit = station.traits.context_limit
        if 0 < limit < prompt_tokens:
            return Out("long", f"takes {limit} tokens, the prompt has about {prompt_tokens}")
        if station.health.failing:
            return Out("ill", f"its health checks fail: {station.health.error}")
        resting = self.cooldowns.left(target)
        if resting > 0:
            return Out("resting", f"rests another {resting:.1f} s after an error", resting)
        return None

    def error_ratio(self, backend: str) -> float:
        """Failed calls among the last minute's, all of its targets together."""
        now = self._clock()
        figures = self.figures.of_backend(backend)
        calls = sum(f.calls_this_minute(now) for f in figures)
        return sum(f.failures_this_minute(now) for f in figures) / calls if calls else 0.0

    def view(self, backend: str) -> BackendView:
        station, now = self._of[backend], self._clock()
        figures: tuple[TargetFigures, ...] = self.figures.of_backend(backend)
        resting = ((f.target, self.cooldowns.left(f.target)) for f in figures)
        return BackendView(
            backend,
            station.health.view(station.breaker, self.error_ratio(backend)),
            station.breaker.snapshot(),
            station.queue.snapshot(),
            tuple(f.view(now) for f in figures),
            tuple((target, left) for target, left in resting if left > 0),
        )
