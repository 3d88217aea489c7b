"""JSON schemas as a server takes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from anyclaude.types import JsonObject, JsonValue

_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SINGLE = frozenset(
    {
        "items",
        "additionalProperties",
        "additionalItems",
        "contains",
        "not",
        "if",
        "then",
        "else",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_STAY_BOOLEAN = frozenset({"additionalProperties", "unevaluatedProperties", "unevaluatedItems"})
_STRICT_KEYS = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const"),
        *("description", "title", "anyOf", "$ref", "$defs"),
    }
)


def parameters(schema: JsonObject, without: Collection[str]) -> tuple[JsonObject, frozenset[str]]:
    """A tool's input schema without the keywords ``without``, and which of them it had.

    The outermost schema is an object's, as every server wants it, and schemas that are plain
    ``true`` or ``false`` are objects, as Ollama and many templates need them.
    """
    gone: set[str] = set()
    top = _object(schema, without, gone)
    if top.get("type") != "object":
        top = {**top, "type": "object"}
    if not isinstance(top.get("properties"), Mapping):
        top = {**top, "properties": {}}
    return top, frozenset(gone)


def strict(schema: JsonValue) -> bool:
    """Whether OpenAI takes ``schema`` with ``"strict": true``: every object closed and full."""
    if not isinstance(schema, Mapping) or not _STRICT_KEYS.issuperset(schema):
        return False
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties")
        required = schema.get("required")
        if schema.get("additionalProperties") is not False or not isinstance(properties, Mapping):
            return False
        if not isinstance(required, Sequence) or set(required) != set(properties):
            return False
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            if not isinstance(value, Mapping) or not all(strict(part) for part in value.values()):
                return False
        elif key == "anyOf":
            if not isinstance(value, Sequence) or not all(strict(part) for part in value):
                return False
        elif key == "items" and not strict(value):
            return False
    return True


def _object(schema: JsonObject, without: Collection[str], gone: set[str]) -> JsonObject:
    kept: dict[str, JsonValue] = {}
    for key, value in schema.items():
        if key in without:
            gone.add(key)
        elif key in _MAPS and isinstance(value, Mapping):
            kept[key] = {name: _schema(part, without, gone) for name, part in value.items()}
        elif key in _LISTS and isinstance(value, Sequence) and not isinstance(value, str):
            kept[key] = [_schema(part, without, gone) for part in value]
        elif key in _STAY_BOOLEAN and isinstance(value, bool):
            kept[key] = value
        elif key in _SINGLE:
            kept[key] = _schema(value, without, gone)
        else:
            kept[key] = value
    return kept


def _schema(value: JsonValue, without: Collection[str], gone: set[str]) -> JsonValue:
    if isinstance(value, bool):
        return {} if value else {"not": {}}
    if isinstance(value, Mapping):
        return _object(value, without, gone)
    if isinstance(value, Sequence) and not isinstance(value, str):  # items, before draft 2020
        return [_schema(part, without, gone) for part in value]
    return value
