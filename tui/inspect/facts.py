"""What a request's body says that no column of its row does: sizes, tools, tool results.

Read once per request and away from the event loop, since a body may have megabytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from anyclaude.records import RequestDetail
from anyclaude.types import JsonValue
from tui import format as f

_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "stop_sequences",
    "thinking",
    "tool_choice",
)
_SAID = 2_000  # characters kept of what the client said to a call
_TAIL = 2_000  # characters; a template adds far less behind the last message
_PLACE = 200


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a prompt: its size in characters, and of how many pieces it is made."""

    name: str
    chars: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What the client answered a tool call with."""

    text: str
    chars: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """``said`` has the results that this request brought, by the id of their call."""

    sampling: tuple[tuple[str, str], ...] = ()
    tools: tuple[str, ...] = ()
    deferred: int = 0
    messages: int = 0
    sections: tuple[Section, ...] = ()
    said: Mapping[str, Said] = field(default_factory=dict)


def facts_of(detail: RequestDetail) -> Facts:
    """Reads the body; what it doesn't have, or has in another form, is left out."""
    body = parsed(detail.body)
    if not isinstance(body, Mapping):
        return Facts()
    tools, messages = _objects(body.get("tools")), _objects(body.get("messages"))
    asked = tuple((key, _short(body[key])) for key in _SAMPLING if key in body)
    return Facts(
        asked,
        tuple(f.one_line(str(tool.get("name", "?"))) for tool in tools),
        sum(bool(tool.get("defer_loading")) for tool in tools),
        len(messages),
        tuple(_sections(body, tools, messages, detail.prompt)),
        dict(_results(messages)),
    )


def parsed(text: str) -> JsonValue:
    """JSON as a value, ``None`` for what is none."""
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def block_text(block: Mapping[str, JsonValue]) -> str:
    """The text a block holds; of a kind without text, its JSON."""
    match block.get("type"):
        case "text" | "thinking" as kind:
            return str(block.get(str(kind), ""))
        case "tool_result":
            return "\n".join(block_text(part) for part in _blocks(block.get("content")))
        case _:
            return _dumped(block)


def body_text(body: Mapping[str, JsonValue]) -> str:
    """System prompt and messages as text, for a request whose rendered prompt wasn't kept."""
    parts = ["── system", *(block_text(b) for b in _blocks(body.get("system")))]
    parts = parts if len(parts) > 1 else []
    for index, message in enumerate(_objects(body.get("messages"))):
        parts.append(f"── {index} {message.get('role', '?')}")
        for block in _blocks(message.get("content")):
            kind = str(block.get("type", ""))
            parts += [] if kind == "text" else [f"[{kind}]"]
            parts.append(block_text(block))
    return "\n".join(parts)


def _sections(
    body: Mapping[str, JsonValue],
    tools: Sequence[Mapping[str, JsonValue]],
    messages: Sequence[Mapping[str, JsonValue]],
    prompt: str,
) -> Iterator[Section]:
    system = _blocks(body.get("system"))
    if system:
        yield Section("system", sum(len(block_text(block)) for block in system))
    if tools:
        size = sum(len(_dumped(tool)) for tool in tools)
        yield Section("tools", size, f"{len(tools)} tools")
    texts = [[block_text(b) for b in _blocks(m.get("content"))] for m in messages]
    if messages:
        noun = "message" if len(messages) == 1 else "messages"
        size = sum(len(text) for blocks in texts for text in blocks)
        yield Section("messages", size, f"{len(messages)} {noun}")
    last = texts[-1][-1].strip() if texts and texts[-1] else ""
    place = prompt.rfind(last[-_PLACE:]) if last else -1
    tail = len(prompt) - place - len(last[-_PLACE:])
    if place >= 0 and 0 < tail <= _TAIL:
        yield Section("tail", tail, "template")


def _results(messages: Sequence[Mapping[str, JsonValue]]) -> Iterator[tuple[str, Said]]:
    for message in messages:
        for block in _blocks(message.get("content")):
            if block.get("type") == "tool_result":
                text = block_text(block)
                failed = bool(block.get("is_error"))
                said = Said(f.one_line(text[:_SAID]), len(text), failed)
                yield str(block.get("tool_use_id", "")), said


def _blocks(content: JsonValue) -> list[Mapping[str, JsonValue]]:
    """Content as blocks, whichever of its two forms it has."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return _objects(content)


def _objects(value: JsonValue) -> list[Mapping[str, JsonValue]]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return []
    return [item for item in value if isinstance(item, Mapping)]


def _short(value: JsonValue) -> str:
    """A setting in few words: of an object its values."""
    if isinstance(value, Mapping):
        return " ".join(_short(item) for item in value.values())
    return value if isinstance(value, str) else json.dumps(value)


def _dumped(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
