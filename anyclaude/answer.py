"""From the model's text to content blocks: what is text, thinking or a call, and its events."""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
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
from anyclaude.prompt.server_calls import RESULT, USE, result_block, shown, unroll, use_block
from anyclaude.records import StoredMessage, ToolCallRecord
from anyclaude.server_tools import ServerResult
from anyclaude.stream import BlockKind, Emitter, StreamEvent
from anyclaude.tools.call_stream import Again, Begin, CallStream, End, Json, Output, Shown
from anyclaude.tools.families.base import FamilyParser
from anyclaude.types import (
    Block,
    JsonObject,
    Message,
    OpaqueBlock,
    StopReason,
    TextBlock,
    ThinkingBlock,
    ThinkingMarkers,
    ToolUseBlock,
)


@dataclass(frozen=True, slots=True)
class Pending:
    """A call that is to run here; one with a ``fault`` is answered with that instead."""

    use: ToolUseBlock
    fault: str = ""


class Answer:
    """One assistant turn in the making."""

    def __init__(
        self,
        canonical: Canonical,
        admission: Admission,
        calls: CallStream,
        new_id: Callable[[str], str],
        clock: Callable[[], float],
        ours: Collection[str] = (),
    ) -> None:
        """``ours`` are tools whose calls run here."""
        self._clock = clock
        self._ours = ours
        self._emitter = Emitter(new_id("msg_"), canonical.request.model)
        self._signature = hashlib.sha256(b"anyclaude thinking")
        self._calls: list[ToolCallRecord] = []
        self._new_calls = 0
        self._rolled: list[Block] = []
        """The rounds before this one, as :mod:`anyclaude.prompt.server_calls` has them."""
        self._held = False
        self.tokens = 0
        self._begin(canonical, admission, calls)

    def _begin(self, canonical: Canonical, admission: Admission, calls: CallStream) -> None:
        self._canonical = canonical
        self._admission = admission
        request = canonical.request
        offered = bool(canonical.callable_tools) and request.tool_choice.mode != "none"
        self._dialect = admission.dialect if offered else None
        self._parser = self._new_parser(admission.thinking)
        self._stream = calls
        self._steps: list[tuple[int, int, float]] = []
        """Characters, tokens and time before each piece since the last call."""
        self._written = ""
        """The model's own text so far."""
        self._content: list[Block] = []
        self._pending: list[Pending] = []
        self._results: list[Block] = []
        self._here = False
        """The call that is being written runs here."""
        self._stop_reason: StopReason = "end_turn"
        self._unfinished = False
        self._left: list[Segment] = []
        """What was read behind the call that is to be written anew."""
        self._opening = ""
        """The opening of a section of calls that a parser was told of, and the model not."""
        self._written_before = self.tokens
        self.resume: Resume | None = None
        """Set when a call is to be written anew: nothing more is taken in until it is."""

    @property
    def content(self) -> tuple[Block, ...]:
        """The blocks that the model wrote, as the client got them; of this round alone.

        The client's calls come last where others ran here, for so it sends them back.
        """
        if not (self._pending or self._results):
            return tuple(self._content)
        theirs = [b for b in self._content if isinstance(b, ToolUseBlock) and not self._is_ours(b)]
        return (*(b for b in self._content if b not in theirs), *theirs)

    @property
    def round_tokens(self) -> int:
        """Those of this round alone."""
        return self.tokens - self._written_before

    @property
    def pending(self) -> tuple[Pending, ...]:
        """Calls of this round that run here, and aren't answered yet."""
        return tuple(self._pending)

    @property
    def rolled(self) -> tuple[Block, ...]:
        """The answer so far as blocks that :func:`~anyclaude.prompt.server_calls.unroll` takes."""
        return (*self._rolled, *map(self._roll, self._content), *self._results)

    @property
    def calls_client(self) -> bool:
        """Whether the client has a call of this round to run."""
        uses = (b for b in self._content if isinstance(b, ToolUseBlock))
        return any(not self._is_ours(use) for use in uses)

    @property
    def calls(self) -> tuple[ToolCallRecord, ...]:
        return tuple(self._calls)

    @property
    def stop_reason(self) -> StopReason:
        return self._stop_reason

    @property
    def kind(self) -> BlockKind:
        """What is being written now."""
        return "tool_use" if self._here else self._emitter.open_block or "text"

    def take_new_calls(self) -> tuple[ToolCallRecord, ...]:
        """Calls that ended since the last time."""
        new = tuple(self._calls[self._new_calls :])
        self._new_calls = len(self._calls)
        return new

    # ------------------------------------------------------------------------------- events

    def hold_calls(self) -> None:
        """The client gets all at once, so a call can be mended to its last byte."""
        self._held = True
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

    def answered(self, call: Pending, result: ServerResult) -> list[StreamEvent]:
        """A pending call has run."""
        self._pending.remove(call)
        block = result_block(call.use, result.text, result.is_error)
        self._results.append(OpaqueBlock(RESULT, block))
        return self._whole(block)

    def go_on(
        self, canonical: Canonical, admission: Admission, calls: CallStream
    ) -> list[StreamEvent]:
        """The next round begins: its prompt has the results of this one."""
        self._rolled = list(self.rolled)
        self._begin(canonical, admission, calls)
        if self._held:
            calls.hold()
        return self._emitter.close_block()

    def say(self, text: str) -> list[StreamEvent]:
        """A line of ours to the person, which the model never wrote."""
        return [
            *self._emitter.close_block(),
            *self._emitter.text(text),
            *self._emitter.close_block(),
        ]

    def finish(self, finish: Finish) -> list[StreamEvent]:
        """The last events, with the true usage and the reason it ended; after :meth:`drain`."""
        cut_off = self._unfinished and finish.reason == "length"
        if not cut_off and self.calls_client:
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
            case Begin() if output.name in self._ours:
                self._here = True
                return []
            case Json() if self._here:
                return []
            case Begin():
                return self._emitter.tool_use(output.id, output.name)
            case Json():
                return self._emitter.tool_json(output.text)
            case End():
                self._content.append(output.use)
                self._calls.append(self._weighed(output.record))
                self._unfinished = output.unfinished
                self._here = False
                if self._is_ours(output.use):
                    self._pending.append(Pending(output.use, _fault(output.record)))
                    return self._whole(use_block(output.use))
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

    def _whole(self, block: JsonObject) -> list[StreamEvent]:
        """A block about a call that runs here, and the line that says it to a person."""
        return [*self.say(shown(block)), *self._emitter.whole(block)]

    def _roll(self, block: Block) -> Block:
        if isinstance(block, ToolUseBlock) and self._is_ours(block):
            return OpaqueBlock(USE, use_block(block))
        return block

    def _is_ours(self, use: ToolUseBlock) -> bool:
        return use.name in self._ours

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
        if self._results:
            turns.append(Message("user", unroll(self.rolled).results))
        return tuple(stored(turn) for turn in turns)


def _fault(record: ToolCallRecord) -> str:
    """Why a call can't run: its arguments aren't what the tool takes."""
    if record.verdict not in ("failed", "unparsed"):
        return ""
    issues = "; ".join(issue.text for issue in record.issues)
    return f"The call was not run, for its arguments don't fit the tool's schema: {issues}"


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
