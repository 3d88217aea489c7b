"""Broken arguments of which only the end is doubtful, ended where the model most likely did.

More daring than :mod:`anyclaude.tools.syntax`: for calls that the client has a part of already,
and that nobody can write anew. Nothing that the model wrote is changed, and of its letters only
those behind a whole object are dropped.
"""

from __future__ import annotations

import json

from anyclaude.tools.syntax import MAX_TEXT, Mended
from anyclaude.tools.validate import read_json

_SPACE = " \t\r\n"
_CLOSING = {"{": "}", "[": "]"}
_SHOWN = 80


def ended(text: str) -> Mended | None:
    """The object that ``text`` begins with, its last string ended if it must be; else ``None``."""
    if len(text) > MAX_TEXT:
        return None
    return _first_object(text) or _string_ended(text)


def _first_object(text: str) -> Mended | None:
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    read = read_json(text[start:end], strict=False)
    if not isinstance(value, dict) or read.issue is not None:
        return None
    rest = text[end:].strip()
    if len(rest) > _SHOWN:
        rest = rest[: _SHOWN - 1] + "…"
    return Mended(read.value, f"{rest!r} after the end", "")


def _string_ended(text: str) -> Mended | None:
    opened, start = _opened(text)
    if start < 0:
        return None
    body = text.rstrip(_SPACE)
    for bracket in opened:
        if not body.endswith(_CLOSING[bracket]):
            break
        body = body[:-1].rstrip(_SPACE)
    inside = text[start:]
    while body.endswith("}") and inside.count("{") < body.count("}", start):
        body = body[:-1].rstrip(_SPACE)  # It closed what stood around the arguments.
    closing = "".join(_CLOSING[bracket] for bracket in reversed(opened))
    read = read_json(f'{body}"{closing}', strict=False)
    if read.issue is not None or not isinstance(read.value, dict):
        return None
    return Mended(read.value, "a string without an end", "ended")


def _opened(text: str) -> tuple[list[str], int]:
    """The brackets open at the end of ``text``, the outermost first, and where a string begins
    that is open there too, -1 for none."""
    opened: list[str] = []
    inside, escaped, start = False, False, -1
    for at, char in enumerate(text):
        if inside:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                inside = False
        elif char == '"':
            inside, start = True, at + 1
        elif char in _CLOSING:
            opened.append(char)
        elif char in _CLOSING.values() and opened:
            opened.pop()
    return opened, start if inside and opened else -1
