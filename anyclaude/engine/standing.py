"""How the engine stands: its phase, the model that answers, and what people are told of both.

This is the :class:`~anyclaude.engine.worker.Observer` on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from anyclaude.engine.caches import Caches
from anyclaude.engine.kv import KVTree
from anyclaude.engine.memory_policy import size
from anyclaude.engine.options import EngineOptions
from anyclaude.engine.served import ServedModel
from anyclaude.errors import EngineFailed
from anyclaude.events import Bus, EnginePhase, EngineState, SystemEvent, SystemKind


class Standing:
    """``wanted`` is the model that was asked for last, empty for none; ``detail`` says more of
    the phase. ``fail_open`` ends every open request."""

    def __init__(
        self,
        options: EngineOptions,
        caches: Caches,
        bus: Bus,
        wall: Callable[[], float],
        fail_open: Callable[[BaseException], None],
    ) -> None:
        self._options = options
        self._caches = caches
        self._bus = bus
        self._wall = wall
        self._fail_open = fail_open
        self.wanted = ""
        self.phase: EnginePhase = "unloaded"
        self.detail = "no model is loaded"

    @property
    def context_limit(self) -> int:
        """Tokens that prompt and answer may take together; 0 without a model."""
        model = self._caches.model
        if model is None:
            return 0
        wanted, own = self._options.context_limit, model.context_limit
        return min(wanted, own) if wanted and own else wanted or own

    def enter(self, phase: EnginePhase, *, progress: float = 0.0, detail: str = "") -> None:
        """The engine is in this phase from now on."""
        self.phase, self.detail = phase, detail
        self._bus.publish(EngineState(phase, self.wanted, progress, detail, self.context_limit))

    def forget_model(self) -> None:
        """No model answers any more."""
        self._caches.model = self._caches.tree = None
        self._caches.history.flushed()

    # ------------------------------------------------------------------ what the thread reports

    def loading(self, model: str, progress: float, detail: str) -> None:
        if model == self.wanted:
            self.enter("loading", progress=progress, detail=detail)

    def loaded(self, model: ServedModel, tree: KVTree) -> None:
        self.forget_model()
        if model.name != self.wanted:
            return  # Another load was asked for meanwhile, and follows.
        self._caches.model, self._caches.tree = model, tree
        self.enter("ready", progress=1.0)
        self._tell("info", "model", f"{model.name} is loaded")

    def load_failed(self, model: str, error: BaseException) -> None:
        self.forget_model()
        if model == self.wanted:
            self.enter("failed", detail=f"loading {model} failed: {error}")
        self._tell("error", "model", f"loading {model} failed: {error}")

    def unloaded(self) -> None:
        self.forget_model()
        self.enter("unloaded")
        self._tell("info", "model", "the model was unloaded")

    def step_failed(self, error: BaseException, requests: int) -> None:
        self._tell("error", "error", f"a step of the model failed ({requests} requests): {error}")

    def evicted(self, nbytes: int) -> None:
        budget = size(self._options.limits.cache_bytes)
        said = f"the prefix cache evicted {size(nbytes)} to keep to {budget} (cache.memory_gb)"
        self._tell("info", "memory", said)

    def said(
        self, level: Literal["info", "warning"], kind: Literal["memory", "reset"], message: str
    ) -> None:
        if kind == "reset":
            self._caches.history.flushed()
        self._tell(level, kind, message)

    def died(self, error: BaseException | None) -> None:
        reason = f"the MLX thread died: {error}" if error else "the MLX thread ended"
        self.forget_model()
        self.enter("failed", detail=f"{reason}; press R to restart it")
        self._tell("error", "error", reason)
        self._fail_open(EngineFailed(reason))

    def _tell(
        self, level: Literal["info", "warning", "error"], kind: SystemKind, message: str
    ) -> None:
        self._bus.publish(SystemEvent(self._wall(), level, kind, message))
