"""One generation on its way through the MLX thread, and what it reports back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from anyclaude.backend import BackendEvent
from anyclaude.engine.constraint import Constraint
from anyclaude.engine.kv import KVLease
from anyclaude.engine.sampling import ResolvedSampling
from anyclaude.types import Tokens

JobReport: TypeAlias = BackendEvent | BaseException


@dataclass(frozen=True, slots=True)
class Job:
    """What the MLX thread needs to answer one admitted request.

    ``tokens`` is the whole prompt, of which ``lease.length`` come out of the prefix tree.
    ``max_tokens`` already fits the window; 0 means that the prompt is read and nothing written.
    ``mark_tokens`` is how far the client's cache mark reaches, for the usage figures, and
    ``boundaries`` the ascending positions at which a later prompt may part from this one: the
    end of the system prompt and of every message, and the start of the generation tail.
    ``constraint`` is what the answer must keep to, and belongs to this job alone.
    ``goes_on`` is whether it continues an answer that its client already reads.
    ``session`` is not empty for the main conversation of a session, whose prefix is kept.
    ``report`` may be called from any thread.
    """

    id: str
    tokens: Tokens = field(repr=False)  # A prompt is nothing for a log or an error.
    lease: KVLease = field(repr=False)
    max_tokens: int
    sampling: ResolvedSampling
    stop_sequences: Sequence[str]
    mark_tokens: int
    submitted: float
    rank: int
    report: Callable[[JobReport], None]
    system_tokens: int = 0
    boundaries: Tokens = ()
    session: str = ""
    constraint: Constraint | None = None
    goes_on: bool = False

    @property
    def end_of_prompt(self) -> int:
        """Where the generation tail begins: what lies before may come again in the next turn."""
        return self.boundaries[-1] if self.boundaries else len(self.tokens)
