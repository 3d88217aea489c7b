"""What a configuration may hold: the JSON Schema of the package and its plain-language errors.

A document here is the nested mapping that :mod:`tomllib` gives. Its *leaves* are the values of
single keys under their dotted names; a table whose entries the user names himself and whose
values are plain (``ui.keymap``) is one leaf.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, TypeAlias, cast

from anyclaude.config.fitting import fits

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Document: TypeAlias = Mapping[str, object]
ANY_NAME = "*"
"""Stands in a dotted name for what the user may call as he likes: ``backends.*.type``."""

MASK = "********"
SECRETS = frozenset({"admin_key", "api_key"})


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its dotted ``name``, and the part of the schema that describes its value."""

    name: str
    rule: Document

    @property
    def section(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def kind(self) -> str:
        """``string``, ``integer``, ``number``, ``boolean``, ``array`` or ``object``."""
        return str(self.rule.get("type", "string"))


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one key; ``text`` follows the name of the file in the message."""

    key: str
    text: str


@functools.cache
def schema() -> Document:
    """The JSON Schema (draft 2020-12) shipped with the package."""
    text = resources.files("anyclaude.config").joinpath("schema.json").read_text("utf-8")
    return cast(Document, json.loads(text))


@functools.cache
def all_keys() -> tuple[Key, ...]:
    """Every key there is, in the order of the schema."""
    return tuple(_walk("", schema()))


def find(name: str) -> Key | None:
    """The key of a dotted name, ``backends.mlx.type`` included."""
    parts = name.split(".")
    for key in all_keys():
        pattern = key.name.split(".")
        if len(pattern) == len(parts) and all(
            want in (ANY_NAME, part) for want, part in zip(pattern, parts, strict=True)
        ):
            return key
    return None


def leaves(document: Document, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The values of a valid document under their dotted names."""
    for name, value in document.items():
        dotted = f"{prefix}.{name}" if prefix else name
        if isinstance(value, Mapping) and find(dotted) is None:
            yield from leaves(value, dotted)
        else:
            yield dotted, value


def problems(document: Document) -> list[Problem]:
    """Everything the schema has against a document, one entry per key, sorted by key."""
    found: dict[str, Problem] = {}
    if not fits(document, schema()):
        from jsonschema import Draft202012Validator

        for error in Draft202012Validator(schema()).iter_errors(document):
            for problem in _explain(error):
                found.setdefault(problem.key, problem)
    for name, value in leaves(document):
        if isinstance(value, float) and not math.isfinite(value) and (key := find(name)):
            found.setdefault(name, mismatch(name, value, key.rule))
    return sorted(found.values(), key=lambda problem: problem.key)


def mismatch(name: str, value: object, rule: Document) -> Problem:
    """The problem of a value that isn't what its key may hold."""
    return Problem(name, f"{name} is {show(name, value)}; expected {expectation(rule)}")


def show(name: str, value: object) -> str:
    """A value as it may be printed: secrets masked, long ones cut."""
    if name.rpartition(".")[2] in SECRETS and value:
        return MASK
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}…"


def expectation(rule: Document) -> str:
    """What a value may be, in words: ``an integer from 0 to 65535``."""
    if "enum" in rule:
        return " or ".join(json.dumps(v) for v in cast(Iterable[object], rule["enum"]))
    match rule.get("type"):
        case "boolean":
            return "true or false"
        case "integer":
            return f"an integer{_range(rule)}"
        case "number":
            return f"a number{_range(rule)}"
        case "array":
            return "a list of different strings, none of them empty"
        case "object" if "properties" in rule:
            return "a table"
        case "object":
            return "a table of strings"
        case _:
            return "a string that is not empty" if "minLength" in rule else "a string"


def nearest(name: str) -> str | None:
    """The known key or section most like an unknown one."""
    names = _known(name)
    leaf = name.rpartition(".")[2]
    same_leaf = [n for n in names if n.rpartition(".")[2] == leaf]
    if same_leaf:
        return difflib.get_close_matches(name, same_leaf, n=1, cutoff=0.0)[0]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    if close:
        return close[0]
    by_leaf = {n.rpartition(".")[2]: n for n in names}
    close = difflib.get_close_matches(leaf, by_leaf, n=1, cutoff=0.7)
    return by_leaf[close[0]] if close else None


def unknown(name: str) -> Problem:
    """The problem of a key that doesn't exist."""
    near = nearest(name)
    if near is not None:
        return Problem(name, f"{name} is unknown; the nearest known key is {near}")
    section = name.rpartition(".")[0]
    siblings = [n.rpartition(".")[2] for n in _known(name) if n.rpartition(".")[0] == section]
    place = f"in [{section}]" if section else "at the top"
    return Problem(name, f"{name} is unknown; expected {place}: {', '.join(siblings)}")


def _known(name: str) -> list[str]:
    """All keys and sections, with the user's own name where any name goes."""
    section, _, rest = name.partition(".")
    own = rest.partition(".")[0]
    names: dict[str, None] = {}
    for key in all_keys():
        free = key.name.replace(ANY_NAME, own) if own and key.section.startswith(section) else None
        names[free or key.name] = None
        names[key.name.partition(".")[0]] = None
    return [n for n in names if ANY_NAME not in n]


def _walk(prefix: str, rule: Document) -> Iterator[Key]:
    for name, child in cast(Mapping[str, Document], rule["properties"]).items():
        dotted = f"{prefix}.{name}" if prefix else name
        rest = child.get("additionalProperties")
        if "properties" in child:
            yield from _walk(dotted, child)
        elif isinstance(rest, Mapping) and "properties" in rest:
            yield from _walk(f"{dotted}.{ANY_NAME}", rest)
        else:
            yield Key(dotted, child)


def _explain(error: ValidationError) -> Iterator[Problem]:
    path = [str(p) for p in error.absolute_path]
    name = ".".join(path)
    if error.validator == "additionalProperties":
        known = cast("Mapping[str, Document]", error.schema)["properties"]
        for extra in cast(Mapping[str, object], error.instance):
            if extra not in known:
                yield unknown(f"{name}.{extra}" if name else extra)
    elif error.validator == "pattern":
        yield Problem(
            f"{name}.{error.instance}",
            f"{name}.{error.instance} is not a usable name; expected small letters, digits,"
            " - and _",
        )
    else:
        key = find(name)
        while key is None and path[:-1]:
            path.pop()
            key = find(".".join(path))
        shown = ".".join(path) if key else name
        rule = key.rule if key else cast(Document, error.schema)
        value = error.instance
        if shown != name:
            part = name.removeprefix(f"{shown}.")
            value = [value] if key is not None and key.kind == "array" else {part: value}
        yield mismatch(shown, value, rule)


def _range(rule: Document) -> str:
    low, high = rule.get("minimum"), rule.get("maximum")
    above = rule.get("exclusiveMinimum")
    if above is not None:
        return f" above {above}" + (f" and at most {high}" if high is not None else "")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of at least {low}" if low is not None else ""
