"""JSON Schema of strangers, applied in bounded work.

Schemas come from whoever configured the client, so they may be wrong or hostile. Nothing is ever
fetched, regular expressions that could backtrack without end are not run, and a check that takes
too many steps ends. Compiled schemas are kept by their hash. A schema is read by the draft that
its own ``$schema`` names, 2020-12 when it names none.

Importing this imports jsonschema, a quarter of a second that no start should wait for.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol, TypeAlias, cast

from jsonschema import (
    Draft3Validator,
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
)
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from anyclaude.tools import patterns
from anyclaude.tools.canonical import canonical_text, hash_of
from anyclaude.types import JsonObject, JsonValue

MAX_STEPS = 20_000
MAX_SCHEMA = 256 * 1024
_MAX_NOTE = 300
_MAX_UNIQUE = 500
_KEPT = 256
_SHAPES: dict[str, type] = {"required": list, "enum": list, "properties": dict}
"""Keywords of which a wrong form would be taken for a fault of the call."""


@dataclass(slots=True)
class _Budget:
    steps: int = MAX_STEPS
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        text = text if len(text) <= _MAX_NOTE else text[: _MAX_NOTE - 1] + "…"
        if text not in self.notes:
            self.notes.append(text)


class _OutOfSteps(Exception):
    pass


class _Check(Protocol):
    def iter_errors(self, instance: JsonValue) -> Iterator[ValidationError]: ...


@dataclass(frozen=True, slots=True)
class _Compiled:
    """``note`` says what of the schema itself is odd; empty when nothing is."""

    check: _Check
    note: str


@dataclass(frozen=True, slots=True)
class Errors:
    """What jsonschema found, and notes on what it did not check."""

    errors: tuple[ValidationError, ...] = ()
    notes: tuple[str, ...] = ()


# jsonschema calls a keyword with its validator, value, instance and schema, all untyped.
_Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]
_BUDGET: ContextVar[_Budget] = ContextVar("budget")
_COMPILED: OrderedDict[str, _Compiled] = OrderedDict()
_LOCK = Lock()


def find_errors(schema: JsonObject, value: JsonValue, limit: int) -> Errors:
    """The first ``limit`` errors of ``value`` under ``schema``. Never raises."""
    budget = _Budget()
    token = _BUDGET.set(budget)
    errors: list[ValidationError] = []
    try:
        text = canonical_text(schema)
        if len(text) > MAX_SCHEMA:
            return Errors(notes=(f"the input schema is over {MAX_SCHEMA} bytes: not checked",))
        compiled = _compiled(text)
        if compiled.note:
            budget.note(compiled.note)
        for error in compiled.check.iter_errors(value):
            errors.append(error)
            if len(errors) == limit:
                break
    except _OutOfSteps:
        budget.note(f"the check was given up after {MAX_STEPS} steps")
    except Exception as error:
        # A broken schema can raise anything in there, and the call has to go on.
        reason = str(error).partition("\n")[0]
        budget.note(f"the input schema can't be used: {type(error).__name__}: {reason}")
    finally:
        _BUDGET.reset(token)
    return Errors(tuple(errors), tuple(budget.notes))


def _compiled(text: str) -> _Compiled:
    key = hash_of(text)
    with _LOCK:
        if (found := _COMPILED.get(key)) is not None:
            _COMPILED.move_to_end(key)
            return found
    schema = json.loads(text)
    dialect = schema.get("$schema") if isinstance(schema, dict) else None
    known = dialect is None or (isinstance(dialect, str) and _dialect(dialect) in _CLASSES)
    cls = _CLASSES[_dialect(dialect)] if isinstance(dialect, str) and known else _CLASSES[_DEFAULT]
    # An empty registry: the default one fetches references from the network.
    check = cast(_Check, cls(_without_dialect(schema), registry=Registry()))
    note = "" if known else f"the schema's dialect {dialect!r} is unknown, read as 2020-12"
    compiled = _Compiled(check, note)
    with _LOCK:
        _COMPILED[key] = compiled
        while len(_COMPILED) > _KEPT:
            _COMPILED.popitem(last=False)
    return compiled


def _dialect(uri: str) -> str:
    return uri.partition("://")[2].rstrip("#").rstrip("/")


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
        _BUDGET.get().note(f"the pattern {pattern!r} was not checked")
    return found


def _pattern(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and _search(value, instance) is False:
        yield ValidationError(f"does not match {value!r}")


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
    """One error for each key that is too many, with the path of that key."""
    if not isinstance(instance, dict):
        return
    named = schema.get("properties", {})
    expressions = schema.get("patternProperties", {})
    extras = [
        key
        for key in instance
        if key not in named and all(_search(p, key) is False for p in expressions)
    ]
    for key in extras:
        if value is False:
            yield ValidationError("is no known key", path=(key,), instance=instance[key])
        elif isinstance(value, dict):
            yield from validator.descend(instance[key], value, path=key)


def _required(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """One error for each key that is missing, with the path of that key."""
    if isinstance(instance, dict):
        for key in value:
            if key not in instance:
                yield ValidationError("is missing", path=(key,))


def _unique_items(
    validator: Any, value: Any, instance: Any, schema: Any
) -> Iterable[ValidationError] | None:
    if isinstance(instance, list) and len(instance) > _MAX_UNIQUE:
        _BUDGET.get().note(f"uniqueItems was not checked on {len(instance)} items")
        return None
    return _UNIQUE_ITEMS(validator, value, instance, schema)


def _unchecked(name: str) -> _Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> None:
        _BUDGET.get().note(f"{name} was not checked")

    return check


_UNIQUE_ITEMS: _Keyword = Draft202012Validator.VALIDATORS["uniqueItems"]
_OURS: dict[str, _Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "required": _required,
    "uniqueItems": _unique_items,
    # Their own walk through the schema runs its regular expressions unguarded.
    "unevaluatedProperties": _unchecked("unevaluatedProperties"),
    "unevaluatedItems": _unchecked("unevaluatedItems"),
}
_Class: TypeAlias = Callable[..., object]
_extend: Callable[..., _Class] = extend


def _bounded(standard: Mapping[str, _Keyword], cls: object) -> _Class:
    ours = {name: _OURS.get(name, keyword) for name, keyword in standard.items()}
    return _extend(cls, {name: _counted(name, keyword) for name, keyword in ours.items()})


_DEFAULT = "json-schema.org/draft/2020-12/schema"
_CLASSES: dict[str, _Class] = {
    "json-schema.org/draft-03/schema": _bounded(Draft3Validator.VALIDATORS, Draft3Validator),
    "json-schema.org/draft-04/schema": _bounded(Draft4Validator.VALIDATORS, Draft4Validator),
    "json-schema.org/draft-06/schema": _bounded(Draft6Validator.VALIDATORS, Draft6Validator),
    "json-schema.org/draft-07/schema": _bounded(Draft7Validator.VALIDATORS, Draft7Validator),
    "json-schema.org/draft/2019-09/schema": _bounded(
        Draft201909Validator.VALIDATORS, Draft201909Validator
    ),
    _DEFAULT: _bounded(Draft202012Validator.VALIDATORS, Draft202012Validator),
}
