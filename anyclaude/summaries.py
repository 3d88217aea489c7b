"""Summaries of what is cut out of a conversation: lines of it, or told by its own model.

A model gets the lines that tell most, each cluster's leader once, and tells them shorter. Half of
the summary stays such lines, word for word: what a small model gets wrong isn't lost then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude.backend import Backend, BackendRequest
from anyclaude.errors import ApiError
from anyclaude.prompt.compress import summarise
from anyclaude.prompt.retell import Notes, retold
from anyclaude.prompting import Asker, Prompter
from anyclaude.types import Message

_NOTES = 4
"""The model is given so many times the characters that the summary may have."""
_WINDOW_SHARE = 0.75
"""What of the window notes may take: that a token has so many characters is an estimate."""
_OVERHEAD = 400
"""Tokens of the call besides its notes and its answer."""
_LEAST_NOTES = 2
"""With fewer times the summary's characters there is nothing to tell shorter."""


@dataclass(frozen=True, slots=True)
class Space:
    """``room`` characters for a summary, on a model with a ``window`` of tokens, of which a
    character of this conversation takes ``per_char``."""

    room: int
    window: int
    per_char: float


class Summaries:
    """Writes the summaries of one request; all of them together have the configured time.

    A model is asked only where the cut is kept: without a conversation's name it would be asked
    again with every turn.
    """

    def __init__(self, prompter: Prompter, of: Asker) -> None:
        self._prompter = prompter
        self._of = of
        self._left = prompter.options.summary_seconds
        self._asked = 0
        self.note = ""
        """How the last one was written, where that was not as usual."""

    async def write(
        self, backend: Backend, job: BackendRequest, gone: Sequence[Message], space: Space
    ) -> str:
        """What the messages say, in at most the room that there is."""
        prompter, self.note = self._prompter, ""
        said = [message for message in gone if message.role != "system"]
        if prompter.options.summaries == "model" and self._of.conversation:
            lines = await summarise(said, space.room // 2, prompter.embedder)
            told = await self._told(backend, job, said, space, space.room - len(lines) - 1)
            if told:
                return f"{told}\n{lines}"
        return await summarise(said, space.room, prompter.embedder)

    async def _told(
        self,
        backend: Backend,
        job: BackendRequest,
        said: Sequence[Message],
        space: Space,
        room: int,
    ) -> str:
        """The model's account in ``room`` characters; nothing where it gives none in time."""
        tokens = max(1, round(room * space.per_char))
        able = (space.window - tokens - _OVERHEAD) * _WINDOW_SHARE / space.per_char
        length = int(min(_NOTES * room, able))
        if length < _LEAST_NOTES * room:
            self._failed("the window has no place for it beside the notes")
            return ""
        text = await summarise(said, length, self._prompter.embedder)
        self._asked += 1
        notes = Notes(f"{job.id}.sum{self._asked}", job.model, text, room, tokens)
        clock = self._prompter.ledger.clock
        began = clock()
        try:
            async with asyncio.timeout(max(0.0, self._left)):
                told = await retold(backend, notes)
        except TimeoutError:
            self._failed(f"not done after {self._prompter.options.summary_seconds:g} s")
            return ""
        except ApiError as error:
            self._failed(str(error))
            return ""
        finally:
            self._left -= clock() - began
        self.note = f"told by the model in {clock() - began:.1f} s"
        return told

    def _failed(self, why: str) -> None:
        self.note = "told in its own lines"
        said = f"the model has not summarised the conversation: {why}; its own lines stand in place"
        self._prompter.ledger.event("prompt", said, self._of.request_id, level="warning")
