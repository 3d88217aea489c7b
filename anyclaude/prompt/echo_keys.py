"""Names under which generated turns are kept, and their packed form.

A turn with calls is found by the id of its first call, which is ours and random. A turn without
is found by its text and everything said before it. Model and session are part of every name.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import cast

from anyclaude.types import (
    Block,
    JsonObject,
    JsonValue,
    MediaBlock,
    Message,
    OpaqueBlock,
    TextBlock,
    ThinkingBlock,
    Tokens,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)


class Prefix:
    """A running digest of a conversation. Reasoning is left out: the client may drop it."""

    def __init__(self) -> None:
        self._digest = b""

    @property
    def digest(self) -> bytes:
        return self._digest

    def add(self, message: Message) -> None:
        form = _dump([message.role, *_forms(message.content)])
        self._digest = hashlib.sha256(self._digest + form).digest()


def turn_key(
    fingerprint: str, session: str, prefix: bytes, content: Sequence[Block]
) -> bytes | None:
    """The name of an assistant turn after ``prefix``; ``None`` when there is nothing to find."""
    for block in content:
        if isinstance(block, ToolUseBlock):
            return hashlib.sha256(_dump(["call", fingerprint, session, block.id])).digest()
    text = "".join(b.text for b in content if isinstance(b, TextBlock) and b.text.strip())
    if not text:
        return None
    return hashlib.sha256(_dump(["text", fingerprint, session, prefix.hex(), text])).digest()


def content_digest(content: Sequence[Block]) -> bytes:
    """A digest of the whole content, reasoning too."""
    thinking = [b.thinking for b in content if isinstance(b, ThinkingBlock)]
    return hashlib.sha256(_dump([_forms(content), thinking])).digest()


def pack_content(content: Sequence[Block]) -> bytes:
    """Text, reasoning and calls as compressed JSON; other blocks are never generated."""
    forms: list[JsonValue] = []
    for block in content:
        match block:
            case TextBlock():
                forms.append(["text", block.text])
            case ThinkingBlock():
                forms.append(["thinking", block.thinking, block.signature])
            case ToolUseBlock():
                forms.append(["use", block.id, block.name, block.input])
            case _:
                raise ValueError(f"a model does not generate {type(block).__name__}")
    return zlib.compress(_dump(forms), 1)


def unpack_content(packed: bytes) -> tuple[Block, ...]:
    """What :func:`pack_content` packed. Raises :class:`ValueError` on damage."""
    try:
        blocks: list[Block] = []
        for kind, *rest in json.loads(zlib.decompress(packed)):
            match kind, rest:
                case "text", [str() as text]:
                    blocks.append(TextBlock(text))
                case "thinking", [str() as thinking, str() as signature]:
                    blocks.append(ThinkingBlock(thinking, signature))
                case "use", [str() as id_, str() as name, dict() as input_]:
                    blocks.append(ToolUseBlock(id_, name, cast(JsonObject, input_)))
                case _:
                    raise ValueError(f"unknown block {kind!r}")
        return tuple(blocks)
    except (zlib.error, TypeError) as error:
        raise ValueError(str(error)) from error


def pack_tokens(tokens: Tokens) -> bytes:
    """Token ids as compressed little-endian 32-bit numbers."""
    return zlib.compress(struct.pack(f"<{len(tokens)}I", *tokens), 1)


def unpack_tokens(packed: bytes) -> Tokens:
    """What :func:`pack_tokens` packed. Raises :class:`ValueError` on damage."""
    try:
        raw = zlib.decompress(packed)
        return struct.unpack(f"<{len(raw) // 4}I", raw)
    except (zlib.error, struct.error) as error:
        raise ValueError(str(error)) from error


def _forms(content: Sequence[Block]) -> list[JsonValue]:
    return [_form(b) for b in content if not isinstance(b, ThinkingBlock)]


def _form(block: Block) -> JsonValue:
    match block:
        case TextBlock():
            return ["text", block.text]
        case ToolUseBlock():
            return ["use", block.id, block.name, block.input]
        case ToolResultBlock():
            content = [_form(b) for b in block.content]
            return ["result", block.tool_use_id, block.is_error, content]
        case MediaBlock():
            return ["media", block.kind, block.media_type, block.source, block.data]
        case ToolReferenceBlock():
            return ["reference", block.tool_name]
        case OpaqueBlock():
            return ["opaque", block.type, block.raw]
        case ThinkingBlock():
            return ["thinking", block.thinking]


def _dump(value: JsonValue) -> bytes:
    """One form for equal values; ASCII, since a model may write half a surrogate pair."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain).encode()


def _plain(value: object) -> dict[str, object]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
