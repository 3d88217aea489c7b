"""Arguments against a tool's own JSON Schema, in bounded time.

Schemas come from whoever configured the client, so they may be wrong or hostile. Nothing is ever
fetched, regular expressions that could backtrack without end are not run, and a check that takes
too many steps ends. What could not be checked is said, and is no fault of the call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, TypeAlias, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from anyclaude.tools import patterns
from anyclaude.types import JsonObject

_MAX_ISSUES = 8
_MAX_ISSUE = 300
_MAX_STEPS = 20_000
_MAX_SCHEMA = 256 * 1024
_MAX_UNIQUE = 500
_SHAPES: dict[str, type] = {"required": list, "enum": list, "properties": dict}
"""Keywords of which a wrong form would be taken for a fault of the call."""


@dataclass(frozen=True, slots=True)
class Checked:
    """``issues`` make a call invalid, ``notes`` say what was not checked."""

    issues: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Budget:
    steps: int = _MAX_STEPS
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class _OutOfSteps(Exception):
    pass


class _Check(Protocol):
    def iter_errors(self, instance: JsonObject) -> Iterator[ValidationError]: ...


# jsonschema calls a keyword with its validator, value, instance and schema, all untyped.
_Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]
_BUDGET: ContextVar[_Budget] = ContextVar("budget")


def check_input(schema: JsonObject, arguments: JsonObject) -> Checked:
    """What is wrong with ``arguments`` under ``schema``, each issue with the path it is at."""
    budget = _Budget()
    token = _BUDGET.set(budget)
    issues: list[str] = []
    try:
        text = json.dumps(schema, sort_keys=True)
        if len(text) > _MAX_SCHEMA:
            return Checked(notes=(f"the input schema is over {_MAX_SCHEMA} bytes: not checked",))
        for error in _validator(text).iter_errors(arguments):
            if (issue := _issue(error)) not in issues:
                issues.append(issue)
            if len(issues) == _MAX_ISSUES:
                break
    except _OutOfSteps:
        budget.note(f"the check was given up after {_MAX_STEPS} steps")
    except Exception as error:
        # A broken schema can raise anything in there, and the call has to go on.
        reason = str(error).partition("\n")[0]
        budget.note(_short(f"the input schema can't be used: {type(error).__name__}: {reason}"))
    finally:
        _BUDGET.reset(token)
    return Checked(tuple(issues), tuple(budget.notes))


@lru_cache(maxsize=256)
def _validator(schema: str) -> _Check:
    # An empty registry: the default one fetches references from the network.
    return cast(_Check, _CLASS(_without_dialect(json.loads(schema)), registry=Registry()))


def _without_dialect(value: Any) -> Any:
    """The schema without ``$schema``, on which jsonschema would leave our class for its own."""
    if isinstance(value, dict):
        return {
            key: _without_dialect(item)
            for key, item in value.items()
            if not (key == "$schema" and isinstance(item, str))
        }
    if isinstance(value, list):
        return [_without_dialect(item) for item in value]
    return value


def _issue(error: ValidationError) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    return _short(f"{path}: {error.message}" if path else error.message)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_ISSUE else text[: _MAX_ISSUE - 1] + "…"


# --------------------------------------------------------------------------------- keywords


def _counted(name: str, keyword: _Keyword) -> _Keyword:
    def check(
        validator: Any, value: Any, instance: Any, schema: Any
    ) -> Iterable[ValidationError] | None:
        budget = _BUDGET.get()
        budget.steps -= 1
        if budget.steps < 0:
            raise _OutOfSteps
        if not isinstance(value, _SHAPES.get(name, object)):
            raise TypeError(f"{name} is of the wrong type")
        return keyword(validator, value, instance, schema)

    return check


def _search(pattern: str, text: str) -> bool | None:
    found = patterns.search(pattern, text)
    if found is None:
        _BUDGET.get().note(_short(f"the pattern {pattern!r} was not checked"))
    return found


def _pattern(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and _search(value, instance) is False:
        yield ValidationError(f"{instance!r} does not match {value!r}")


def _pattern_properties(
    validator: Any, value: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in value.items():
        for key, item in instance.items():
            if _search(pattern, key):
                yield from validator.descend(item, subschema, path=key, schema_path=pattern)


def _additional_properties(
    validator: Any, value: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    named = schema.get("properties", {})
    expressions = schema.get("patternProperties", {})
    extras = [
        key
        for key in instance
        if key not in named and all(_search(p, key) is False for p in expressions)
    ]
    if value is False and extras:
        names = ", ".join(repr(key) for key in extras)
        yield ValidationError(f"Additional properties are not allowed ({names} unexpected)")
    elif isinstance(value, dict):
        for key in extras:
            yield from validator.descend(instance[key], value, path=key)


def _unique_items(
    validator: Any, value: Any, instance: Any, schema: Any
) -> Iterable[ValidationError] | None:
    if isinstance(instance, list) and len(instance) > _MAX_UNIQUE:
        _BUDGET.get().note(f"uniqueItems was not checked on {len(instance)} items")
        return None
    return _STANDARD["uniqueItems"](validator, value, instance, schema)


def _unchecked(name: str) -> _Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> None:
        _BUDGET.get().note(f"{name} was not checked")

    return check


_STANDARD: dict[str, _Keyword] = dict(Draft202012Validator.VALIDATORS)
_OURS: dict[str, _Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
    # Their own walk through the schema runs its regular expressions unguarded.
    "unevaluatedProperties": _unchecked("unevaluatedProperties"),
    "unevaluatedItems": _unchecked("unevaluatedItems"),
}
_extend: Callable[..., Callable[..., object]] = extend
_CLASS = _extend(
    Draft202012Validator,
    {name: _counted(name, keyword) for name, keyword in {**_STANDARD, **_OURS}.items()},
)
