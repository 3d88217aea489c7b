"""Bytes to JSON values, within bounds.

The client resends its whole history each turn, so what can be mended is mended and noted
(lone surrogates): a refusal would come back for ever. What can't be a JSON text is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from anyclaude import fastjson
from anyclaude.errors import InvalidRequest, PayloadTooLarge
from anyclaude.types import JsonValue

MAX_DEPTH = 256
MAX_VALUES = 4_000_000  # "[[],[],…" takes 25 times its size as objects

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u[dD]")
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class Decoded:
    """The payload, its text as received, and how many strings had to be mended."""

    payload: JsonValue
    text: str
    mended: int


def decode(body: bytes) -> Decoded:
    """Raises InvalidRequest for anything but JSON, PayloadTooLarge for too many values."""
    if not body or body.isspace():
        raise InvalidRequest("the request body is empty; it should be a JSON object")
    text, mended = _text(body)
    if len(text) > MAX_VALUES < text.count(",") + text.count("[") + text.count("{"):
        raise PayloadTooLarge(f"the request body holds more than {MAX_VALUES} values")
    try:
        payload = fastjson.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise InvalidRequest(
            f"the request body is not valid JSON: {error.msg} "
            f"at line {error.lineno} column {error.colno}"
        ) from None
    except ValueError as error:
        raise InvalidRequest(f"the request body is not valid JSON: {error}") from None
    escaped = "\\" in text and _ESCAPED.search(text) is not None
    return Decoded(payload, text, mended + _inspect(payload, mend=escaped))


def _text(body: bytes) -> tuple[str, int]:
    """The body as text, and how many raw surrogates were replaced in it."""
    try:
        return body.decode("utf-8-sig"), 0
    except UnicodeDecodeError:
        pass
    try:
        return _SURROGATE.subn(_REPLACEMENT, body.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"the request body is not valid UTF-8: byte 0x{body[error.start]:02x} "
            f"at position {error.start}"
        ) from None


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"the request body is nested more than {MAX_DEPTH} levels deep")


def _inspect(root: JsonValue, *, mend: bool) -> int:
    """Checks the depth, and with ``mend`` replaces lone surrogates in place."""
    mended = 0
    stack = [(root, 1)] if isinstance(root, dict | list) else []
    while stack:
        value, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise _too_deep()
        if mend:
            mended += _mend_object(value) if isinstance(value, dict) else _mend_list(value)
        children = value.values() if isinstance(value, dict) else value
        stack += [(child, depth + 1) for child in children if isinstance(child, dict | list)]
    return mended


def _mend_object(value: dict[str, JsonValue]) -> int:
    mended = sum(1 for pair in value.items() for text in pair if _is_broken(text))
    if mended:
        pairs = [(str(_whole(key)), _whole(child)) for key, child in value.items()]
        value.clear()
        value.update(pairs)
    return mended


def _mend_list(value: list[JsonValue]) -> int:
    mended = sum(map(_is_broken, value))
    if mended:
        value[:] = map(_whole, value)
    return mended


def _is_broken(value: JsonValue) -> bool:
    return isinstance(value, str) and _SURROGATE.search(value) is not None


def _whole(value: JsonValue) -> JsonValue:
    return _SURROGATE.sub(_REPLACEMENT, value) if isinstance(value, str) else value
