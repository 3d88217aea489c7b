"""``cache_control`` marks for clients that set none of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from anyclaude import fastjson
from anyclaude.types import JsonObject, JsonValue

MAX_MARKS = 4  # Anthropic refuses more


@dataclass(frozen=True, slots=True)
class CacheMarks:
    """Where to set marks: after the system prompt, and after the last ``user_turns`` user turns.

    At most four are set; ``ttl`` is how long the prefix is to be kept, the API's default unless
    given.
    """

    system: bool = False
    user_turns: int = 0
    ttl: Literal["", "5m", "1h"] = ""


def add_marks(body: bytes, marks: CacheMarks, payload: JsonValue = None) -> bytes:
    """``body`` with the marks, encoded anew; ``payload`` is it as values, if somebody has read it.

    ``body`` itself when there is nothing to mark, when it isn't a request, and when the client set
    a mark anywhere.
    """
    if not marks.system and not marks.user_turns:
        return body
    if payload is None:
        try:
            payload = fastjson.loads(body)
        except (ValueError, RecursionError):
            return body
    if not isinstance(payload, dict) or _marked(payload):
        return body
    mark: JsonObject = {"type": "ephemeral"}
    if marks.ttl:
        mark = {**mark, "ttl": marks.ttl}
    changed: dict[str, JsonValue] = {}
    left = MAX_MARKS
    if marks.system and (system := _with_mark(payload.get("system"), mark)) is not None:
        changed["system"] = system
        left -= 1
    turns = _with_marks(payload.get("messages"), min(marks.user_turns, left), mark)
    if turns is not None:
        changed["messages"] = turns
    return fastjson.dumps({**payload, **changed}) if changed else body


def _with_marks(messages: JsonValue, turns: int, mark: JsonObject) -> JsonValue:
    """``messages`` with the last so many user turns marked that can be; ``None`` if none can."""
    if not isinstance(messages, list):
        return None
    marked, left = list(messages), turns
    for at in reversed(range(len(marked))):
        message = marked[at]
        if not left:
            break
        if isinstance(message, dict) and message.get("role") == "user":
            content = _with_mark(message.get("content"), mark)
            if content is not None:
                marked[at] = {**message, "content": content}
                left -= 1
    return marked if left < turns else None


def _with_mark(content: JsonValue, mark: JsonObject) -> JsonValue:
    """``content`` with its last block marked that may carry one; ``None`` if none may."""
    if isinstance(content, str) and content.strip():
        return [{"type": "text", "text": content, "cache_control": mark}]
    if not isinstance(content, list):
        return None
    for at in reversed(range(len(content))):
        block = content[at]
        if isinstance(block, dict) and _markable(block):
            return [*content[:at], {**block, "cache_control": mark}, *content[at + 1 :]]
    return None


def _markable(block: JsonObject) -> bool:
    match block.get("type"):
        case "text":
            text = block.get("text")
            return isinstance(text, str) and bool(text.strip())
        case "image" | "document" | "tool_result":
            return True
        case _:
            return False


def _marked(request: JsonObject) -> bool:
    return any(block.get("cache_control") is not None for block in _blocks(request))


def _blocks(request: JsonObject) -> Iterator[JsonObject]:
    """Everything that a client may mark: the request, its tools, and blocks at any depth."""
    yield request
    for key in ("tools", "system", "messages"):
        yield from _nested(request.get(key))


def _nested(value: JsonValue) -> Iterator[JsonObject]:
    for block in value if isinstance(value, list) else []:
        if isinstance(block, dict):
            yield block
            yield from _nested(block.get("content"))
            source = block.get("source")
            if isinstance(source, dict):
                yield from _nested(source.get("content"))
