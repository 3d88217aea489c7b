"""JSON as we send it: compact, in insertion order, one line whatever the reader's idea of one."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
from collections.abc import Mapping

from anyclaude import fastjson
from anyclaude.types import JsonValue

# Line ends to str.splitlines(), and so to many an SSE reader.
_LINE_ENDS = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}


def encode(value: JsonValue) -> bytes:
    """As UTF-8; a lone surrogate becomes its JSON escape."""
    data = fastjson.dumps(value)
    if b"\xe2\x80" in data or b"\xc2\x85" in data:
        return data.decode().translate(_LINE_ENDS).encode()
    return data


def plain(value: object) -> JsonValue:
    """Dataclasses and what SQL returns, as JSON values; NaN and infinities become null."""
    match value:
        case enum.Enum():
            return plain(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case decimal.Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case bytes() | bytearray():
            return bytes(value).hex()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return str(value)
