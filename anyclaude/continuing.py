"""An answer whose backend fails in the middle of its text, and that another one goes on with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from anyclaude.backend import (
    Admission,
    BackendEvent,
    BackendRequest,
    Finish,
    Generation,
    Parsed,
)
from anyclaude.dialect import TextPiece
from anyclaude.errors import ApiError
from anyclaude.routing.faults import counts
from anyclaude.types import Message, TextBlock

GO_ON = (
    "Your last message broke off in the middle because the connection was lost. Go on with it: "
    "write only what is missing, from exactly where it stops, and nothing about this."
)

GoOn = Callable[[str, ApiError], Awaitable[Generation]]
"""Has another backend go on from a text, after that error; raises :class:`ApiError`."""


class Continued:
    """A generation that others go on with where it fails, as long as it wrote nothing but text.

    Only for backends that take their answers apart themselves: two of them write the same events.
    """

    def __init__(self, generation: Generation, go_on: GoOn) -> None:
        self._generation = generation
        self._go_on = go_on
        self._admission = generation.admission
        self._text: list[str] = []
        self._tokens = 0
        self._only_text = True
        self.switched = False

    @property
    def admission(self) -> Admission:
        return self._admission

    async def __aiter__(self) -> AsyncIterator[BackendEvent]:
        while True:
            try:
                async for event in self._generation:
                    yield self._note(event)
                return
            except ApiError as error:
                if not (self._only_text and counts(error)):
                    raise
                try:
                    self._generation = await self._go_on("".join(self._text), error)
                except ApiError:
                    raise error from None
                self.switched = True

    async def cancel(self) -> None:
        await self._generation.cancel()

    def _note(self, event: BackendEvent) -> BackendEvent:
        match event:
            case Parsed():
                pieces = event.segments
                self._text += [piece.text for piece in pieces if isinstance(piece, TextPiece)]
                self._only_text &= all(isinstance(piece, TextPiece) for piece in pieces)
                self._tokens += 0 if self.switched else event.tokens
            case Finish() if self.switched:
                # The client's prompt is the first one's; what was written before was written too.
                written = self._tokens + event.usage.output_tokens
                usage = replace(self._admission.usage, output_tokens=written)
                return replace(event, usage=usage, estimated=True)
        return event


def going_on(job: BackendRequest, text: str) -> BackendRequest:
    """The job for whoever goes on from ``text``; without any it is the same one again."""
    if not text.strip():
        return job
    turns = (
        *job.request.messages,
        Message("assistant", (TextBlock(text),)),
        Message("user", (TextBlock(GO_ON),)),
    )
    return replace(job, request=replace(job.request, messages=turns))
