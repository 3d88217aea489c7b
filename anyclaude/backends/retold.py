"""An answer of Anthropic's API, taken apart into the events of our own stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from anyclaude.backends.sse import SseReader
from anyclaude.errors import UpstreamError
from anyclaude.stream import (
    BlockDelta,
    BlockStart,
    BlockStop,
    MessageDelta,
    MessageStart,
    MessageStop,
    StreamError,
    StreamEvent,
)
from anyclaude.types import JsonValue, Usage

_Fields: TypeAlias = "Mapping[str, JsonValue]"


def retold(body: bytes, *, streams: bool, usage: Usage) -> list[StreamEvent]:
    """The answer's events; ``usage`` is the true one, as it was read in passing.

    What can't be read becomes an error event, so that nobody takes the rest for the whole.
    """
    try:
        return list(_stream(body, usage) if streams else _message(json.loads(body), usage))
    except (UpstreamError, ValueError, KeyError, TypeError, RecursionError):
        return [StreamError("api_error", "the answer can't be read")]


def _stream(body: bytes, usage: Usage) -> Iterator[StreamEvent]:
    for sse in SseReader("").feed(body):
        event = json.loads(sse.data)
        match event["type"]:
            case "message_start":
                message = event["message"]
                yield MessageStart(message["id"], message["model"], usage)
            case "content_block_start":
                yield BlockStart(event["index"], _whole_input(event["content_block"]))
            case "content_block_delta":
                yield BlockDelta(event["index"], event["delta"])
            case "content_block_stop":
                yield BlockStop(event["index"])
            case "message_delta":
                yield _end(event["delta"], usage)
            case "message_stop":
                yield MessageStop()
            case "error":
                yield StreamError("api_error", "")


def _message(message: _Fields, usage: Usage) -> Iterator[StreamEvent]:
    content = message["content"]
    if message["type"] != "message" or not isinstance(content, list):
        raise ValueError("no message")
    yield MessageStart(str(message["id"]), str(message["model"]), usage)
    for index, block in enumerate(content):
        yield BlockStart(index, _whole_input(block))
        if block["type"] == "tool_use":
            arguments = json.dumps(block["input"], ensure_ascii=False)
            yield BlockDelta(index, {"type": "input_json_delta", "partial_json": arguments})
        elif block["type"] == "thinking":
            signature = block.get("signature", "")
            yield BlockDelta(index, {"type": "signature_delta", "signature": signature})
        elif block.get("citations"):
            yield BlockDelta(index, {"type": "citations_delta"})
        yield BlockStop(index)
    yield _end(message, usage)
    yield MessageStop()


def _whole_input(block: _Fields) -> _Fields:
    """The block at its beginning: a call's arguments follow in deltas."""
    return {**block, "input": {}} if block["type"] == "tool_use" else block


def _end(fields: _Fields, usage: Usage) -> MessageDelta:
    sequence = fields.get("stop_sequence")
    return MessageDelta(
        str(fields["stop_reason"]), None if sequence is None else str(sequence), usage
    )
