"""Carries the MLX thread's reports over to the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Literal

from anyclaude.engine.kv import KVTree
from anyclaude.engine.served import ServedModel
from anyclaude.engine.worker import Observer

log = logging.getLogger(__name__)


class OnLoop:
    """An :class:`Observer` that calls another one, on the loop instead of the thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: Observer) -> None:
        self._loop = loop
        self._target = target
        self._attached = True

    def detach(self) -> None:
        """Nothing is delivered from now on, not even what was posted before. Loop only."""
        self._attached = False

    def post(self, call: Callable[[], object]) -> None:
        """Runs ``call`` on the loop; drops it when the loop is gone or we were detached."""

        def deliver() -> None:
            if self._attached:
                call()

        try:
            self._loop.call_soon_threadsafe(deliver)
        except RuntimeError:  # The loop is closed: nobody is left to tell.
            log.debug("a report came after the loop was closed")

    def loading(self, model: str, progress: float, detail: str) -> None:
        self.post(partial(self._target.loading, model, progress, detail))

    def loaded(self, model: ServedModel, tree: KVTree) -> None:
        self.post(partial(self._target.loaded, model, tree))

    def load_failed(self, model: str, error: BaseException) -> None:
        self.post(partial(self._target.load_failed, model, error))

    def unloaded(self) -> None:
        self.post(self._target.unloaded)

    def step_failed(self, error: BaseException, requests: int) -> None:
        self.post(partial(self._target.step_failed, error, requests))

    def evicted(self, nbytes: int) -> None:
        self.post(partial(self._target.evicted, nbytes))

    def said(
        self, level: Literal["info", "warning"], kind: Literal["memory", "reset"], message: str
    ) -> None:
        self.post(partial(self._target.said, level, kind, message))

    def died(self, error: BaseException | None) -> None:
        self.post(partial(self._target.died, error))
