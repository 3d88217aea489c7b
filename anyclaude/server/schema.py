"""The wire schema of ``POST /v1/messages`` and ``count_tokens``.

Hand-written, because the rule is uneven: what we know must be right and is refused by name, what
we don't know (fields, betas, block and tool types, model names) is accepted, since a 400 makes
Claude Code resend up to six differently shaped requests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from anyclaude.errors import ApiError, InvalidRequest, UnsupportedMediaType
from anyclaude.server.blocks import MessageReader, system_blocks
from anyclaude.server.decode import Decoded, decode
from anyclaude.server.fields import Node
from anyclaude.server.toolspec import read_schema, read_tool_choice, read_tools
from anyclaude.types import JsonObject, MessagesRequest, Sampling, Thinking

MAX_MODEL_CHARS = 256
# Looked for in every token of every answer, on the thread that all answers share.
MAX_STOP_SEQUENCES = 256
MAX_STOP_LENGTH = 1024

# What the client sends beside the conversation and nobody should find in a log: in automatic
# permission mode it holds paths, git state and the user's name.
_PRIVATE_FIELDS = ("safeguards",)


@dataclass(frozen=True, slots=True)
class ParseResult:
    """A request, its JSON as text fit for the log and as values, and what was mended on the way."""

    request: MessagesRequest
    body: str
    payload: JsonObject = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Peek:
    """As much of a refused body as can be read."""

    body: str
    model: str = ""
    streaming: bool = False


def parse_messages(body: bytes, content_type: str | None) -> ParseResult:
    """Raises InvalidRequest naming the field, or UnsupportedMediaType."""
    return _parse(body, content_type, counting=False)


def parse_count(body: bytes, content_type: str | None) -> ParseResult:
    """Like :func:`parse_messages` for a body that needs no ``max_tokens``."""
    return _parse(body, content_type, counting=True)


def peek(body: bytes) -> Peek:
    """What the log can say of a body that was refused."""
    try:
        decoded = decode(body)
    except ApiError:
        return Peek(body.decode("utf-8", "replace"))
    payload = decoded.payload
    if not isinstance(payload, Mapping):
        return Peek(decoded.text)
    model = payload.get("model")
    return Peek(
        _loggable(decoded),
        model[:MAX_MODEL_CHARS] if isinstance(model, str) else "",
        payload.get("stream") is True,
    )


def _parse(body: bytes, content_type: str | None, *, counting: bool) -> ParseResult:
    _check_content_type(content_type)
    decoded = decode(body)
    root = Node(decoded.payload)
    if not isinstance(decoded.payload, Mapping):
        raise root.fail("the request body should be a JSON object")
    notes: tuple[str, ...] = ()
    if decoded.mended:
        notes = (f"lone surrogates in {decoded.mended} places became U+FFFD",)
    return ParseResult(_request(root, counting), _loggable(decoded), decoded.payload, notes)


def _check_content_type(content_type: str | None) -> None:
    if content_type is None:
        return
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        return
    raise UnsupportedMediaType(
        f"content-type: {media_type[:100] or 'empty'} is not supported; send application/json"
    )


def _request(root: Node, counting: bool) -> MessagesRequest:
    model = root.need("model")
    if len(model.text(filled=True)) > MAX_MODEL_CHARS:
        raise model.fail(f"String should have at most {MAX_MODEL_CHARS} characters")
    max_tokens = 1 if counting else root.need("max_tokens").integer(1)
    reader = MessageReader()
    messages = reader.read(root.need("messages"))
    system, system_marked = system_blocks(root.find("system"))
    tools, tools_marked = read_tools(root.find("tools"))
    mark = reader.mark
    if root.marked:  # automatic caching: the mark stands for the last block
        mark = len(messages) - 1
    if mark is None and (system_marked or tools_marked):
        mark = -1
    return MessagesRequest(
        model=model.text(),
        max_tokens=max_tokens,
        messages=messages,
        system=system,
        tools=tools,
        tool_choice=read_tool_choice(root.find("tool_choice"), tools),
        stop_sequences=_stop_sequences(root.find("stop_sequences")),
        sampling=_sampling(root),
        thinking=_thinking(root.find("thinking")),
        output_schema=_output_schema(root),
        stream=root.optional_flag("stream"),
        metadata=_metadata(root.find("metadata")),
        context_edits=_context_edits(root.find("context_management")),
        cache_mark=mark,
    )


def _stop_sequences(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    sequences = tuple(item.text(filled=True) for item in node.items())
    if len(sequences) > MAX_STOP_SEQUENCES or any(len(s) > MAX_STOP_LENGTH for s in sequences):
        raise InvalidRequest(
            f"at most {MAX_STOP_SEQUENCES} sequences of {MAX_STOP_LENGTH} characters each",
            field="stop_sequences",
        )
    return sequences


def _sampling(root: Node) -> Sampling:
    temperature, top_p, top_k = (root.find(k) for k in ("temperature", "top_p", "top_k"))
    return Sampling(
        None if temperature is None else temperature.number(0, 1),
        None if top_p is None else top_p.number(0, 1),
        None if top_k is None else top_k.integer(0),
    )


def _thinking(node: Node | None) -> Thinking | None:
    if node is None:
        return None
    kind = node.need("type").choice("enabled", "disabled", "adaptive")
    budget = node.find("budget_tokens")
    return Thinking(kind != "disabled", None if budget is None else budget.integer(0))


def _output_schema(root: Node) -> JsonObject | None:
    config = root.find("output_config")
    wanted = None if config is None else config.find("format")
    if wanted is None:
        wanted = root.find("output_format")  # the name of the field in the beta
    if wanted is None or wanted.need("type").text() != "json_schema":
        return None
    schema = wanted.need("schema")
    schema.object()
    return read_schema(schema)


def _context_edits(node: Node | None) -> tuple[JsonObject, ...]:
    """What can't be read of it is nothing: the client would only send it another way."""
    edits = node.value.get("edits") if node is not None and isinstance(node.value, Mapping) else ()
    listed = edits if isinstance(edits, list) else ()
    return tuple(edit for edit in listed if isinstance(edit, Mapping))


def _metadata(node: Node | None) -> JsonObject:
    return {} if node is None else node.object()


def _loggable(decoded: Decoded) -> str:
    payload = decoded.payload
    if not isinstance(payload, Mapping) or not any(k in payload for k in _PRIVATE_FIELDS):
        return decoded.text
    kept = {key: value for key, value in payload.items() if key not in _PRIVATE_FIELDS}
    return json.dumps(kept, ensure_ascii=False)
