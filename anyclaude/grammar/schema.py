"""A tool's schema as the grammar knows it: the client's own, less what can't be compiled.

The compiler is asked about every part, and only what it refuses is taken out, by path. What was
taken out is a loss: the grammar then allows more than the schema does, so the finished call is
to be validated against the client's schema as ever.

``closed`` copies allow no property that isn't declared, wherever the schema leaves that open and
declares some. That is narrower than the schema, so no loss: a model that may invent names does.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from anyclaude.grammar import compiler
from anyclaude.grammar.lark import plain
from anyclaude.grammar.patterns import conjunction, without_assertions
from anyclaude.types import JsonObject, JsonValue

_Json: TypeAlias = "dict[str, JsonValue]"

_ONE = frozenset(
    {"items", "additionalProperties", "additionalItems", "contains", "not", "if", "then", "else"}
    | {"propertyNames", "unevaluatedProperties", "unevaluatedItems", "contentSchema"}
)
_MANY = frozenset({"anyOf", "oneOf", "allOf", "prefixItems", "items"})
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
_REFUSED: tuple[str, ...] = (
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
)
_REFUSED += ("propertyNames", "unevaluatedProperties", "unevaluatedItems", "dependentRequired")
_REFUSED += ("dependentSchemas", "dependencies", "format", "pattern", "$schema")
_REFUSED += ("minProperties", "maxProperties", "$ref")
_IDLE: Sequence[tuple[str, JsonValue]] = (
    ("propertyNames", {"type": "string"}),
    ("propertyNames", {}),
    ("propertyNames", True),
    ("uniqueItems", False),
    ("unevaluatedProperties", True),
    ("unevaluatedItems", True),
)
"""What says nothing, and is no loss."""
_KEPT = ("items", "properties", "type")
"""Keywords in the order in which they are given up: first those, last these."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A ``keyword`` of the schema at ``path`` (a JSON pointer) that the grammar doesn't have."""

    path: str
    keyword: str
    why: str

    @property
    def text(self) -> str:
        return f"{self.path or '/'}: {self.keyword} is not in the grammar: {self.why}"


@dataclass(frozen=True, slots=True)
class GrammarSchema:
    """The grammar's own copy of a schema; it compiles."""

    schema: JsonObject
    losses: tuple[Loss, ...] = ()


def for_grammar(schema: JsonObject, *, closed: bool = False) -> GrammarSchema:
    """The grammar's copy of ``schema``, that of a tool's input or of an answer's object."""
    return _for_grammar(json.dumps(plain(schema), ensure_ascii=False), closed)


@functools.lru_cache(maxsize=1024)
def _for_grammar(text: str, closed: bool) -> GrammarSchema:
    schema: _Json = json.loads(text)
    losses: tuple[Loss, ...] = ()
    if compiler.problem(schema := _object(schema)):
        mender = _Mender(schema)
        schema, losses = mender.schema, tuple(dict.fromkeys(mender.losses))
    if closed and not compiler.problem(tight := _close(schema)):
        schema = tight
    return GrammarSchema(schema, losses)


def _object(schema: _Json) -> _Json:
    """``schema`` for objects only: that is what arguments are, whatever else is allowed."""
    named = schema.get("type", "object")
    if isinstance(named, list) and "object" in named:
        return {**schema, "type": "object"}
    return {"type": "object", **schema}


class _Mender:
    """Takes out of one schema what the compiler refuses."""

    def __init__(self, schema: _Json) -> None:
        self.losses: list[Loss] = []
        self._shared: _Json = {}
        root = cast(_Json, _move_references(schema, self._shared))
        for keyword in ("$defs", "definitions"):
            named = root.pop(keyword, None)
            if isinstance(named, dict):
                self._shared.update(_defs(keyword, named))
        self._mended: _Json = dict.fromkeys(self._shared, True)
        for name, shared in self._shared.items():
            self._mended[name] = self._part(shared, f"/{name}")
        self.schema = _object(self._with_shared(cast(_Json, self._part(root, "", top=True))))
        if why := compiler.problem(self.schema):
            self.losses.append(Loss("", "properties", why))
            self.schema = {"type": "object"}

    def _with_shared(self, schema: _Json) -> _Json:
        nested: _Json = {}
        for path, shared in self._mended.items():
            keyword, _, name = path.partition("/")
            cast(_Json, nested.setdefault(keyword, {}))[_unescape(name)] = shared
        return {**schema, **nested}

    def _part(self, schema: JsonValue, path: str, *, top: bool = False) -> JsonValue:
        """``schema`` with its parts mended, then itself."""
        if not isinstance(schema, dict):
            return schema
        mended: _Json = {}
        for keyword, value in schema.items():
            if (keyword, value) in _IDLE:
                continue
            here = f"{path}/{_escape(keyword)}"
            if isinstance(value, dict) and keyword in _NAMED:
                value = {
                    name: self._part(item, f"{here}/{_escape(name)}")
                    for name, item in value.items()
                }
            elif isinstance(value, list) and keyword in _MANY:
                value = [self._part(item, f"{here}/{i}") for i, item in enumerate(value)]
            elif isinstance(value, dict) and keyword in _ONE and keyword not in _REFUSED:
                value = self._part(value, here)
            mended[keyword] = value
        return self._whole(mended, path, top) if mended else mended

    def _whole(self, schema: _Json, path: str, top: bool) -> _Json:
        """``schema``, whose parts compile, less the fewest of its own keywords."""
        why = self._problem(schema, top)
        if why and "oneOf" in schema and "anyOf" not in schema:
            wider = {("anyOf" if k == "oneOf" else k): v for k, v in schema.items()}
            if self._problem(wider, top) != why:
                self.losses.append(Loss(path, "oneOf", "more than one of them may match"))
                schema, why = wider, self._problem(wider, top)
        pattern = schema.get("pattern")
        if why and isinstance(pattern, str) and (apart := self._apart(schema, pattern)):
            if self._problem(apart, top) != why:
                schema, why = apart, self._problem(apart, top)
        elif why and isinstance(pattern, str):
            wider = {**schema, "pattern": without_assertions(pattern)}
            if wider != schema and self._problem(wider, top) != why:
                self.losses.append(Loss(path, "pattern", "its look-around is left out"))
                schema, why = wider, self._problem(wider, top)
        if not why:
            return schema
        rest, gone = dict(schema), []
        for keyword in [*_REFUSED, *sorted(schema.keys() - {*_REFUSED, *_KEPT}), *_KEPT]:
            if keyword in rest:
                gone.append(keyword)
                del rest[keyword]
                if not self._problem(rest, top):
                    break
        for keyword in reversed(gone):
            back = {k: v for k, v in schema.items() if k in rest or k == keyword}
            if now := self._problem(back, top):
                self.losses.append(Loss(path, keyword, now.splitlines()[-1][:200]))
            else:
                rest = back
        return rest

    def _apart(self, schema: _Json, pattern: str) -> _Json:
        """``schema`` with its look-ahead as patterns of their own; empty if it has none."""
        parts = conjunction(pattern)
        if not parts:
            return {}
        rest = {k: v for k, v in schema.items() if k != "pattern"}
        others = rest.get("allOf")
        more: list[JsonValue] = [{"pattern": part} for part in parts]
        return {**rest, "allOf": [*(others if isinstance(others, list) else ()), *more]}

    def _problem(self, schema: _Json, top: bool) -> str:
        if not top:
            schema = {"type": "object", "properties": {"x": schema}}
        return compiler.problem(self._with_shared(schema))


def _move_references(schema: JsonValue, shared: _Json) -> JsonValue:
    """References into the schema itself become references to shared definitions."""
    root = schema

    def visit(value: JsonValue) -> JsonValue:
        if isinstance(value, list):
            return [visit(item) for item in value]
        if not isinstance(value, dict):
            return value
        out = {key: visit(item) for key, item in value.items()}
        target = out.get("$ref")
        if isinstance(target, str) and target.startswith("#"):
            parts = [_unescape(part) for part in target[1:].split("/")[1:]]
            if len(parts) == 2 and parts[0] in ("$defs", "definitions"):
                return out
            name = "$defs/at" + re.sub(r"\W", "_", target[1:])
            found = _at(root, parts)
            if found is not None:
                out["$ref"] = "#/" + name
                if name not in shared:
                    shared[name] = True
                    inner = found
                    if not parts and isinstance(found, dict):
                        inner = {k: v for k, v in found.items() if k not in _NAMED or k in _PROPS}
                    shared[name] = visit(inner)
        return out

    return visit(schema)


_PROPS = ("properties", "patternProperties", "dependentSchemas")


def _defs(keyword: str, named: _Json) -> Iterator[tuple[str, JsonValue]]:
    return ((f"{keyword}/{_escape(name)}", item) for name, item in named.items())


def _at(value: JsonValue, parts: list[str]) -> JsonValue:
    for part in parts:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unescape(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")


_PARTS = frozenset({"anyOf", "oneOf", "$ref", "if", "not", "patternProperties"})


def _close(schema: _Json) -> _Json:
    """The schema with every object that declares properties closed, where that is safe.

    Where several schemas hold for one object, closing one of them would shut out the others.
    """
    return schema if _has(schema, "allOf") else cast(_Json, _closed(schema))


def _has(value: JsonValue, keyword: str) -> bool:
    if isinstance(value, list):
        return any(_has(item, keyword) for item in value)
    return isinstance(value, dict) and (
        keyword in value or any(_has(item, keyword) for item in value.values())
    )


def _closed(value: JsonValue) -> JsonValue:
    if not isinstance(value, dict):
        return value
    out: _Json = {}
    for keyword, item in value.items():
        if isinstance(item, dict) and keyword in _NAMED:
            item = {name: _closed(inner) for name, inner in item.items()}
        elif isinstance(item, list) and keyword in _MANY and "properties" not in value:
            item = [_closed(inner) for inner in item]
        elif isinstance(item, dict) and keyword in _ONE:
            item = _closed(item)
        out[keyword] = item
    properties, required = out.get("properties"), out.get("required")
    if isinstance(properties, dict) and properties and not _PARTS & out.keys():
        named = set(map(str, required)) if isinstance(required, list) else set()
        if "additionalProperties" not in out and named <= properties.keys():
            out["additionalProperties"] = False
    return out
