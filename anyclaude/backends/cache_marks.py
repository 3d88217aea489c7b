"""``cache_control`` marks for clients that set none of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from anyclaude import fastjson

MAX_MARKS = 4  # Anthropic refuses more

_Json: TypeAlias = "dict[str, _Json] | list[_Json] | str | int | float | bool | None"
_Block: TypeAlias = dict[str, _Json]


@dataclass(frozen=True, slots=True)
class CacheMarks:
    """Where to set marks: after the system prompt, and after the last ``user_turns`` user turns.

    At most four are set; ``ttl`` is how long the prefix is to be kept, the API's default unless
    given.
    """

    system: bool = False
    user_turns: int = 0
    ttl: Literal["", "5m", "1h"] = ""


def add_marks(body: bytes, marks: CacheMarks) -> bytes:
    """``body`` with the marks, encoded anew.

    ``body`` itself when there is nothing to mark, when it isn't a request, and when the client set
    a mark anywhere.
    """
    if not marks.system and not marks.user_turns:
        return body
    try:
        request = cast(_Json, fastjson.loads(body))
    except (ValueError, RecursionError):
        return body
    if not isinstance(request, dict) or _marked(request):
        return body
    mark: _Block = {"type": "ephemeral"}
    if marks.ttl:
        mark["ttl"] = marks.ttl
    left = MAX_MARKS
    if marks.system and _mark_content(request, "system", mark):
        left -= 1
    left -= _mark_turns(request.get("messages"), min(marks.user_turns, left), mark)
    if left == MAX_MARKS:
        return body
    return fastjson.dumps(request)


def _mark_turns(messages: _Json, turns: int, mark: _Block) -> int:
    """Marks the last so many user turns that can be marked; how many it were."""
    done = 0
    for message in reversed(messages if isinstance(messages, list) else []):
        if done == turns:
            break
        if isinstance(message, dict) and message.get("role") == "user":
            done += _mark_content(message, "content", mark)
    return done


def _mark_content(holder: _Block, key: str, mark: _Block) -> bool:
    """Marks the last block under ``key`` that may carry one."""
    content = holder.get(key)
    if isinstance(content, str):
        if not content.strip():
            return False
        holder[key] = [{"type": "text", "text": content, "cache_control": mark}]
        return True
    for block in reversed(content if isinstance(content, list) else []):
        if isinstance(block, dict) and _markable(block):
            block["cache_control"] = mark
            return True
    return False


def _markable(block: _Block) -> bool:
    match block.get("type"):
        case "text":
            text = block.get("text")
            return isinstance(text, str) and bool(text.strip())
        case "image" | "document" | "tool_result":
            return True
        case _:
            return False


def _marked(request: _Block) -> bool:
    return any(block.get("cache_control") is not None for block in _blocks(request))


def _blocks(request: _Block) -> Iterator[_Block]:
    """Everything that a client may mark: the request, its tools, and blocks at any depth."""
    yield request
    for key in ("tools", "system", "messages"):
        yield from _nested(request.get(key))


def _nested(value: _Json) -> Iterator[_Block]:
    for block in value if isinstance(value, list) else []:
        if isinstance(block, dict):
            yield block
            yield from _nested(block.get("content"))
            source = block.get("source")
            if isinstance(source, dict):
                yield from _nested(source.get("content"))
