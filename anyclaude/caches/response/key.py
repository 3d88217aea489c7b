"""The name of an answer: a hash over everything that changes it, and over nothing that doesn't.

In it: who answers (backend, what identifies it, model, weights, the version of the adapter that
writes its requests), system, tools, messages, sampling, ``max_tokens``, stop sequences, thinking,
tool choice and output schema. Not in it: the stream flag, metadata, cache marks, the name that the
client calls the model by. The order of keys in a JSON object doesn't count, that of tools, messages
and blocks does. Every field is written with its length before it, so that no two requests have
the same bytes; nothing of it depends on the process or on Python's version.

Ids of tool calls only say which result belongs to which call, and servers draw them at random:
two conversations that differ in nothing else may have each other's answers. So they count by the
order in which they come up, as long as nothing else in the request could speak of one: where the
first letters of an id stand anywhere in its texts, all of them count as they are. An answer that
speaks of one is not kept under such a name (see :attr:`CacheKey.id_marks`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import assert_never

from anyclaude.types import (
    Block,
    JsonValue,
    MediaBlock,
    MessagesRequest,
    OpaqueBlock,
    TextBlock,
    ThinkingBlock,
    ToolDefinition,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)

KEY_VERSION = 1
"""Another number, and no older answer is found any more."""

_MARK_LENGTH = 6
_MAX_MARKS = 16
_PLAIN_MARK = re.compile(r"[A-Za-z0-9_-]+")
_TOOL_FIELDS = frozenset(
    ("name", "description", "input_schema", "type", "defer_loading", "cache_control")
)


@dataclass(frozen=True, slots=True)
class Served:
    """Who answers a request.

    ``identity`` tells two backends of one name apart (its address, profile, the account whose
    answers these are), ``fingerprint`` the weights where they are known; ``adapter`` is the version
    of the code that makes its requests; ``extra`` is whatever else changes an answer, headers for
    example. No secrets as they are: hash them first.
    """

    backend: str
    model: str
    identity: str = ""
    fingerprint: str = ""
    adapter: str = ""
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CacheKey:
    """``digest`` has 32 bytes. ``id_marks`` are how the ids begin that the digest leaves out."""

    digest: bytes
    id_marks: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """What headers and the console show of it: 16 hexadecimal digits."""
        return self.digest[:8].hex()


def key_of(
    request: MessagesRequest, served: Served, callable_tools: Sequence[ToolDefinition] = ()
) -> CacheKey:
    """The key of a canonical request.

    ``callable_tools`` are those of the request and deferred ones that came with it, as
    :class:`anyclaude.backend.BackendRequest` has them.
    """
    writer = _Writer()
    writer.served(served)
    writer.request(request)
    header = request.tools
    known = tuple(callable_tools[: len(header)]) == header
    writer.tools(callable_tools[len(header) :] if known else callable_tools)
    return writer.key()


def context_of(request: MessagesRequest, served: Served) -> bytes:
    """A digest of all that :func:`key_of` looks at but for the last block of the last message."""
    *before, last = request.messages
    bare = replace(request, messages=(*before, replace(last, content=last.content[:-1])))
    return key_of(bare, served).digest


class _Writer:
    """Collects the bytes to hash."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._values: list[JsonValue] = []
        """JSON values in the order they come up, written all at once: that is faster."""
        self._ids: dict[str, int] = {}

    def key(self) -> CacheKey:
        self._texts(_ENCODER.encode(self._values))
        data = b"".join(self._parts)
        marks = self._marks(data)
        hashed = sha256(data)
        if self._ids and not marks:
            self._parts.clear()
            self._texts("ids", *self._ids)
            hashed.update(b"".join(self._parts))
        return CacheKey(hashed.digest(), marks)

    def _marks(self, data: bytes) -> tuple[str, ...]:
        """How the ids begin; nothing when they must count as they are."""
        marks = {name[:_MARK_LENGTH] for name in self._ids}
        plain = len(marks) <= _MAX_MARKS and all(_PLAIN_MARK.fullmatch(mark) for mark in marks)
        if not plain or any(mark.encode() in data for mark in marks):
            return ()
        return tuple(sorted(marks))

    def served(self, served: Served) -> None:
        self._texts(
            f"anyclaude response {KEY_VERSION}",
            served.backend,
            served.model,
            served.identity,
            served.fingerprint,
            served.adapter,
        )
        self._count(len(served.extra))
        for name, value in sorted(served.extra):
            self._texts(name, value)

    def request(self, request: MessagesRequest) -> None:
        choice, sampling, thinking = request.tool_choice, request.sampling, request.thinking
        self._texts(
            str(request.max_tokens),
            _number(sampling.temperature),
            _number(sampling.top_p),
            _number(sampling.top_k),
            f"{thinking.enabled} {thinking.budget_tokens}" if thinking else "",
            f"{choice.mode} {choice.disable_parallel}",
            choice.name or "",
        )
        self._values.append(request.output_schema)
        self._count(len(request.stop_sequences))
        self._texts(*request.stop_sequences)
        self._blocks(request.system)
        self.tools(request.tools)
        self._count(len(request.messages))
        for message in request.messages:
            self._texts(message.role)
            self._blocks(message.content)

    def tools(self, tools: Sequence[ToolDefinition]) -> None:
        self._count(len(tools))
        for tool in tools:
            rest = {key: value for key, value in tool.raw.items() if key not in _TOOL_FIELDS}
            self._texts(tool.name, tool.description, tool.type or "", str(tool.defer_loading))
            self._values += (tool.input_schema, rest)

    def _blocks(self, blocks: Sequence[Block]) -> None:
        self._count(len(blocks))
        for block in blocks:
            self._block(block)

    def _block(self, block: Block) -> None:
        match block:
            case TextBlock():
                self._texts("text", block.text)
            case ThinkingBlock():
                self._texts("thinking", block.thinking, block.signature)
            case MediaBlock():
                self._texts("media", block.kind, block.media_type, block.source, block.data)
            case ToolUseBlock():
                self._texts("tool_use", self._id(block.id), block.name)
                self._values.append(block.input)
            case ToolResultBlock():
                self._texts("tool_result", self._id(block.tool_use_id), str(block.is_error))
                self._blocks(block.content)
            case ToolReferenceBlock():
                self._texts("tool_reference", block.tool_name)
            case OpaqueBlock():
                self._texts("opaque", block.type)
                self._values.append(block.raw)
            case _:
                assert_never(block)

    def _id(self, name: str) -> str:
        return f"#{self._ids.setdefault(name, len(self._ids))}"

    def _texts(self, *texts: str) -> None:
        for text in texts:
            data = _bytes(text)
            self._parts += (b"%d:" % len(data), data)

    def _count(self, count: int) -> None:
        self._parts.append(b"[%d]" % count)


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # Half a surrogate pair, which JSON may hold.
        return text.encode("utf-8", "surrogatepass")


def _number(value: float | None) -> str:
    """Exact, and the same for 1 and 1.0."""
    return "" if value is None else float(value).hex()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_plain
)
"""JSON in the one form that equal values have; numbers as Python writes them, exactly."""
