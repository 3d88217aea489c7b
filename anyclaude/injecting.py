"""Results of a search put into a conversation unasked, where a person's turn asks for fresh facts.

Only a new turn of the main conversation is looked at, and once. What it gets goes behind what the
person wrote, and is there in every later request too, word for word, so that the prefix stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

from anyclaude.ledger import Ledger
from anyclaude.prompt.canonical import Canonical
from anyclaude.search.blocks import inserted_text, row_of
from anyclaude.search.insertions import Insertions
from anyclaude.search.intent import query_in
from anyclaude.search.service import SearchService
from anyclaude.search.values import GIVEN_UP, Outcome, Query
from anyclaude.types import Block, Message, TextBlock

APPLIED = "web_search"
"""Stands among a request's applied rules, with the number of turns that have results."""

_NOT_SAID = (
    "<system-reminder>",
    "<command-",
    "<local-command-",
    "<bash-",
    "<task-",
    "[Request interrupted",
)
"""How texts begin in a user's message that the client wrote."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that a person wrote: where it stands, its name in the store, and the words."""

    index: int
    name: bytes
    text: str


class Injector:
    """``on`` may change at any time; what is in a conversation stays there all the same."""

    def __init__(
        self,
        service: SearchService,
        insertions: Insertions,
        ledger: Ledger,
        *,
        on: bool,
        wall: Callable[[], float],
    ) -> None:
        self.on = on
        self.service = service
        self._insertions = insertions
        self._ledger = ledger
        self._wall = wall

    @property
    def concerned(self) -> bool:
        """Whether a request may have to do with it at all."""
        return (self.on and self.possible) or self._insertions.any

    @property
    def possible(self) -> bool:
        """Whether there is anybody to ask."""
        return self.service.on

    async def restored(self, canonical: Canonical, conversation: str) -> Canonical:
        """The request with what was put into its turns before."""
        if not (conversation and self._insertions.any):
            return canonical
        turns = turns_of(canonical.request.messages)
        kept = await self._insertions.find(conversation, [turn.name for turn in turns])
        return _with(canonical, {turn.index: kept.get(turn.name, "") for turn in turns})

    async def injected(self, canonical: Canonical, conversation: str, request_id: str) -> Canonical:
        """As :meth:`restored`, and its newest turn with results if it is new and asks for them.

        A request without a session's id gets none, for it couldn't be told from another later.
        """
        messages = canonical.request.messages
        turn = newest_turn(messages)
        if turn is not None and conversation and self.on and self.possible:
            query = query_in(turn.text)
            known = await self._insertions.find(conversation, [turn.name]) if query else {}
            if query and turn.name not in known:
                text = await self._text(query, request_id)
                await self._insertions.keep(conversation, turn.name, text)
        return await self.restored(canonical, conversation)

    async def _text(self, query: str, request_id: str) -> str:
        outcome = Outcome(query, error="unavailable", detail=GIVEN_UP)
        try:
            outcome = await self.service.search(Query(query))
        finally:
            # Also where its client went away meanwhile: what was asked has left this machine.
            row = row_of(request_id, outcome)
            self._ledger.search_made(row, outcome.troubles, inserted=True)
        day = datetime.fromtimestamp(self._wall(), UTC).date().isoformat()
        return inserted_text(outcome, day)


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """The turns in which a person wrote something, in their order."""
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        if message.role == "user" and (text := _words(message.content)):
            # Its number tells apart two turns that say the same.
            number = len(turns).to_bytes(4, "big")
            texts = (block.text for block in message.content if isinstance(block, TextBlock))
            said = "\0".join(texts).encode("utf-8", "surrogatepass")
            name = sha256(number + said).digest()
            turns.append(Turn(index, name, text))
    return turns


def newest_turn(messages: Sequence[Message]) -> Turn | None:
    """What a person wrote last, if nothing but the system's own words came after it."""
    last = next((i for i in reversed(range(len(messages))) if messages[i].role != "system"), -1)
    turn = next(reversed(turns_of(messages)), None)
    return turn if turn is not None and turn.index == last else None


def _words(content: Sequence[Block]) -> str:
    """The last text of a message that is neither the client's own nor a note of an interruption."""
    for block in reversed(content):
        if not isinstance(block, TextBlock):
            continue
        text = block.text.strip()
        if text and not text.startswith(_NOT_SAID):
            return text
    return ""


def _with(canonical: Canonical, texts: dict[int, str]) -> Canonical:
    """The request with a text behind each message that has one."""
    given = {index: text for index, text in texts.items() if text}
    if not given:
        return canonical
    messages = tuple(
        replace(message, content=(*message.content, TextBlock(given[index])))
        if index in given
        else message
        for index, message in enumerate(canonical.request.messages)
    )
    return replace(
        canonical,
        request=replace(canonical.request, messages=messages),
        applied=(*canonical.applied, (APPLIED, len(given))),
    )
