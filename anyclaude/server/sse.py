"""Stream events as server-sent events: an ``event:`` line, a ``data:`` line, an empty line."""

from __future__ import annotations

from typing import assert_never

from anyclaude.server.wire import encode
from anyclaude.stream import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Comment,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    StreamError,
    StreamEvent,
    usage_json,
)
from anyclaude.types import JsonValue


def sse(event: StreamEvent, request_id: str) -> bytes:
    """The bytes of one event; ``request_id`` goes into an error."""
    if isinstance(event, Comment):
        return f": {' '.join(event.text.splitlines())}\n\n".encode()
    body = _body(event, request_id)
    return b"event: %s\ndata: %s\n\n" % (str(body["type"]).encode(), encode(body))


def _body(event: StreamEvent, request_id: str) -> dict[str, JsonValue]:
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
            raise TypeError("a comment has no body")
        case _:
            assert_never(event)


def error_json(error_type: str, message: str, request_id: str) -> dict[str, JsonValue]:
    """The API's error object, the same in a stream and as a body."""
    return {
        "type": "error",
        "error": {"type": error_type, "message": message},
        "request_id": request_id,
    }
