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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from anyclaude.types import JsonValue, Usage


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


class GrammarError(RuntimeError):
    """The emitter was driven out of order: a fault of ours, never of the client."""


class Emitter:
    """Turns segments into stream events in the only order the client accepts."""

    def __init__(self, message_id: str, model: str) -> None:
        self._id = message_id
        self._model = model
        self._state: Literal["new", "open", "ended"] = "new"
        self._kind: BlockKind | None = None
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
        """The kind of the block that is open now."""
        return self._kind

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
        return [*self._ensure("text", {"type": "text", "text": ""}), self._delta("text", text)]

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

    def tool_json(self, partial: str) -> list[StreamEvent]:
        if self._kind != "tool_use":
            raise GrammarError("tool arguments outside a tool_use block")
        return [BlockDelta(self._index, {"type": "input_json_delta", "partial_json": partial})]

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

    def _ensure(self, kind: BlockKind, block: dict[str, JsonValue]) -> list[StreamEvent]:
        self._require("open")
        if self._kind == kind:
            return []
        return [*self.close_block(), self._open(kind, block)]

    def _open(self, kind: BlockKind, block: dict[str, JsonValue]) -> StreamEvent:
        self._index += 1
        self._kind = kind
        return BlockStart(self._index, block)

    def _delta(self, kind: Literal["text", "thinking"], text: str) -> StreamEvent:
        return BlockDelta(self._index, {"type": f"{kind}_delta", kind: text})

    def _require(self, state: Literal["new", "open"]) -> None:
        if self._state != state:
            raise GrammarError(f"the stream is {self._state}, not {state}")


def message_of(events: list[StreamEvent]) -> dict[str, JsonValue]:
    """The ``stream: false`` body that says the same as a complete list of events.

    Raises :class:`GrammarError` when the list has no start or no end.
    """
    start = next((e for e in events if isinstance(e, MessageStart)), None)
    end = next((e for e in events if isinstance(e, MessageDelta)), None)
    if start is None or end is None:
        raise GrammarError("the stream has no start or no end")
    blocks: dict[int, dict[str, JsonValue]] = {}
    partial: dict[int, str] = {}
    for event in events:
        if isinstance(event, BlockStart):
            blocks[event.index] = dict(event.block)
            partial[event.index] = ""
        elif isinstance(event, BlockDelta):
            block, delta = blocks[event.index], event.delta
            match delta["type"]:
                case "text_delta":
                    block["text"] = f"{block['text']}{delta['text']}"
                case "thinking_delta":
                    block["thinking"] = f"{block['thinking']}{delta['thinking']}"
                case "signature_delta":
                    block["signature"] = delta["signature"]
                case "input_json_delta":
                    partial[event.index] += str(delta["partial_json"])
    for index, text in partial.items():
        if text:
            blocks[index]["input"] = json.loads(text)
    content = [b for b in blocks.values() if b["type"] != "text" or b["text"]]
    return {
        "id": start.id,
        "type": "message",
        "role": "assistant",
        "model": start.model,
        "content": content,
        "stop_reason": end.stop_reason,
        "stop_sequence": end.stop_sequence,
        "usage": usage_json(end.usage),
    }


def usage_json(usage: Usage) -> dict[str, JsonValue]:
    """The wire form of a usage object."""
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    }
