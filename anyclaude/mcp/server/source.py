"""What the tools ask: the running anyclaude's control, its model, and questions of the log."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from anyclaude.control import Control
from anyclaude.records import SqlResult


@dataclass(frozen=True, slots=True)
class LogQuestion:
    """A question of the log that is ready to be asked."""

    name: str
    title: str
    sql: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Work for the local model; an empty ``model`` is whichever is loaded."""

    prompt: str
    system: str
    max_tokens: int
    model: str


@dataclass(frozen=True, slots=True)
class Said:
    """What the local model answered; ``cut_off`` when ``max_tokens`` was too little."""

    text: str
    model: str
    prompt_tokens: int
    output_tokens: int
    cut_off: bool


class Source(Protocol):
    """The running anyclaude, looked for anew at every call, so that it may be restarted."""

    def control(self) -> AbstractAsyncContextManager[Control]:
        """Entering raises UsageError when none runs."""
        ...

    async def ask(self, ask: Ask) -> Said:
        """Raises ApiError kinds, and UsageError when none runs. Cancelling it stops the model."""
        ...

    def questions(self) -> tuple[LogQuestion, ...]: ...

    def render(self, result: SqlResult) -> str:
        """Rows as text for a model."""
        ...
