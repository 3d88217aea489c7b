"""Everything that can go wrong with a backend elsewhere, as :class:`UpstreamError`.

The one place that makes them: silence and nonsense by the functions of those names, an error
status or an error inside a stream by what the server says in it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from html import unescape
from typing import TypeAlias

from anyclaude.backends import overflow
from anyclaude.errors import UpstreamError
from anyclaude.records import ErrorCategory

Headers: TypeAlias = tuple[tuple[str, str], ...]

MAX_MESSAGE_CHARS = 1000

# Anthropic's error types and their statuses.
_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_TYPE_OF = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_CATEGORY_OF: dict[int, ErrorCategory] = {
    402: "resource",
    405: "not_implemented",
    408: "timeout",
    409: "resource",
    429: "resource",
    501: "not_implemented",
    502: "network",
    503: "resource",
    504: "timeout",
    507: "resource",
    529: "resource",
}
# Words that stand in an error in place of a status: OpenAI's, vLLM's and Google's.
_STATUS_OF_WORD = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "tokens": 429,
    "requests": 429,
    "server_error": 500,
    "internal_error": 500,
    "internalservererror": 500,
    "service_unavailable": 503,
    "serviceunavailableerror": 503,
    "badrequesterror": 400,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "notfounderror": 404,
    "unavailable": 503,
    "resource_exhausted": 429,
}
_NO_MEMORY = re.compile(r"out of memory|insufficient memory|outofmemory", re.IGNORECASE)


# ------------------------------------------------------------------- no answer, or nonsense


def unreachable(backend: str, what: str) -> UpstreamError:
    """No connection, or it broke."""
    return _fault(backend, f"{backend} can't be reached: {what}", 502, "network", retryable=True)


def untrusted(backend: str, what: str) -> UpstreamError:
    """No safe connection, which trying again won't change."""
    return _fault(backend, f"{backend} can't be reached: {what}", 502, "network", retryable=False)


def no_answer(backend: str, seconds: float) -> UpstreamError:
    """No status in time."""
    return _fault(
        backend, f"{backend} gave no answer in {seconds:g} s", 504, "timeout", retryable=True
    )


def silent(backend: str, seconds: float) -> UpstreamError:
    """Nothing more came of an answer."""
    return _fault(
        backend,
        f"{backend} fell silent for {seconds:g} s in the middle of its answer",
        504,
        "timeout",
        retryable=True,
    )


def garbage(backend: str, what: str) -> UpstreamError:
    """Not what the API would have sent; ``what`` says what came."""
    return _fault(backend, f"{backend} sent {what}", 502, "schema", retryable=True)


def cut_off(backend: str) -> UpstreamError:
    """An answer that stopped as if that were its end."""
    return garbage(backend, "an answer that ends too early")


def wrong_content(backend: str, content_type: str, body: bytes) -> UpstreamError:
    """A success whose body is neither JSON nor an event stream."""
    title = _title(body.decode("utf-8", "replace"))
    return garbage(
        backend,
        f"{content_type or 'something'} where JSON or an event stream belongs"
        + (f": {_line(title)}" if title else ""),
    )


def _fault(
    backend: str, message: str, status: int, category: ErrorCategory, *, retryable: bool
) -> UpstreamError:
    return UpstreamError(
        message,
        backend=backend,
        status=status,
        type=_TYPE_OF.get(status, "api_error"),
        category=category,
        retryable=retryable,
        answered=False,
    )


# ------------------------------------------------------------------------- errors it answered


def answered(
    backend: str, status: int, headers: Headers, body: bytes, *, now: float, whole: bool = True
) -> UpstreamError:
    """An answer with a status that isn't a success. Without the ``whole`` body none is kept."""
    if status < 400:
        where = _line(_first(headers, "location"))
        return _fault(
            backend,
            f"{backend} sent status {status}"
            + (f" to {where}; base_url must be the final address" if where else ""),
            502,
            "schema",
            retryable=False,
        )
    said = read_error(body)
    error = _refusal(backend, status, said, retry_after(headers, now))
    if _first(headers, "x-should-retry").strip().lower() == "false":
        error.retryable = False
    error.headers = headers
    error.raw = body if whole else b""
    return error


def in_stream(backend: str, payload: object) -> UpstreamError:
    """An error that came inside an answer with status 200; ``payload`` is its JSON."""
    said = read_json(payload)
    return _refusal(backend, said.status or 500, said, None)


def _refusal(backend: str, status: int, said: Said, retry_after: float | None) -> UpstreamError:
    message = said.message or f"{backend} answered with status {status}"
    category = _CATEGORY_OF.get(status) or ("invalid_input" if status < 500 else "unknown")
    retryable = status in (408, 409, 429) or (status >= 500 and status != 501)
    kind = said.type if said.type in _STATUS_OF else _type_of(status)
    found = None
    if status not in (401, 402, 403, 404, 429):
        found = overflow.find(said.message, said.code, said.fields)
    if found is not None:
        status, kind, category, retryable = 400, "invalid_request_error", "resource", False
        message = _overflow_message(found, said.message)
    elif _NO_MEMORY.search(said.message):
        category = "resource"
    return UpstreamError(
        message,
        backend=backend,
        status=status,
        type=kind,
        category=category,
        retryable=retryable and said.code != "insufficient_quota",
        answered=True,
        overflow=found is not None,
        retry_after=retry_after,
    )


def _overflow_message(found: overflow.Overflow, said: str) -> str:
    if found.message:
        return found.message
    return said if said.startswith("prompt is too long") else f"prompt is too long: {said}"


def _type_of(status: int) -> str:
    return _TYPE_OF.get(status, "invalid_request_error" if status < 500 else "api_error")


# ---------------------------------------------------------------------------------- bodies


@dataclass(frozen=True, slots=True)
class Said:
    """What an error's body says: one line of text, and its words where it has them."""

    message: str = ""
    type: str = ""
    code: str = ""
    status: int = 0
    fields: Mapping[str, object] = field(default_factory=dict)


def read_error(body: bytes) -> Said:
    """Any error body: JSON of a known shape, a page, or plain text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        return read_json(json.loads(text))
    except (ValueError, RecursionError):
        return Said(_line(_title(text) or text))


def read_json(payload: object) -> Said:
    """The error in JSON.

    ``{"error": {"message", "type", "code"}}`` of Anthropic, OpenAI, llama.cpp and Ollama;
    ``{"error": "…"}`` of LM Studio and mlx_lm.server; ``{"message", "type", "code"}`` of older
    vLLM; ``{"detail": "…" | [{"loc", "msg"}]}`` of FastAPI; OpenRouter's, which has another
    server's in it; problem details.
    """
    if isinstance(payload, list) and payload:
        return read_json(payload[0])  # Google's
    if isinstance(payload, str):
        return Said(_line(payload))
    if not isinstance(payload, Mapping):
        return Said()
    inner = payload.get("error")
    if isinstance(inner, str):
        more = payload.get("message") or payload.get("error_description")
        return Said(_line(f"{inner}: {more}" if isinstance(more, str) else inner))
    fields: Mapping[str, object] = inner if isinstance(inner, Mapping) else payload
    kind, code = _word(fields, "type"), _word(fields, "code")
    message = _word(fields, "message") or _detail(fields.get("detail")) or _word(fields, "title")
    return Said(
        _line(_with_nested(message, fields.get("metadata"))),
        kind,
        code,
        _status(kind, code, _word(fields, "status")),
        fields,
    )


def _with_nested(message: str, metadata: object) -> str:
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    if not isinstance(raw, str) or not raw:
        return message
    nested = read_error(raw.encode()).message
    return f"{message}: {nested}" if message else nested


def _detail(detail: object) -> str:
    if isinstance(detail, str):
        return detail
    if isinstance(detail, Mapping):
        return read_json(detail).message
    if isinstance(detail, list):
        return "; ".join(_validation(item) for item in detail[:5] if isinstance(item, Mapping))
    return ""


def _validation(item: Mapping[str, object]) -> str:
    place = item.get("loc")
    path = ".".join(str(step) for step in place) if isinstance(place, list) else ""
    return f"{path}: {item.get('msg')}" if path else str(item.get("msg"))


def _word(fields: Mapping[str, object], key: str) -> str:
    value = fields.get(key)
    if isinstance(value, bool):
        return ""
    return str(value) if isinstance(value, str | int) else ""


def _status(*words: str) -> int:
    for word in words:
        if word.isdecimal() and len(word) == 3 and 400 <= int(word) < 600:
            return int(word)
        if status := _STATUS_OF.get(word) or _STATUS_OF_WORD.get(word.lower()):
            return status
    return 0


_PAGE = re.compile(r"\A\s*(?:<\?xml|<!doctype|<html|<head|<body|<!--)", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)\b[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


def _title(text: str) -> str:
    """The title of a page, nothing for text that is none."""
    if not _PAGE.match(text):
        return ""
    match = _TITLE.search(text)
    title = unescape(_TAG.sub(" ", match.group(2))) if match else ""
    return title if title.strip() else "a page without a title"


def _line(text: str) -> str:
    """``text`` on one line, of a length that can be shown, without control characters."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * MAX_MESSAGE_CHARS])
    line = " ".join(line.split())
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"


# ----------------------------------------------------------------------------- Retry-After


def retry_after(headers: Headers, now: float) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``retry-after`` in seconds or as a date.

    ``now`` is in Unix seconds. A date that has passed is 0; what can't be read is ``None``.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = _number(_first(headers, name))
        if milliseconds is not None:
            return milliseconds / 1000
    value = _first(headers, "retry-after").strip()
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - now)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _first(headers: Headers, name: str) -> str:
    return next((value for header, value in headers if header.lower() == name), "")
