"""What the configuration says about the engine."""

from __future__ import annotations

from dataclasses import dataclass

from anyclaude.engine.serving import Limits
from anyclaude.engine.worker import MemoryOptions
from anyclaude.types import Sampling


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """``context_limit`` and ``max_output_tokens`` 0: no limit of ours.

    ``switched_off`` is why the engine must not run at all, and empty when it may. Without
    ``memory`` nothing watches the footprint, without ``constrain`` the model writes calls as it
    likes.
    """

    limits: Limits
    max_waiting: int
    context_limit: int
    sampling: Sampling
    max_output_tokens: int = 0
    switched_off: str = ""
    memory: MemoryOptions | None = None
    constrain: bool = True

    @property
    def capacity(self) -> int:
        """Requests that may run or wait at once."""
        return self.limits.max_running + self.max_waiting
