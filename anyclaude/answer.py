"""From the model's text to content blocks: what is text, thinking or a call, and its events."""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import assert_never

from anyclaude.backend import Admission, Delta, Finish, Parsed, Resume
from anyclaude.dialect import (
    CallBroken,
    CallClose,
    CallOpen,
    CallPiece,
    Segment,
    SegmentParser,
    TextPiece,
    ThinkingEnd,
    ThinkingPiece,
)
from anyclaude.prompt.canonical import Canonical
from anyclaude.records import StoredMessage, ToolCallRecord
from anyclaude.stream import BlockKind, Emitter, StreamEvent
from anyclaude.tools.call_stream import Again, Begin, CallStream, End, Json, Output, Shown
from anyclaude.tools.families.base import FamilyParser
from anyclaude.types import (
    Block,
    Message,
    StopReason,
    TextBlock,
    ThinkingBlock,
    ThinkingMarkers,
    ToolUseBlock,
)


class Answer:
    """One assistant turn in the making."""

    def __init__(
        self,
        canonical: Canonical,
        admission: Admission,
        calls: CallStream,
        new_id: Callable[[str], str],
        clock: Callable[[], float],
    ) -> None:
        self._canonical = canonical
        self._admission = admission
        request = canonical.request
        offered = bool(canonical.callable_tools) and request.tool_choice.mode != "none"
        self._dialect = admission.dialect if offered else None
        self._parser = self._new_parser(admission.thinking)
        self._stream = calls
        self._clock = clock
        self._steps: list[tuple[int, int, float]] = []
        """Characters, tokens and time before each piece since the last call."""
        self._written = ""
        """The model's own text so far."""
        self._emitter = Emitter(new_id("msg_"), request.model)
        self._signature = hashlib.sha256(b"anyclaude thinking")
        self._content: list[Block] = []
        self._calls: list[ToolCallRecord] = []
        self._new_calls = 0
        self._stop_reason: StopReason = "end_turn"
        self._unfinished = False
        self._left: list[Segment] = []
        """What was read behind the call that is to be written anew."""
        self._opening = ""
        """The opening of a section of calls that a parser was told of, and the model not."""
        self.tokens = 0
        self.resume: Resume | None = None
        """Set when a call is to be written anew: nothing more is taken in until it is."""

    @property
    def content(self) -> tuple[Block, ...]:
        """The blocks as the client got them."""
        return tuple(self._content)

    @property
    def calls(self) -> tuple[ToolCallRecord, ...]:
        return tuple(self._calls)

    @property
    def stop_reason(self) -> StopReason:
        return self._stop_reason

    @property
    def kind(self) -> BlockKind:
        """What is being written now."""
        return self._emitter.open_block or "text"

    def take_new_calls(self) -> tuple[ToolCallRecord, ...]:
        """Calls that ended since the last time."""
        new = tuple(self._calls[self._new_calls :])
        self._new_calls = len(self._calls)
        return new

    # ------------------------------------------------------------------------------- events

    def hold_calls(self) -> None:
        """The client gets all at once, so a call can be mended to its last byte."""
        self._stream.hold()

    def start(self) -> list[StreamEvent]:
        return self._emitter.start(self._admission.usage)

    async def feed(self, delta: Delta | Parsed) -> list[StreamEvent]:
        """The events of one more piece of the model's output."""
        self.tokens += delta.tokens
        self._steps.append((len(self._written), self.tokens - delta.tokens, self._clock()))
        self._written += delta.text
        if isinstance(delta, Parsed):
            return await self._all(list(delta.segments))
        return await self._all(self._parser.feed(delta.text))

    async def drain(self) -> list[StreamEvent]:
        """The events of what is left once the model has written all."""
        return await self._all(self._parser.finish())

    async def restart(self) -> list[StreamEvent]:
        """The model begins anew at :attr:`resume`; what the client has of it isn't sent again."""
        assert self.resume is not None
        resume, self.resume = self.resume, None
        self._left = []
        self._parser = self._new_parser(None)
        self._written = resume.text + resume.call
        self._steps = [(0, self.tokens, self._clock())]
        self._opening = self._dialect.section if resume.inside and self._dialect else ""
        return await self._all(self._parser.feed(self._opening + resume.call))

    async def give_up(self, why: str = "") -> list[StreamEvent]:
        """Nothing is written anew: the call stays as it stands, and so does what follows it.

        ``why`` goes into the call's record, unless it is empty.
        """
        self.resume = None
        events = self._outputs(await self._stream.give_up(why))
        left, self._left = self._left, []
        return [*events, *await self._all(left)]

    def empty_delta(self) -> list[StreamEvent]:
        """A delta that says nothing, in whatever block is open."""
        match self._emitter.open_block:
            case "thinking":
                return self._emitter.thinking("", self._signature.hexdigest())
            case "tool_use":
                return self._emitter.tool_json("")
            case _:
                return self._emitter.text("")

    def finish(self, finish: Finish) -> list[StreamEvent]:
        """The last events, with the true usage and the reason it ended; after :meth:`drain`."""
        cut_off = self._unfinished and finish.reason == "length"
        if not cut_off and any(isinstance(block, ToolUseBlock) for block in self._content):
            self._stop_reason = "tool_use"
        elif finish.reason == "length":
            self._stop_reason = "max_tokens"
        elif finish.reason == "stop_sequence":
            self._stop_reason = "stop_sequence"
        sequence = finish.stop_sequence if self._stop_reason == "stop_sequence" else None
        return self._emitter.finish(self._stop_reason, sequence, finish.usage)

    def _new_parser(self, thinking: ThinkingMarkers | None) -> SegmentParser:
        if self._dialect is None:
            return FamilyParser((), thinking)
        return self._dialect.parser(self._canonical.callable_tools, thinking)

    async def _all(self, segments: list[Segment]) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for count, segment in enumerate(segments, 1):
            events += await self._segment(segment)
            if self.resume is not None:
                self._left = segments[count:]
                break
        return events

    async def _segment(self, segment: Segment) -> list[StreamEvent]:
        match segment:
            case TextPiece():
                return self._text(segment.text)
            case ThinkingPiece():
                return self._thinking(segment.text)
            case ThinkingEnd():
                return self._emitter.close_block()
            case CallOpen():
                self._stream.open(segment)
                return []
            case CallPiece():
                return self._outputs(self._stream.piece(segment))
            case CallClose():
                own = replace(segment, raw=self._own(segment.raw))
                return self._outputs(await self._stream.close(own))
            case CallBroken():
                broken = replace(segment, raw=self._own(segment.raw))
                return self._outputs(self._stream.broken(broken))
            case _:
                assert_never(segment)

    def _outputs(self, outputs: list[Output]) -> list[StreamEvent]:
        return [event for output in outputs for event in self._output(output)]

    def _output(self, output: Output) -> list[StreamEvent]:
        match output:
            case Begin():
                return self._emitter.tool_use(output.id, output.name)
            case Json():
                return self._emitter.tool_json(output.text)
            case End():
                self._content.append(output.use)
                self._calls.append(self._weighed(output.record))
                self._unfinished = output.unfinished
                return self._emitter.close_block()
            case Shown():
                self._calls.append(self._weighed(output.record))
                self._unfinished = output.unfinished
                return self._text(output.text)
            case Again():
                start = self._written.rfind(output.raw)
                self.resume = Resume(
                    self._written[:start], output.call, output.name, self._is_later(output.raw)
                )
                return []
            case _:
                assert_never(output)

    def _own(self, raw: str) -> str:
        """A call's text as the model wrote it."""
        opening, self._opening = self._opening, ""
        return raw.removeprefix(opening)

    def _is_later(self, raw: str) -> bool:
        """Whether a call stands in a section that an earlier one opened."""
        dialect = self._dialect
        return dialect is not None and bool(dialect.section) and not raw.startswith(dialect.start)

    def _weighed(self, record: ToolCallRecord) -> ToolCallRecord:
        """The record with the tokens and the time that the call took."""
        start = max(0, self._written.rfind(record.raw))
        at = bisect.bisect_right([chars for chars, _, _ in self._steps], start) - 1
        _, before, began = self._steps[max(0, at)]
        self._steps = self._steps[-1:]
        ms = (self._clock() - began) * 1000
        return replace(record, tokens=max(1, self.tokens - before), ms=ms)

    def _text(self, text: str) -> list[StreamEvent]:
        if self._content and isinstance(last := self._content[-1], TextBlock):
            self._content[-1] = TextBlock(last.text + text)
        else:
            self._content.append(TextBlock(text))
        return self._emitter.text(text)

    def _thinking(self, text: str) -> list[StreamEvent]:
        self._signature.update(text.encode("utf-8", "replace"))
        signature = self._signature.hexdigest()
        if self._content and isinstance(last := self._content[-1], ThinkingBlock):
            self._content[-1] = ThinkingBlock(last.thinking + text, signature)
        else:
            self._content.append(ThinkingBlock(text, signature))
        return self._emitter.thinking(text, signature)

    # ----------------------------------------------------------------------------- for the log

    def messages(self) -> tuple[StoredMessage, ...]:
        """The conversation with this turn, each body with its hash."""
        turns = [*self._canonical.request.messages, Message("assistant", self.content)]
        return tuple(stored(turn) for turn in turns)


def stored(message: Message) -> StoredMessage:
    """The message as the log keeps it."""
    body = json.dumps(
        [{"type": type(block).__name__, **asdict(block)} for block in message.content],
        ensure_ascii=False,
        separators=(",", ":"),
        default=str,
    )
    digest = hashlib.sha256(f"{message.role}\n{body}".encode("utf-8", "replace")).hexdigest()
    return StoredMessage(digest, message.role, body)
