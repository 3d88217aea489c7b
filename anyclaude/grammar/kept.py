"""What of a tool's schema the text of a call can be held to, by the form that calls are written in.

JSON is held to all of it. Between tags a string is any text, and what may be a string is too;
arguments by keyword are JSON one by one; bare notation is held to a schema's outlines. Nothing
but declared properties can be written in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from anyclaude.grammar.forms import kinds_of
from anyclaude.types import JsonObject, JsonValue

_SAYING = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
    | {"$schema", "$id", "$comment", "$anchor"}
)
"""Keywords that hold a value to nothing."""
_SHARED = frozenset({"$defs", "definitions"})
_OUTLINE = _SAYING | _SHARED | {"type", "properties", "required", "additionalProperties"}


def kept_by_tags(schema: JsonObject) -> JsonObject:
    """For calls whose strings stand raw between tags."""
    return _declared(schema, lambda value: _between_tags(value, schema))


def kept_by_keywords(schema: JsonObject) -> JsonObject:
    """For calls with each argument as JSON of its own."""
    return _declared(schema, lambda value: value)


def kept_bare(schema: JsonObject) -> JsonObject:
    """For calls in bare notation, see :mod:`anyclaude.grammar.bare`."""
    return _only(_bare(schema), _OUTLINE)


def _declared(schema: JsonObject, keep: Callable[[JsonValue], JsonValue]) -> JsonObject:
    out = dict(_only(schema, _OUTLINE))
    if isinstance(properties := schema.get("properties"), Mapping):
        out["properties"] = {name: keep(value) for name, value in properties.items()}
    return out


def _only(schema: JsonObject, keywords: frozenset[str]) -> JsonObject:
    return {keyword: value for keyword, value in schema.items() if keyword in keywords}


def _between_tags(schema: JsonValue, root: JsonObject) -> JsonValue:
    if not isinstance(schema, Mapping):
        return schema
    shared = {key: root[key] for key in _SHARED if key in root}
    kinds = kinds_of({**shared, **schema})
    options = [schema["const"]] if "const" in schema else schema.get("enum")
    if "string" not in kinds:
        return schema
    if kinds == {"string"} and isinstance(options, list | tuple):
        return _only(schema, _SAYING | {"type", "enum", "const"})
    return _only(schema, _SAYING | {"type"})


def _bare(schema: JsonValue) -> JsonObject:
    if not isinstance(schema, Mapping):
        return {}
    said = _SAYING | _SHARED
    if "allOf" in schema:
        return _only(schema, said)
    out = {key: _each(value) if key in _SHARED else value for key, value in schema.items()}
    if "$ref" in schema:
        return _only(out, said | {"$ref"})
    if "enum" in schema or "const" in schema:
        return _only(out, said | {"type", "enum", "const"})
    for keyword in ("anyOf", "oneOf"):
        parts = schema.get(keyword)
        if isinstance(parts, list | tuple) and parts and "properties" not in schema:
            return {**_only(out, said), keyword: [_bare(part) for part in parts]}
    named = schema.get("type")
    kinds = set(map(str, named)) if isinstance(named, list | tuple) else {str(named)}
    keywords = said | {"type"}
    if kinds & {"number", "integer", "boolean", "null"}:
        keywords |= schema.keys() - _TEXT - _INNER
    if "array" in kinds:
        keywords |= {"items", "minItems", "maxItems"}
        out["items"] = _bare(schema["items"]) if "items" in schema else True
    if "object" in kinds:
        keywords |= _OUTLINE
        out["properties"] = _each(schema.get("properties", {}))
        if not out["properties"] and isinstance(schema.get("additionalProperties"), Mapping):
            out["additionalProperties"] = True
    return _only({key: out[key] for key in out if key in schema}, keywords)


_TEXT = frozenset({"pattern", "format", "minLength", "maxLength"})
_INNER = frozenset(
    {"items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems"}
    | {"properties", "patternProperties", "additionalProperties", "required", "propertyNames"}
    | {"minProperties", "maxProperties"}
)


def _each(value: JsonValue) -> JsonValue:
    if not isinstance(value, Mapping):
        return value
    return {name: _bare(item) for name, item in value.items()}
