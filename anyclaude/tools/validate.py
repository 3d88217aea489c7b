"""A call's arguments: read as JSON, held against the tool's own schema and the client's rules.

The client's rules are those that a schema doesn't say: arguments are one object, every number is
finite, and nothing is nested deeper than what the client may send back in its history.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from anyclaude.records import ToolIssue
from anyclaude.tools.issues import Fault, faults_of, not_json, path_text, short
from anyclaude.types import JsonObject, JsonValue

MAX_DEPTH = 128
"""The client sends calls back in its history, where more than twice this depth is refused."""

MAX_ISSUES = 8
MAX_FAULTS = 64
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Checked:
    """``issues`` make a call invalid, ``notes`` say what was not checked."""

    issues: tuple[ToolIssue, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Faults:
    """As :class:`Checked`, with what repairs need."""

    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """A JSON text's value, or the issue that says why it has none."""

    value: JsonValue = None
    issue: ToolIssue | None = None


def good_name(name: str) -> bool:
    """Whether the client may send such a name back in its history."""
    return _NAME.fullmatch(name) is not None


def read_json(text: str, *, strict: bool = True) -> Read:
    """The JSON value of ``text``. Not ``strict``: control characters in strings are let pass.

    Halves of surrogate pairs, which UTF-8 can't carry, become U+FFFD.
    """
    try:
        value = json.loads(text, strict=strict, parse_constant=_no_constant)
        if r"\ud" in text or r"\uD" in text or not text.isascii():
            value = _whole(value)
        return Read(cast(JsonValue, value))
    except json.JSONDecodeError as error:
        return Read(issue=not_json(error.msg, text, error.pos))
    except RecursionError:
        return Read(issue=not_json("nested too deeply", text, 0))
    except ValueError as error:
        return Read(issue=not_json(str(error).partition(";")[0], text, 0))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _whole(value: object) -> object:
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value


def check_input(schema: JsonObject, arguments: JsonValue) -> Checked:
    """What is wrong with ``arguments``: under the client's rules, then under ``schema``."""
    if (issue := client_issue(arguments)) is not None:
        return Checked((issue,))
    found = find_faults(schema, arguments)
    return Checked(issues_of(found.faults), found.notes)


def find_faults(schema: JsonObject, arguments: JsonValue) -> Faults:
    """The faults of ``arguments`` under ``schema``, :data:`MAX_FAULTS` at most."""
    from anyclaude.tools.bounded import find_errors

    errors = find_errors(schema, arguments, MAX_FAULTS)
    faults = tuple(fault for error in errors.errors for fault in faults_of(error))
    return Faults(faults[:MAX_FAULTS], errors.notes)


def issues_of(faults: tuple[Fault, ...]) -> tuple[ToolIssue, ...]:
    """The faults as they are told: each once, :data:`MAX_ISSUES` at most."""
    return tuple(dict.fromkeys(fault.issue for fault in faults))[:MAX_ISSUES]


def client_issue(arguments: JsonValue) -> ToolIssue | None:
    """The client's rule that ``arguments`` break, whatever the schema says."""
    if not isinstance(arguments, Mapping):
        return ToolIssue("", "object", short(arguments), "an object")
    level: list[tuple[tuple[str | int, ...], JsonValue]] = [((), arguments)]
    for _ in range(MAX_DEPTH):
        below: list[tuple[tuple[str | int, ...], JsonValue]] = []
        for path, item in level:
            if isinstance(item, float) and not math.isfinite(item):
                return ToolIssue(path_text(path), "number", str(item), "a finite number")
            if isinstance(item, Mapping):
                below += [((*path, key), inner) for key, inner in item.items()]
            elif isinstance(item, list | tuple):
                below += [((*path, index), inner) for index, inner in enumerate(item)]
        if not below:
            return None
        level = below
    return ToolIssue("", "depth", "more", f"at most {MAX_DEPTH} levels of nesting")
