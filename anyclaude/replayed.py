"""One request that a cache answers: from its admission to its row, without any backend."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyclaude.answer import stored
from anyclaude.backend import Admission, Finish
from anyclaude.caches.response.entry import CallPart, TextPart, ThinkingPart, replay
from anyclaude.events import FirstToken, OutputDelta, ToolCallSeen
from anyclaude.exchange import CLIENT_CLOSED_REQUEST, ExchangeOptions
from anyclaude.ledger import Ledger
from anyclaude.prompt.canonical import Canonical
from anyclaude.record import Recorder
from anyclaude.records import StoredMessage, ToolCallRecord
from anyclaude.stream import BlockStart, StreamEvent, message_of
from anyclaude.tools.judge import judge_aside
from anyclaude.types import (
    Block,
    JsonValue,
    Message,
    TextBlock,
    ThinkingBlock,
    Tier,
    ToolUseBlock,
    Usage,
)

if TYPE_CHECKING:
    from anyclaude.caches.response.cache import Hit

BACKEND = "cache"
"""What rows and headers have for a backend where none was asked."""

_FROM = {
    Tier.RESPONSE: "memory",
    Tier.RESPONSE_DISK: "disk",
    Tier.SHARED: "the shared cache",
    Tier.SEMANTIC: "a question that means the same",
}


@dataclass(frozen=True, slots=True)
class Known:
    """A request whose answer was found; ``model`` is the name it asked for."""

    hit: Hit
    canonical: Canonical
    recorder: Recorder
    model: str


class Replayed:
    """See :class:`anyclaude.exchange.Exchange`, whose ``events`` and ``message`` these are."""

    def __init__(
        self,
        known: Known,
        ledger: Ledger,
        options: ExchangeOptions,
        new_id: Callable[[str], str],
    ) -> None:
        hit = known.hit
        self.id = known.recorder.id
        self.route_reason = f"answered from {_FROM[hit.tier]}, {hit.age:.0f} s old"
        self.cache_note = f"age={hit.age:.0f}; key={hit.key}"
        if hit.tier is Tier.SEMANTIC:
            self.cache_note += f"; similarity={hit.similarity:.3f}"
        self._usage = Usage(cache_read_tokens=hit.entry.usage.prompt_tokens)
        self.admission = Admission(BACKEND, known.model, self._usage, hit.tier)
        self._entry = hit.entry
        self._canonical = known.canonical
        self._recorder = known.recorder
        self._ledger = ledger
        self._options = options
        self._events = replay(hit.entry, new_id, known.model)
        self._body = message_of(self._events)
        self._done = False

    async def whole(self) -> Sequence[StreamEvent]:
        """Every event of the stream: they are all there. The row is in the log's hands by then."""
        streams = self._options.streams
        notes = streams.begin(self.id, lambda: self._recorder.elapsed_ms) if streams else None
        try:
            await self._end()
            if notes is not None:
                for event in self._events:
                    notes.add(event)
        finally:
            if notes is not None:
                notes.close()
        return self._events

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """The same, one by one."""
        for event in await self.whole():
            yield event

    async def message(self) -> dict[str, JsonValue]:
        """The answer as one body."""
        await self._end()
        return self._body

    async def _end(self) -> None:
        self._show()
        try:
            await self._finish()
        finally:
            if not self._done:
                self._done = True
                self._ledger.spawn(self._abandon())

    def _show(self) -> None:
        """What a person who watches sees of it, all at once."""
        ledger, tokens = self._ledger, self._entry.usage.output_tokens
        self._recorder.first_token()
        ledger.publish(FirstToken(self.id, self._recorder.ttft_ms))
        for part in self._entry.parts:
            match part:
                case TextPart():
                    ledger.publish(OutputDelta(self.id, "text", part.text, tokens))
                    ledger.recent.add_output(self.id, part.text)
                case ThinkingPart():
                    ledger.publish(OutputDelta(self.id, "thinking", part.thinking, tokens))
                    ledger.recent.add_output(self.id, part.thinking)
                case CallPart():
                    ledger.publish(OutputDelta(self.id, "tool_use", part.arguments, tokens))
                    ledger.recent.add_output(self.id, part.arguments)

    # ------------------------------------------------------------------------------- endings

    async def _finish(self) -> None:
        entry, ledger = self._entry, self._ledger
        calls = await self._calls()
        said = json.dumps(self._body, ensure_ascii=False)
        ledger.recent.set_response(self.id, said)
        ledger.recent.add_calls(self.id, calls)
        for call in calls:
            ledger.publish(ToolCallSeen(ledger.wall(), call))
        usage = Usage(
            cache_read_tokens=self._usage.cache_read_tokens,
            output_tokens=entry.usage.output_tokens,
        )
        finish = Finish("stop", usage, time_saved_ms=entry.seconds * 1000)
        record = self._recorder.finished(finish, entry.stop_reason)
        self._done = True
        # Whoever asks again gets it again: there is nothing in the row that only the row has.
        await ledger.finish_later(record, calls, self._messages(self._ids()))

    async def _abandon(self) -> None:
        record = self._recorder.failed(CLIENT_CLOSED_REQUEST, "network", self._ledger.why_left)
        await self._ledger.finish(record)

    def _ids(self) -> list[str]:
        """The ids of this answer's calls, in their order."""
        starts = (event.block for event in self._events if isinstance(event, BlockStart))
        return [str(block["id"]) for block in starts if block["type"] == "tool_use"]

    async def _calls(self) -> tuple[ToolCallRecord, ...]:
        """What the answer calls, judged by the client's schemas; nothing is mended."""
        calls = [part for part in self._entry.parts if isinstance(part, CallPart)]
        records = []
        for id, call in zip(self._ids(), calls, strict=True):
            raw = call.arguments or "{}"
            judged = await judge_aside(call.name, raw, self._canonical.callable_tools, mend=False)
            records.append(
                ToolCallRecord(self.id, id, call.name, judged.verdict, judged.issues, raw, raw)
            )
        return tuple(records)

    def _messages(self, ids: Sequence[str]) -> tuple[StoredMessage, ...]:
        """The conversation with this turn, for the log."""
        if not self._options.bodies:
            return ()
        blocks: list[Block] = []
        names = iter(ids)
        for part in self._entry.parts:
            match part:
                case TextPart():
                    blocks.append(TextBlock(part.text))
                case ThinkingPart():
                    blocks.append(ThinkingBlock(part.thinking, part.signature))
                case CallPart():
                    given = json.loads(part.arguments or "{}")
                    blocks.append(ToolUseBlock(next(names), part.name, given))
        turns = [*self._canonical.request.messages, Message("assistant", tuple(blocks))]
        return tuple(stored(turn) for turn in turns)
