"""Gemma's notation: keys are bare and sorted, strings stand between markers, nothing is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from anyclaude.dialect import GrammarTool
from anyclaude.grammar.forms import Grammar, Parts, Terminal, listed, symbols
from anyclaude.grammar.lark import json_rule, quoted
from anyclaude.types import JsonObject, JsonValue

_BARE = re.compile(r"[\w.$\-]+")
_DEEPEST = 24
_ANY_KEY = r"/[A-Za-z_][A-Za-z0-9_]{0,40}/"


def bare_calls(opening: Parts, closing: Parts, quote: str) -> Grammar:
    """Calls as ``opening``, the tool's name, its arguments in braces and ``closing``."""

    def grammar(tools: Sequence[GrammarTool], terminal: Terminal) -> str:
        first, last = symbols(opening, terminal), symbols(closing, terminal)
        writer = _Writer(terminal(quote))
        calls = []
        for tool in tools:
            body = writer.value({**tool.schema, "type": "object"}, tool.schema, 0)
            calls.append(f"{quoted(tool.name)} {body}")
        lines = [f"call: {first} ({' | '.join(calls)}) {last}", *writer.lines]
        return "\n".join(lines)

    return grammar


class _Writer:
    """Writes the rules of values; each has a name of its own, so that schemas may recur."""

    def __init__(self, mark: str) -> None:
        special = mark.startswith("<[")
        self._mark = mark
        self.lines = [
            f"rest: /(.|\\n)*/ {mark}" if special else f"rest[suffix={mark}]: /(.|\\n)*/",
            f"text: {mark} rest",
            f"anything: text | {json_rule({'type': ['number', 'boolean', 'null']})} | "
            "any_list | any_object",
            'any_list: "[" (anything ("," anything)*)? "]"',
            'any_object: "{" (any_pair ("," any_pair)*)? "}"',
            f'any_pair: {_ANY_KEY} ":" anything',
        ]
        self._known: dict[tuple[int, str], str] = {}
        self._count = 0

    def _rule(self, body: str, name: str = "") -> str:
        name = name or self._name()
        self.lines.append(f"{name}: {body}")
        return name

    def _name(self) -> str:
        self._count += 1
        return f"value_{self._count}"

    def value(self, schema: JsonValue, root: JsonObject, depth: int) -> str:
        """The name of the rule for a value of ``schema``."""
        if not isinstance(schema, Mapping) or depth > _DEEPEST or "allOf" in schema:
            return "anything"
        if isinstance(target := schema.get("$ref"), str):
            key = (id(root), target)
            if key not in self._known:
                self._known[key] = name = self._name()
                self._rule(self.value(_at(root, target), root, depth + 1), name)
            return self._known[key]
        options = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(options, list | tuple) and options:
            return self._rule(" | ".join(self._said(option) for option in options))
        for keyword in ("anyOf", "oneOf"):
            parts = schema.get(keyword)
            if isinstance(parts, list | tuple) and parts and "properties" not in schema:
                return self._rule(" | ".join(self.value(p, root, depth + 1) for p in parts))
        kinds = schema.get("type")
        if isinstance(kinds, list | tuple):
            each = [self.value({**schema, "type": kind}, root, depth + 1) for kind in kinds]
            return self._rule(" | ".join(each))
        match kinds:
            case "string":
                return "text"
            case "number" | "integer" | "boolean" | "null":
                return self._rule(json_rule(schema))
            case "array":
                return self._list(schema, root, depth)
            case "object":
                return self._object(schema, root, depth)
        return "anything"

    def _said(self, option: JsonValue) -> str:
        if isinstance(option, str):
            return f"{self._mark} {quoted(option) if option else ''} {self._mark}"
        return quoted(json.dumps(option, ensure_ascii=False, separators=(",", ":")))

    def _list(self, schema: JsonObject, root: JsonObject, depth: int) -> str:
        item = self.value(schema.get("items", True), root, depth + 1)
        least, most = schema.get("minItems", 0), schema.get("maxItems", "")
        low = max(least - 1, 0) if isinstance(least, int) else 0
        high = max(most - 1, low) if isinstance(most, int) else ""
        if most == 0:
            return self._rule('"[]"')
        more = f' ("," {item}){{{low},{high}}}' if high != 0 else ""
        full = item + more
        return self._rule(f'"[" {full} "]"' if least else f'"[" ({full})? "]"')

    def _object(self, schema: JsonObject, root: JsonObject, depth: int) -> str:
        properties, required = schema.get("properties"), schema.get("required")
        if not isinstance(properties, Mapping) or not properties:
            closed = schema.get("additionalProperties") is False
            return self._rule('"{}"') if closed else "any_object"
        needed = set(map(str, required)) if isinstance(required, list | tuple) else set()
        rules = []
        for key in sorted(properties, key=str.lower):
            if properties[key] is False:
                continue
            value = self.value(properties[key], root, depth + 1)
            bare = quoted(f"{key}:") if _BARE.fullmatch(key) else f'{self._said(key)} ":"'
            rules.append((self._rule(f"{bare} {value}"), key in needed))
        name = self._name()
        self.lines += listed(name, rules, ",")
        return self._rule(f'"{{" {name}_0_first "}}"')


def _at(root: JsonObject, target: str) -> JsonValue:
    place: JsonValue = root
    for step in target.removeprefix("#").split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        place = place.get(step) if isinstance(place, Mapping) else None
    return place
