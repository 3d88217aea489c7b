"""One generation on its way through the MLX thread, and what it reports back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from anyclaude.caches.kv.tree import Lease
from anyclaude.engine.kv import StoredKV
from anyclaude.engine.sampling import ResolvedSampling
from anyclaude.types import BackendEvent, Tokens

JobReport: TypeAlias = BackendEvent | BaseException


@dataclass(frozen=True, slots=True)
class Job:
    """What the MLX thread needs to answer one admitted request.

    ``tokens`` is the whole prompt, of which ``lease.length`` come out of the prefix tree.
    ``max_tokens`` already fits the window. ``mark_tokens`` is how far the client's cache mark
    reaches, for the usage figures. ``report`` may be called from any thread.
    """

    id: str
    tokens: Tokens
    lease: Lease[StoredKV]
    max_tokens: int
    sampling: ResolvedSampling
    stop_sequences: Sequence[str]
    mark_tokens: int
    submitted: float
    report: Callable[[JobReport], None]
