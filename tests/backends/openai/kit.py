"""What the tests of this package share: requests, and answers read as a client reads them."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message as SdkMessage

from anyclaude.answer import Answer
from anyclaude.backend import Admission, BackendEvent, BackendRequest, Delta, Finish, Parsed
from anyclaude.backends.openai.chunks import read_chunk
from anyclaude.backends.openai.decode import Decoder, outcome, shown
from anyclaude.backends.openai.names import Names
from anyclaude.backends.openai.profiles import PROFILES
from anyclaude.backends.openai.request import Converted, Learned, Target, convert
from anyclaude.dialect import CallClose, CallOpen, CallPiece, Segment, TextPiece, ThinkingPiece
from anyclaude.prompt.canonical import canonicalise
from anyclaude.stream import Comment, StreamEvent, event_json
from anyclaude.tools.desk import ToolDesk, ToolOptions
from anyclaude.types import (
    Block,
    Message,
    MessagesRequest,
    Role,
    TextBlock,
    ThinkingBlock,
    ToolDefinition,
    ToolUseBlock,
    Usage,
)

BASH = ToolDefinition(
    "Bash",
    "Runs a command",
    {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
)
READ = ToolDefinition(
    "Read",
    "Reads a file",
    {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)


def user(*content: Block | str) -> Message:
    return Message("user", _blocks(content))


def assistant(*content: Block | str) -> Message:
    return Message("assistant", _blocks(content))


def system(*content: Block | str) -> Message:
    return Message("system", _blocks(content))


def _blocks(content: Iterable[Block | str]) -> tuple[Block, ...]:
    return tuple(TextBlock(block) if isinstance(block, str) else block for block in content)


def ask(*messages: Message, **fields: Any) -> MessagesRequest:
    return MessagesRequest("claude-x", fields.pop("max_tokens", 100), messages, **fields)


def backend_request(request: MessagesRequest, model: str = "m", **fields: Any) -> BackendRequest:
    return BackendRequest("req_1", request, Role.MAIN, "session", model=model, **fields)


def converted(
    request: MessagesRequest,
    profile: str = "generic",
    *,
    own: Iterable[str] = (),
    learned: Learned | None = None,
    tools: tuple[ToolDefinition, ...] = (),
    **target: Any,
) -> Converted:
    """``own`` are the texts of thinking blocks that the model wrote itself."""
    mine = set(own)

    def is_own(block: ThinkingBlock) -> bool:
        return block.thinking in mine

    return convert(
        request,
        Target(
            PROFILES[profile],
            "m",
            tools or request.tools,
            is_own,
            lambda characters, images: characters // 4 + images * 1000,
            learned=learned or Learned(),
            **target,
        ),
    )


def messages(request: MessagesRequest, profile: str = "generic", **more: Any) -> list[Any]:
    body: dict[str, Any] = json.loads(json.dumps(converted(request, profile, **more).body))
    found: list[Any] = body["messages"]
    return found


def decoder(
    names: Sequence[str] = ("Bash", "Read"), thoughts: list[str] | None = None, **options: Any
) -> Decoder:
    thought = (lambda text: None) if thoughts is None else thoughts.append
    return Decoder(Names(names), thought, **{"think_tags": True, **options})


def decoded(*values: object, **options: Any) -> list[Segment]:
    """The segments of chunks, neighbouring pieces of a kind joined."""
    reader = decoder(**options)
    segments = [s for value in values for s in reader.feed(read_chunk(value))]  # type: ignore[arg-type]
    return joined([*segments, *reader.finish()])


def joined(segments: Iterable[Segment]) -> list[Segment]:
    out: list[Segment] = []
    for segment in segments:
        last = out[-1] if out else None
        match last, segment:
            case TextPiece(a), TextPiece(b):
                out[-1] = TextPiece(a + b)
            case ThinkingPiece(a), ThinkingPiece(b):
                out[-1] = ThinkingPiece(a + b)
            case CallPiece(a), CallPiece(b):
                out[-1] = CallPiece(a + b)
            case _:
                out.append(segment)
    return out


def one_call(name: str, arguments: str, complete: bool = True, before: str = "") -> list[Segment]:
    raw = f"{name} {arguments}"
    return [CallOpen(name), CallPiece(arguments), CallClose(raw, complete, before)]


class Reader:
    """The Anthropic SDK's accumulator over the events of one answer, as they would be sent."""

    def __init__(self, request: MessagesRequest, admission: Admission | None = None) -> None:
        numbers = itertools.count()

        def new_id(prefix: str) -> str:
            return f"{prefix}{next(numbers)}"

        canonical = canonicalise(request)
        tools = ToolDesk(ToolOptions()).calls("req_1", canonical.callable_tools, new_id)
        self._snapshot: Any = None
        self._buffers: dict[int, bytes] = {}
        admission = admission or Admission("up", "m", Usage(10), None, estimated=True)
        self.answer = Answer(canonical, admission, tools, new_id, lambda: 0.0)
        self._take(self.answer.start())

    async def feed(self, event: BackendEvent) -> None:
        match event:
            case Parsed() | Delta():
                self._take(await self.answer.feed(event))
            case Finish():
                self._take(await self.answer.drain())
                self._take(self.answer.finish(event))

    def _take(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            if not isinstance(event, Comment):
                self._snapshot = accumulate_event(
                    event=event_json(event, "req_1"),  # type: ignore[arg-type]
                    current_snapshot=self._snapshot,
                    json_bufs=self._buffers,
                )

    @property
    def message(self) -> SdkMessage:
        message: SdkMessage = self._snapshot
        return message


async def read(request: MessagesRequest, events: AsyncIterator[BackendEvent]) -> SdkMessage:
    reader = Reader(request)
    async for event in events:
        await reader.feed(event)
    return reader.message


async def blocks_of(request: MessagesRequest, *values: object, **options: Any) -> tuple[Block, ...]:
    """What an answer's chunks become in the end."""
    reader, source = decoder(**options), Reader(request)
    for value in values:
        segments = tuple(reader.feed(read_chunk(value)))  # type: ignore[arg-type]
        await source.feed(Parsed(segments, shown(segments), 1))
    rest = tuple(reader.finish())
    await source.feed(Parsed(rest, shown(rest), 0))
    reason = outcome(reader.finish_reason, reader.stop)
    await source.feed(Finish(reason, Usage(10, output_tokens=3)))
    return source.answer.content


def without_ids(blocks: Iterable[Block]) -> list[object]:
    return [
        (block.name, dict(block.input)) if isinstance(block, ToolUseBlock) else block
        for block in blocks
    ]
