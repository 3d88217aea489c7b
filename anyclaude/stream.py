"""The Anthropic stream as values, and the one place that keeps its grammar.

::

    message_start  ( ping | comment )*
    ( content_block_start  content_block_delta*  content_block_stop )*   index 0, 1, 2, …
    message_delta  message_stop          or, at any point, one error

:class:`Emitter` is the only maker of these events: it hands out block indices, closes what is
open before the next block starts, and refuses anything after the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from anyclaude.types import JsonObject, JsonValue, Usage


@dataclass(frozen=True, slots=True)
class MessageStart:
    id: str
    model: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class BlockStart:
    """``block`` is the wire form of the empty block, with its ``type``."""

    index: int
    block: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class BlockDelta:
    """``delta`` is the wire form, ``{"type": "text_delta", "text": …}`` and its like."""

    index: int
    delta: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class BlockStop:
    index: int


@dataclass(frozen=True, slots=True)
class MessageDelta:
    stop_reason: str
    stop_sequence: str | None
    usage: Usage


@dataclass(frozen=True, slots=True)
class MessageStop:
    pass


@dataclass(frozen=True, slots=True)
class Ping:
    pass


@dataclass(frozen=True, slots=True)
class Comment:
    """An SSE comment line; no part of the message."""

    text: str


@dataclass(frozen=True, slots=True)
class StreamError:
    """Ends the stream; ``type`` is Anthropic's error type."""

    type: str
    message: str


StreamEvent: TypeAlias = (
    MessageStart
    | BlockStart
    | BlockDelta
    | BlockStop
    | MessageDelta
    | MessageStop
    | Ping
    | Comment
    | StreamError
)

BlockKind: TypeAlias = Literal["text", "thinking", "tool_use"]
"""What a model writes."""

ServerBlockKind: TypeAlias = Literal["server_tool_use", "web_search_tool_result"]
"""What the server does by itself."""


_TEXT: Mapping[str, JsonValue] = {"type": "text", "text": ""}


class GrammarError(RuntimeError):
    """The emitter was driven out of order: a fault of ours, never of the client."""


class Emitter:
    """Turns segments into stream events in the only order the client accepts."""

    def __init__(self, message_id: str, model: str) -> None:
        self._id = message_id
        self._model = model
        self._state: Literal["new", "open", "ended"] = "new"
        self._kind: BlockKind | ServerBlockKind | None = None
        self._index = -1
        self._signature = ""

    @property
    def started(self) -> bool:
        return self._state != "new"

    @property
    def ended(self) -> bool:
        return self._state == "ended"

    @property
    def open_block(self) -> BlockKind | None:
        """The kind of the block that is open now, if a model writes it."""
        match self._kind:
            case "server_tool_use" | "web_search_tool_result":
                return None
            case kind:
                return kind

    @property
    def blocks(self) -> int:
        """How many blocks were opened so far."""
        return self._index + 1

    def start(self, usage: Usage) -> list[StreamEvent]:
        self._require("new")
        self._state = "open"
        return [MessageStart(self._id, self._model, usage)]

    def text(self, text: str) -> list[StreamEvent]:
        """A piece of text; an empty one opens a block all the same (keep-alive)."""
        return [*self._ensure("text", _TEXT), self._delta("text", text)]

    def thinking(self, text: str, signature: str) -> list[StreamEvent]:
        """A piece of reasoning; ``signature`` is sent when the block closes."""
        opened = self._ensure("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        self._signature = signature
        return [*opened, self._delta("thinking", text)]

    def tool_use(self, tool_use_id: str, name: str) -> list[StreamEvent]:
        """Opens a call; its arguments follow by :meth:`tool_json`."""
        block: dict[str, JsonValue] = {
            "type": "tool_use",
            "id": tool_use_id,
            "name": name,
            "input": {},
        }
        return [*self.close_block(), self._open("tool_use", block)]

    def server_tool_use(self, tool_use_id: str, name: str) -> list[StreamEvent]:
        """Opens a call that the server makes itself; its arguments follow as a call's do."""
        block: dict[str, JsonValue] = {
            "type": "server_tool_use",
            "id": tool_use_id,
            "name": name,
            "input": {},
        }
        return [*self.close_block(), self._open("server_tool_use", block)]

    def web_search_result(self, tool_use_id: str, content: JsonValue) -> list[StreamEvent]:
        """What a search came to, whole: a list of results, or an error object."""
        block: dict[str, JsonValue] = {
            "type": "web_search_tool_result",
            "tool_use_id": tool_use_id,
            "content": content,
        }
        return [*self.close_block(), self._open("web_search_tool_result", block)]

    def cited(self, text: str, citations: Sequence[JsonObject]) -> list[StreamEvent]:
        """A text block of its own, with where it is from."""
        block = {**_TEXT, "citations": []} if citations else _TEXT
        events = [*self.close_block(), self._open("text", block)]
        for citation in citations:
            delta: dict[str, JsonValue] = {"type": "citations_delta", "citation": citation}
            events.append(BlockDelta(self._index, delta))
        return [*events, self._delta("text", text), *self.close_block()]

    def tool_json(self, partial: str) -> list[StreamEvent]:
        if self._kind not in ("tool_use", "server_tool_use"):
            raise GrammarError("tool arguments outside a tool_use block")
        return [BlockDelta(self._index, {"type": "input_json_delta", "partial_json": partial})]

    def whole(self, block: Mapping[str, JsonValue]) -> list[StreamEvent]:
        """A block that is complete as it starts."""
        opened = [*self.close_block(), self._open(None, block)]
        return [*opened, BlockStop(self._index)]

    def close_block(self) -> list[StreamEvent]:
        """Ends the open block, if there is one."""
        self._require("open")
        if self._kind is None:
            return []
        events: list[StreamEvent] = []
        if self._kind == "thinking":
            events.append(
                BlockDelta(self._index, {"type": "signature_delta", "signature": self._signature})
            )
        self._kind = None
        return [*events, BlockStop(self._index)]

    def finish(
        self, stop_reason: str, stop_sequence: str | None, usage: Usage
    ) -> list[StreamEvent]:
        events = self.close_block()
        self._state = "ended"
        return [*events, MessageDelta(stop_reason, stop_sequence, usage), MessageStop()]

    def fail(self, error_type: str, message: str) -> list[StreamEvent]:
        """Ends a started stream with its one error event."""
        self._require("open")
        self._state = "ended"
        self._kind = None
        return [StreamError(error_type, message)]

    def _ensure(self, kind: BlockKind, block: Mapping[str, JsonValue]) -> list[StreamEvent]:
        self._require("open")
        if self._kind == kind:
            return []
        return [*self.close_block(), self._open(kind, block)]

    def _open(
        self, kind: BlockKind | ServerBlockKind | None, block: Mapping[str, JsonValue]
    ) -> StreamEvent:
        self._index += 1
        self._kind = kind
        return BlockStart(self._index, block)

    def _delta(self, kind: Literal["text", "thinking"], text: str) -> StreamEvent:
        return BlockDelta(self._index, {"type": f"{kind}_delta", kind: text})

    def _require(self, state: Literal["new", "open"]) -> None:
        if self._state != state:
            raise GrammarError(f"the stream is {self._state}, not {state}")


class MessageBuilder:
    """Puts stream events together to the ``stream: false`` body that says the same."""

    def __init__(self) -> None:
        self._start: MessageStart | None = None
        self._end: MessageDelta | None = None
        self._blocks: dict[int, dict[str, JsonValue]] = {}
        self._pieces: dict[int, list[str]] = {}
        self._cited: dict[int, list[JsonValue]] = {}

    def add(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            match event:
                case MessageStart():
                    self._start = event
                case BlockStart():
                    self._blocks[event.index] = dict(event.block)
                    self._pieces[event.index] = []
                case BlockDelta():
                    self._delta(event)
                case MessageDelta():
                    self._end = event

    def _delta(self, event: BlockDelta) -> None:
        delta = event.delta
        if delta["type"] == "signature_delta":
            self._blocks[event.index]["signature"] = delta["signature"]
        elif delta["type"] == "citations_delta":
            self._cited.setdefault(event.index, []).append(delta["citation"])
        else:
            self._pieces[event.index].append(str(delta[_PIECES[str(delta["type"])]]))

    def message(self) -> dict[str, JsonValue]:
        """The body; raises :class:`GrammarError` when the events had no start or no end."""
        if self._start is None or self._end is None:
            raise GrammarError("the stream has no start or no end")
        content = [self._block(index) for index in self._blocks]
        return {
            "id": self._start.id,
            "type": "message",
            "role": "assistant",
            "model": self._start.model,
            "content": [b for b in content if b["type"] != "text" or b["text"]],
            "stop_reason": self._end.stop_reason,
            "stop_sequence": self._end.stop_sequence,
            "usage": usage_json(self._end.usage),
        }

    def _block(self, index: int) -> dict[str, JsonValue]:
        block, text = self._blocks[index], "".join(self._pieces[index])
        match block["type"]:
            case "tool_use" | "server_tool_use":
                return _call_block(block, text)
            case "text" if index in self._cited:
                return {**block, "text": text, "citations": self._cited[index]}
            case "text" | "thinking" as kind:
                return {**block, str(kind): text}
            case _:
                return block


def _call_block(block: dict[str, JsonValue], text: str) -> dict[str, JsonValue]:
    """A call; one that was cut off becomes text, for nothing may run half of it."""
    try:
        return {**block, "input": json.loads(text)} if text else block
    except ValueError:
        return {"type": "text", "text": f"{block['name']} {text}"}


_PIECES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def message_of(events: Iterable[StreamEvent]) -> dict[str, JsonValue]:
    """The body of a complete list of events; raises :class:`GrammarError` like the builder."""
    builder = MessageBuilder()
    builder.add(events)
    return builder.message()


def event_json(event: StreamEvent, request_id: str) -> dict[str, JsonValue]:
    """An event in its wire form; ``request_id`` goes into an error."""
    match event:
        case MessageStart():
            return {
                "type": "message_start",
                "message": {
                    "id": event.id,
                    "type": "message",
                    "role": "assistant",
                    "model": event.model,
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": usage_json(event.usage),
                },
            }
        case BlockStart():
            return {
                "type": "content_block_start",
                "index": event.index,
                "content_block": event.block,
            }
        case BlockDelta():
            return {"type": "content_block_delta", "index": event.index, "delta": event.delta}
        case BlockStop():
            return {"type": "content_block_stop", "index": event.index}
        case MessageDelta():
            return {
                "type": "message_delta",
                "delta": {
                    "stop_reason": event.stop_reason,
                    "stop_sequence": event.stop_sequence,
                },
                "usage": usage_json(event.usage),
            }
        case MessageStop():
            return {"type": "message_stop"}
        case Ping():
            return {"type": "ping"}
        case StreamError():
            return error_json(event.type, event.message, request_id)
        case Comment():
            return {"type": "comment", "text": event.text}
        case _:
            assert_never(event)


def error_json(error_type: str, message: str, request_id: str) -> dict[str, JsonValue]:
    """The API's error object, the same in a stream and as a body."""
    return {
        "type": "error",
        "error": {"type": error_type, "message": message},
        "request_id": request_id,
    }


def usage_json(usage: Usage) -> dict[str, JsonValue]:
    """The wire form of a usage object."""
    counts: dict[str, JsonValue] = {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.web_searches:
        counts["server_tool_use"] = {"web_search_requests": usage.web_searches}
    return counts
