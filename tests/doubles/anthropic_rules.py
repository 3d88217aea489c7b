"""What Anthropic's API refuses, in its own words: the checks of a strict fake.

Wordings and limits are the API's public ones, as far as clients meet them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

VERSIONS = ("2023-06-01", "2026-10-21")
MAX_MARKS = 4

_TOP_LEVEL = {
    *("model", "messages", "system", "tools", "tool_choice", "metadata", "max_tokens"),
    *("thinking", "context_management", "output_config", "stream", "temperature", "top_p"),
    *("top_k", "stop_sequences", "service_tier", "container", "mcp_servers", "cache_control"),
    *("safeguards",),
}
_COUNTED = _TOP_LEVEL - {"max_tokens", "stream", "temperature", "stop_sequences", "metadata"}
_ID = re.compile(r"[a-zA-Z0-9_-]+")
# What a block must have, by type.
_BLOCKS: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "image": ("source",),
    "document": ("source",),
    "thinking": ("thinking", "signature"),
    "redacted_thinking": ("data",),
    "tool_use": ("id", "name", "input"),
    "tool_result": ("tool_use_id",),
    "server_tool_use": ("id", "name", "input"),
    "web_search_tool_result": ("tool_use_id", "content"),
    "tool_reference": ("tool_name",),
    "search_result": ("source", "title", "content"),
}


class Refused(Exception):
    """An answer with an error status; ``str()`` is its message."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def invalid(message: str) -> Refused:
    return Refused(400, "invalid_request_error", message)


def check_headers(headers: Mapping[str, str], key: str) -> None:
    """The version, the key by either header, and JSON."""
    if not headers.get("anthropic-version"):
        raise invalid("anthropic-version: header is required")
    if headers["anthropic-version"] not in VERSIONS:
        raise invalid(f'anthropic-version: "{headers["anthropic-version"]}" is not a valid version')
    given = headers.get("x-api-key")
    bearer = headers.get("authorization", "")
    if given is None and not bearer:
        raise Refused(401, "authentication_error", "x-api-key header is required")
    if given is not None and given != key:
        raise Refused(401, "authentication_error", "invalid x-api-key")
    if given is None and bearer != f"Bearer {key}":
        raise Refused(401, "authentication_error", "Invalid bearer token")
    if headers.get("content-type", "").partition(";")[0] != "application/json":
        raise invalid("content-type: must be application/json")


def check_body(body: Any, models: tuple[str, ...], *, counting: bool) -> None:
    """A Messages request, or one for ``count_tokens``."""
    if not isinstance(body, dict):
        raise invalid("The request body is not valid JSON")
    for key in body:
        if key not in (_COUNTED if counting else _TOP_LEVEL):
            raise invalid(f"{key}: Extra inputs are not permitted")
    for key in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        if key not in body:
            raise invalid(f"{key}: Field required")
    if body["model"] not in models:
        raise Refused(404, "not_found_error", f"model: {body['model']}")
    if not counting:
        _check_limits(body)
    _check_messages(body["messages"])
    system = body.get("system", "")
    if not isinstance(system, str):
        _check_blocks(system, "system")
    names = [tool.get("name", "") for tool in body.get("tools", [])]
    if len(names) != len(set(names)):
        raise invalid("tools: Tool names must be unique.")
    _check_marks(body)


def _check_limits(body: dict[str, Any]) -> None:
    limit = body["max_tokens"]
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise invalid("max_tokens: Input should be a valid integer")
    if limit < 1:
        raise invalid("max_tokens: Input should be greater than or equal to 1")
    thinking = body.get("thinking", {})
    if thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens", 0)
        if budget < 1024:
            raise invalid(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
            )
        if budget >= limit:
            raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise invalid("messages: at least one message is required")
    called: set[str] = set()
    for at, message in enumerate(messages):
        where = f"messages.{at}"
        if message.get("role") not in ("user", "assistant", "system"):
            raise invalid(f"{where}.role: Input should be 'user' or 'assistant'")
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}] if content else []
        if not content and at < len(messages) - 1:
            raise invalid(f"{where}: all messages must have non-empty content")
        _check_blocks(content, f"{where}.content")
        if message["role"] == "system":
            continue
        results = {b["tool_use_id"] for b in content if b["type"] == "tool_result"}
        if missing := called - results:
            raise invalid(
                f"{where}: `tool_use` ids were found without `tool_result` blocks immediately "
                f"after: {', '.join(sorted(missing))}."
            )
        if unknown := results - called:
            raise invalid(
                f"{where}.content: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{', '.join(sorted(unknown))}."
            )
        called = {b["id"] for b in content if b["type"] == "tool_use"}


def _check_blocks(blocks: Any, where: str) -> None:
    for at, block in enumerate(blocks):
        place = f"{where}.{at}"
        kind = block.get("type")
        if kind not in _BLOCKS:
            raise invalid(f"{place}: Input tag '{kind}' found using 'type' does not match any")
        for key in _BLOCKS[kind]:
            if key not in block:
                raise invalid(f"{place}.{kind}.{key}: Field required")
        if kind == "text" and not block["text"]:
            raise invalid(f"{place}: text content blocks must be non-empty")
        if kind == "thinking" and not str(block["signature"]).endswith("=="):
            raise invalid(f"{place}: Invalid `signature` in `thinking` block")
        for key in ("id", "tool_use_id"):
            if key in block and not _ID.fullmatch(block[key]):
                raise invalid(f"{place}.{kind}.{key}: String should match pattern '{_ID.pattern}'")
        nested = block.get("content")
        if kind == "tool_result" and isinstance(nested, list):
            _check_blocks(nested, f"{place}.content")


def _check_marks(body: dict[str, Any]) -> None:
    marked = [block for block in _everywhere(body) if block.get("cache_control")]
    if len(marked) > MAX_MARKS:
        raise invalid(
            f"A maximum of {MAX_MARKS} blocks with cache_control may be provided. "
            f"Found {len(marked)}."
        )
    for block in marked:
        if block["cache_control"].get("type") != "ephemeral":
            raise invalid("cache_control.type: Input should be 'ephemeral'")
        if block.get("type") in ("thinking", "redacted_thinking"):
            raise invalid("cache_control: Extra inputs are not permitted")
        if block.get("type") == "text" and not block["text"].strip():
            raise invalid("cache_control cannot be set for empty text blocks")


def _everywhere(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from _everywhere(part)
    elif isinstance(value, list):
        for part in value:
            yield from _everywhere(part)
