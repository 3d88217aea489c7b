"""What is wrong with a call, in words: jsonschema's errors and our own as :class:`ToolIssue`.

Texts quote little of what the model wrote, since a value can be a whole file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from anyclaude.records import UNCHECKED, ToolIssue
from anyclaude.types import JsonValue

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Path = tuple[str | int, ...]

_MAX_GOT = 80
_MAX_EXPECTED = 200
_MAX_PATH = 120
_LISTED = 12
_WORDS: dict[str, str] = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} keys",
    "maxProperties": "at most {} keys",
    "const": "{}",
    "pattern": "text that matches {}",
    "uniqueItems": "items that all differ",
    "contains": "an item of the form {}",
    "not": "anything but {}",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One error of a schema, with what a repair needs to know.

    ``path`` leads to ``value``, except that for ``required`` it leads to the missing key and
    ``value`` is the object without it. ``demand`` is the keyword's value, ``schema`` what it
    stands in.
    """

    path: Path
    rule: str
    value: JsonValue
    demand: JsonValue
    schema: JsonValue
    issue: ToolIssue


def faults_of(error: ValidationError) -> Iterator[Fault]:
    """The error, or those of the one form of an ``anyOf`` that was obviously meant."""
    meant = _meant(error)
    if meant:
        for inner in meant:
            yield from faults_of(inner)
        return
    path = tuple(error.absolute_path)
    rule = str(error.validator)
    value = cast(JsonValue, error.instance)
    demand = cast(JsonValue, error.validator_value)
    schema = cast(JsonValue, error.schema)
    got = "nothing" if rule == "required" else short(value)
    issue = ToolIssue(path_text(path), rule, got, _expected(rule, path, demand, schema))
    yield Fault(path, rule, value, demand, schema, issue)


def _meant(error: ValidationError) -> Sequence[ValidationError]:
    """The errors of the only alternative whose type is right, if there is just one."""
    if error.validator not in ("anyOf", "oneOf") or not error.context:
        return ()
    forms: dict[object, list[ValidationError]] = defaultdict(list)
    for inner in error.context:
        forms[inner.relative_schema_path[0]].append(inner)
    right = [
        errors
        for errors in forms.values()
        if not any(not e.relative_path and e.validator in ("type", "const", "enum") for e in errors)
    ]
    return right[0] if len(right) == 1 else ()


def _expected(rule: str, path: Path, demand: JsonValue, schema: JsonValue) -> str:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    known: Mapping[str, JsonValue] = properties if isinstance(properties, Mapping) else {}
    match rule:
        case "type":
            text = _types(demand)
        case "required":
            text = describe(known.get(str(path[-1]))) if path else "a value"
        case "additionalProperties":
            text = f"one of the keys {_list(list(known))}" if known else "no keys"
        case "enum":
            text = f"one of {_list([short(item) for item in _items(demand)])}"
        case "anyOf" | "oneOf":
            text = " or ".join(dict.fromkeys(describe(form) for form in _items(demand)))
        case _:
            shown = short(demand)
            text = _WORDS[rule].format(shown) if rule in _WORDS else f"{rule} {shown}"
    return _cut(text, _MAX_EXPECTED)


def describe(schema: JsonValue) -> str:
    """A schema in a few words, such as ``string`` or ``one of "a", "b"``."""
    if not isinstance(schema, Mapping):
        return "a value"
    if "const" in schema:
        return short(schema["const"])
    if "enum" in schema:
        return f"one of {_list([short(item) for item in _items(schema['enum'])])}"
    if "type" in schema:
        return _types(schema["type"])
    for word in ("anyOf", "oneOf"):
        if forms := _items(schema.get(word)):
            return " or ".join(dict.fromkeys(describe(form) for form in forms))
    return "a value"


def _types(value: JsonValue) -> str:
    return " or ".join(str(item) for item in (_items(value) or [value]))


def _items(value: JsonValue) -> list[JsonValue]:
    return list(value) if isinstance(value, list | tuple) else []


def _list(texts: Sequence[str]) -> str:
    more = f", … ({len(texts)} in all)" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more


def path_text(path: Path) -> str:
    """A path as text: its keys and indices joined by dots."""
    return _cut(".".join(str(part) for part in path), _MAX_PATH)


def short(value: JsonValue, limit: int = _MAX_GOT) -> str:
    """A value as JSON of at most ``limit`` characters."""
    if isinstance(value, str):
        # Escaping all of a long text to show its beginning would be waste.
        value = value if len(value) <= limit else value[: limit + 1]
    return _cut(json.dumps(value, ensure_ascii=False, default=str), limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


# ----------------------------------------------------------------------- issues of our own


def unknown_tool(name: str, known: Sequence[str]) -> ToolIssue:
    """There is no tool of that name."""
    expected = f"one of the tools {_list(list(known))}" if known else "no call: there are no tools"
    return ToolIssue("", "exists", _cut(name, _MAX_GOT), _cut(expected, _MAX_EXPECTED))


def not_json(reason: str, text: str, position: int) -> ToolIssue:
    """The arguments are no JSON; ``position`` is where that shows."""
    around = text[max(0, position - 20) : position + 20]
    reason = reason[:1].lower() + reason[1:]
    got = f"{around!r} at character {position} ({reason})"
    return ToolIssue("", "parse", _cut(got, 2 * _MAX_GOT), "JSON")


def unchecked(note: str) -> ToolIssue:
    """Something of the call was not checked, which is no fault."""
    return ToolIssue("", UNCHECKED, note)
