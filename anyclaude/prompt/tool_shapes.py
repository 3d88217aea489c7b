"""A tool as the model is shown it: its description and schema within a tier's limits.

Only what is shown shrinks. The grammar and the checks keep the schema that the client sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from anyclaude.prompt.shorten import UserRule, brief, shorten, told
from anyclaude.prompt.tiers import Limits
from anyclaude.types import JsonObject, JsonValue, ToolDefinition

_NOISE = frozenset({"$schema", "$id", "additionalProperties", "title", "examples"})
_BOUNDS = frozenset(
    {
        "default",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "pattern",
        "format",
        "propertyNames",
    }
)
_SAFE = 2**53 - 1
"""JavaScript's largest exact integer: as a bound it says nothing."""
_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = ("items", "not", "if", "then", "else", "contains", "additionalItems")


def shown_tool(
    tool: ToolDefinition, limits: Limits, rules: Sequence[UserRule] = ()
) -> tuple[ToolDefinition, tuple[str, ...]]:
    """The tool within ``limits``, and the sentences of its description that are its rules."""
    within = Limits(example=limits.example)
    description = shorten(tool.description, within, (), rules).text
    protected: tuple[str, ...] = ()
    if limits.tool is not None:
        description, protected = told(description, limits.tool)
    schema = _schema(tool.input_schema, limits)
    return replace(tool, description=description, input_schema=schema), protected


def _schema(schema: JsonObject, limits: Limits) -> JsonObject:
    found: dict[str, JsonValue] = {}
    for key, value in schema.items():
        if key in _NOISE and not (key == "additionalProperties" and isinstance(value, Mapping)):
            continue
        if key in _BOUNDS and (not limits.constraints or _says_nothing(value)):
            continue
        if key == "description" and isinstance(value, str):
            if said := _said(value, schema, limits):
                found[key] = said
        elif key in _MAPS and isinstance(value, Mapping):
            found[key] = {
                name: _schema(inner, limits) if isinstance(inner, Mapping) else inner
                for name, inner in value.items()
            }
        elif key in _LISTS and isinstance(value, Sequence) and not isinstance(value, str):
            found[key] = [
                _schema(inner, limits) if isinstance(inner, Mapping) else inner for inner in value
            ]
        elif key in (*_ONE, "additionalProperties") and isinstance(value, Mapping):
            found[key] = _schema(value, limits)
        else:
            found[key] = value
    return found


def _said(text: str, schema: JsonObject, limits: Limits) -> str:
    """What is told of one parameter; one that has no type is never left without a word."""
    if limits.property is None:
        return " ".join(text.split())
    least = 0 if any(key in schema for key in ("type", "enum", "const", "$ref")) else 60
    return brief(text, max(limits.property, least)) if max(limits.property, least) else ""


def _says_nothing(value: JsonValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _SAFE


def parameters(schema: JsonObject) -> dict[str, bool]:
    """Every parameter of a schema's top level, and whether it is required."""
    properties, required = schema.get("properties"), schema.get("required")
    names = properties if isinstance(properties, Mapping) else {}
    needed = required if isinstance(required, Sequence) and not isinstance(required, str) else ()
    return {name: name in needed for name in names}
