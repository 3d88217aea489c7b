"""The forms in which model families write calls, as Lark text: what their grammars are made of.

Each function here makes a ``Dialect.grammar``: it gives the rule ``call`` and, where several
calls are written in another way than one after the other, ``calls``, and ``later`` for one behind
others in a section of calls. A form is put together from parts: plain text, a :class:`Marker`,
which may be a special token, or a :class:`Pattern`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from anyclaude.dialect import GrammarTool
from anyclaude.grammar.lark import json_rule, quoted
from anyclaude.types import JsonObject, JsonValue

MOST_CALLS = 16
"""Calls in one answer that must be calls, or in one section of calls."""


@dataclass(frozen=True, slots=True)
class Marker:
    """Text that a vocabulary may have as a special token."""

    text: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression in the grammar's own notation."""

    regex: str


Part: TypeAlias = str | Marker | Pattern
Parts: TypeAlias = Sequence[Part]
Terminal: TypeAlias = Callable[[str], str]
Grammar: TypeAlias = Callable[[Sequence[GrammarTool], Terminal], str]
Section: TypeAlias = tuple[Parts, Parts]

NO_SECTION: Section = ((), ())


def symbols(parts: Parts, terminal: Terminal) -> str:
    """``parts`` as symbols of Lark."""
    said = []
    for part in parts:
        match part:
            case Marker():
                said.append(terminal(part.text))
            case Pattern():
                said.append(f"/{part.regex}/")
            case _ if part:
                said.append(quoted(part))
    return " ".join(said)


def _rules(
    bodies: Sequence[str], section: Section, separator: Parts, terminal: Terminal
) -> list[str]:
    """The rules over single calls, whose right sides are ``bodies``."""
    first, last = (symbols(parts, terminal) for parts in section)
    lines = [f"one_{i}: {body}" for i, body in enumerate(bodies)]
    lines.append("one: " + " | ".join(f"one_{i}" for i in range(len(bodies))))
    lines.append(f"call: {first} one {last}")
    if first or separator:
        more = f"({symbols(separator, terminal)} one){{0,{MOST_CALLS - 1}}}"
        lines.append(f"calls: {first} one {more} {last}")
    if first:
        lines.append(f"later: one {last}")
    return lines


def json_calls(
    opening: Callable[[str], Parts],
    closing: Parts,
    *,
    section: Section = NO_SECTION,
    separator: Parts = (),
) -> Grammar:
    """Calls whose arguments are one JSON object between ``opening``, by name, and ``closing``."""

    def grammar(tools: Sequence[GrammarTool], terminal: Terminal) -> str:
        bodies, lines = [], []
        for i, tool in enumerate(tools):
            before, after = symbols(opening(tool.name), terminal), symbols(closing, terminal)
            bodies.append(f"{before} arguments_{i} {after}")
            lines.append(f"arguments_{i}: {json_rule(tool.schema)}")
        return "\n".join([*_rules(bodies, section, separator, terminal), *lines])

    return grammar


@dataclass(frozen=True, slots=True)
class Tags:
    """How arguments stand between tags: ``argument`` opens one, ``end`` closes it.

    The former is given the key, and whether the value is a string as it is or else JSON: some
    tags tell. ``next`` is what both another argument and ``closing`` begin with, if that is plain
    text: a value then ends only at ``end`` with it behind, so that the tag alone may stand in a
    value.
    """

    opening: Callable[[str], Parts]
    argument: Callable[[str, bool], Parts]
    end: Parts
    closing: Parts
    next: str = ""

    @property
    def tells(self) -> bool:
        """Whether the tag of an argument tells if it is a string."""
        return list(self.argument("x", True)) != list(self.argument("x", False))


def tagged_calls(tags: Tags, *, section: Section = NO_SECTION, separator: Parts = ()) -> Grammar:
    """Calls whose arguments stand between tags: strings as they are, all else as JSON.

    Arguments come in the order of the schema; those that it doesn't name are left out.
    """

    def grammar(tools: Sequence[GrammarTool], terminal: Terminal) -> str:
        end = symbols(tags.end, terminal)
        # A special token is no part of a lexeme, and ends the value all by itself.
        heads = [tags.argument("x", True)[0], tags.closing[0]]
        ahead = "" if any(_is_special(part, terminal) for part in heads) else tags.next
        stop = "".join(_text(part) for part in tags.end) + ahead
        special = [i for i, part in enumerate(tags.end) if _is_special(part, terminal)]
        if special:
            tail = f"{end} {symbols([ahead], terminal)}"
            lead = "".join(_text(part) for part in tags.end[: special[0]])
            rest = symbols([*tags.end[special[0] :], ahead], terminal)
            raw = f"raw: /(.|\\n)*{_escaped(lead)}/ {rest}"
        else:
            tail = symbols([stop], terminal)
            raw = f"raw[suffix={quoted(stop)}]: /(.|\\n)*/"
        bodies, lines = [], [raw]
        for i, tool in enumerate(tools):
            parts = [symbols([*tags.opening(tool.name), ahead], terminal)]
            for j, (key, schema, needed) in enumerate(_properties(tool.schema)):
                rule = f"argument_{i}_{j}"
                ways = [
                    f"{symbols(_without(tags.argument(key, text), ahead), terminal)} {value}"
                    for text, value in _values(schema, tail, told=tags.tells)
                ]
                lines.append(f"{rule}: {' | '.join(ways)}")
                parts.append(rule if needed else f"{rule}?")
            parts.append(symbols(_without(tags.closing, ahead), terminal))
            bodies.append(" ".join(parts))
        return "\n".join([*_rules(bodies, section, separator, terminal), *lines])

    return grammar


def keyword_calls(*, section: Section = NO_SECTION) -> Grammar:
    """Calls as Python writes them, ``name(key=value, ...)``; what lies deeper is JSON."""

    def grammar(tools: Sequence[GrammarTool], terminal: Terminal) -> str:
        bodies, lines = [], []
        for i, tool in enumerate(tools):
            known = list(_properties(tool.schema))
            rules = []
            for j, (key, schema, _) in enumerate(known):
                name = quoted(f"{key}=") if key.isidentifier() else quoted(f'**{{"{key}": ')
                after = "" if key.isidentifier() else ' "}"'
                lines.append(f"value_{i}_{j}: {name} {_python(schema)}{after}")
                rules.append((f"value_{i}_{j}", known[j][2]))
            lines += listed(f"list_{i}", rules, ", ")
            bodies.append(f"{quoted(tool.name + '(')} list_{i}_0_first {quoted(')')}")
        return "\n".join([*_rules(bodies, section, [", "], terminal), *lines])

    return grammar


def listed(name: str, rules: Sequence[tuple[str, bool]], comma: str) -> list[str]:
    """The rule ``{name}_0_first`` for a list of ``rules`` in order; those not needed may lack."""
    lines = [f'{name}_{len(rules)}_{state}: ""' for state in ("first", "later")]
    for i, (rule, needed) in enumerate(rules):
        for state, before in (("first", ""), ("later", f"{quoted(comma)} ")):
            skip = "" if needed else f" | {name}_{i + 1}_{state}"
            lines.append(f"{name}_{i}_{state}: {before}{rule} {name}_{i + 1}_later{skip}")
    return lines


# ----------------------------------------------------------------------------------- values


def _is_special(part: Part, terminal: Terminal) -> bool:
    return isinstance(part, Marker) and terminal(part.text).startswith("<[")


def _text(part: Part) -> str:
    return part if isinstance(part, str) else part.text if isinstance(part, Marker) else ""


def _escaped(text: str) -> str:
    """``text`` as part of a regular expression."""
    return "".join(c if c.isalnum() or c in '<> "=_' else f"\\{c}" for c in text)


def _without(parts: Parts, ahead: str) -> Parts:
    """``parts`` less the text that has been said already."""
    if not ahead:
        return parts
    head = _text(parts[0])
    assert head.startswith(ahead), f"{head!r} has to begin with {ahead!r}"
    return [head[len(ahead) :], *parts[1:]]


def _properties(schema: JsonObject) -> list[tuple[str, JsonObject, bool]]:
    """Each declared property with its own schema, and whether it is required."""
    properties = schema.get("properties")
    required = schema.get("required")
    needed = set(map(str, required)) if isinstance(required, list | tuple) else set()
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    found = []
    for key, value in properties.items() if isinstance(properties, Mapping) else ():
        own = {**value, **shared} if isinstance(value, Mapping) else shared
        if value is not False and not any(sign in key for sign in '<>"\n'):
            found.append((key, cast(JsonObject, own), key in needed))
    return found


def _values(schema: JsonObject, tail: str, *, told: bool) -> list[tuple[bool, str]]:
    """A value and its closing tag, as a string or not; both ways if that is ``told`` and open."""
    kinds, options = kinds_of(schema), schema.get("enum")
    if "const" in schema:
        options = [schema["const"]]
    if kinds == {"string"} and isinstance(options, list | tuple):
        said = " | ".join(quoted(str(option)) for option in options if option)
        return [(True, f"({said}) {tail}" if said else f'"" {tail}')]
    ways = [(True, "raw")] if "string" in kinds else []
    if not ways or (told and kinds != {"string"}):
        ways.append((False, f"{json_rule(schema)} {tail}"))
    return ways


def _python(schema: JsonObject) -> str:
    """A value as Python writes it, where JSON has another word for it."""
    kinds = kinds_of(schema)
    if kinds <= {"boolean", "null"} and "const" not in schema and "enum" not in schema:
        words = [
            *(["True", "False"] if "boolean" in kinds else []),
            *(["None"] * ("null" in kinds)),
        ]
        return "(" + " | ".join(map(quoted, words)) + ")"
    return json_rule(schema)


_ALL = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})


def kinds_of(schema: JsonObject) -> frozenset[str]:
    """The JSON types that ``schema`` may allow; references are those into itself."""
    return _kinds(schema, schema, 0)


def _kinds(schema: JsonValue, root: JsonObject, depth: int) -> frozenset[str]:
    """The JSON types that ``schema`` may allow."""
    if not isinstance(schema, Mapping) or depth > 8:
        return _ALL
    found = _ALL
    named = schema.get("type")
    if isinstance(named, str):
        found &= {named}
    elif isinstance(named, list | tuple):
        found &= {str(name) for name in named}
    options = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(options, list | tuple):
        strings = [isinstance(option, str) for option in options]
        found = found & {"string"} if all(strings) else found
        found = found - {"string"} if not any(strings) else found
    for keyword in ("anyOf", "oneOf"):
        parts = schema.get(keyword)
        if isinstance(parts, list | tuple) and parts:
            found &= frozenset().union(*(_kinds(part, root, depth + 1) for part in parts))
    target = schema.get("$ref")
    if isinstance(target, str) and target.startswith("#/"):
        place: JsonValue = root
        for step in target[2:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            place = place.get(step) if isinstance(place, Mapping) else None
        found &= _kinds(place, root, depth + 1)
    return found
