"""A quick look whether a document fits its JSON Schema, since jsonschema takes a tenth of a
second to import and nearly every configuration is fine.

It says yes only when jsonschema would; what it does not understand it calls unfit, and
jsonschema then finds the words for what is wrong, if anything is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Rule: TypeAlias = Mapping[str, Any]

_REMARKS = frozenset(("$schema", "title", "description", "default", "x-types", "x-words"))


def fits(value: object, rule: Rule) -> bool:
    """True when ``value`` certainly satisfies the schema ``rule``."""
    for word, limit in rule.items():
        if word in _REMARKS:
            continue
        check = _CHECKS.get(word)
        if check is None or not check(value, limit, rule):
            return False
    return True


def _type(value: object, kind: object, rule: Rule) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return _is_number(value)
    return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _properties(value: object, rules: Mapping[str, Rule], rule: Rule) -> bool:
    return isinstance(value, dict) and all(
        fits(item, rules[name]) for name, item in value.items() if name in rules
    )


def _others(value: object, allowed: bool | Rule, rule: Rule) -> bool:
    if not isinstance(value, dict):
        return False
    others = [item for name, item in value.items() if name not in rule.get("properties", {})]
    if isinstance(allowed, Mapping):
        return all(fits(item, allowed) for item in others)
    return allowed or not others


def _names(value: object, names: Rule, rule: Rule) -> bool:
    return isinstance(value, dict) and all(fits(name, names) for name in value)


def _items(value: object, items: Rule, rule: Rule) -> bool:
    return isinstance(value, list) and all(fits(item, items) for item in value)


def _unique(value: object, wanted: bool, rule: Rule) -> bool:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return False
    return not wanted or len(set(value)) == len(value)


def _required(value: object, names: Sequence[str], rule: Rule) -> bool:
    return isinstance(value, dict) and all(name in value for name in names)


def _count(value: object, least: int, rule: Rule) -> bool:
    return isinstance(value, list) and len(value) >= least


def _enum(value: object, allowed: Sequence[object], rule: Rule) -> bool:
    return any(type(value) is type(one) and value == one for one in allowed)


def _pattern(value: object, pattern: str, rule: Rule) -> bool:
    return isinstance(value, str) and re.search(pattern, value) is not None


def _compare(holds: Callable[[Any, Any], bool]) -> Callable[[object, Any, Rule], bool]:
    return lambda value, limit, rule: _is_number(value) and holds(value, limit)


def _length(value: object, least: int, rule: Rule) -> bool:
    return isinstance(value, str) and len(value) >= least


_CHECKS: Mapping[str, Callable[[object, Any, Rule], bool]] = {
    "type": _type,
    "properties": _properties,
    "additionalProperties": _others,
    "propertyNames": _names,
    "required": _required,
    "items": _items,
    "minItems": _count,
    "uniqueItems": _unique,
    "enum": _enum,
    "pattern": _pattern,
    "minLength": _length,
    "minimum": _compare(lambda value, limit: value >= limit),
    "maximum": _compare(lambda value, limit: value <= limit),
    "exclusiveMinimum": _compare(lambda value, limit: value > limit),
}
