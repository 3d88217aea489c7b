"""What a configuration may hold: the JSON Schema of the package and its plain-language errors.

A document here is the nested mapping that :mod:`tomllib` gives. Its *leaves* are the values of
single keys under their dotted names; a table whose entries the user names himself and whose
values are plain (``ui.keymap``) is one leaf, and so is a list of tables (``routes``). The tables
of such a list are counted from 1, as a person counts them: ``routes.2.match``.

Two words of the schema are our own: ``x-types`` names the types of backend that a key means
something for, and ``x-words`` says what a pattern asks for.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, TypeAlias, cast

from anyclaude.config.fitting import fits
from anyclaude.config.masking import show

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Document: TypeAlias = Mapping[str, object]
ANY_NAME = "*"
"""Stands in a dotted name for what the user may call as he likes: ``backends.*.type``."""


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
        """``string``, ``integer``, ``number``, ``boolean``, ``array``, ``object`` or ``tables``."""
        return "tables" if _entry(self.rule) else str(self.rule.get("type", "string"))

    @property
    def types(self) -> tuple[str, ...]:
        """The types of backend that it means something for; empty: all of them."""
        return tuple(cast("Iterable[str]", self.rule.get("x-types", ())))

    def fits_type(self, type: str) -> bool:
        """Whether it means something for a backend of that type."""
        return not self.types or type in self.types


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
    """Every key there is, in the order of the schema; a list of tables is one."""
    return tuple(_walk("", schema()))


@functools.cache
def entry_keys() -> tuple[Key, ...]:
    """The keys of the tables in lists: ``routes.*.match``."""
    return tuple(
        inner
        for key in all_keys()
        if (entry := _entry(key.rule))
        for inner in _walk(f"{key.name}.{ANY_NAME}", entry)
    )


@functools.cache
def _by_name() -> Mapping[str, Key]:
    return {key.name: key for key in (*all_keys(), *entry_keys())}


def find(name: str) -> Key | None:
    """The key of a dotted name, ``backends.mlx.type`` and ``routes.2.match`` included."""
    if (key := _by_name().get(name)) is not None:
        return key
    section, _, rest = name.partition(".")
    return _by_name().get(f"{section}.{ANY_NAME}.{rest.partition('.')[2]}")


def leaves(document: Document, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The values of a valid document under their dotted names."""
    for name, value in document.items():
        dotted = f"{prefix}.{name}" if prefix else name
        if isinstance(value, Mapping) and find(dotted) is None:
            yield from leaves(value, dotted)
        else:
            yield dotted, value


def named(document: Document, section: str) -> tuple[str, ...]:
    """What the user called the tables of ``[section.NAME]``, as far as they are tables."""
    tables = document.get(section)
    if not isinstance(tables, Mapping):
        return ()
    return tuple(name for name, table in tables.items() if isinstance(table, Mapping))


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


def sound_part(document: Document, found: Iterable[Problem]) -> Document:
    """What is left of a document without the keys that have problems.

    An entry of a list of tables stays where it is, be it empty.
    """
    wrong: dict[str, set[str]] = {}
    for problem in found:
        parent, _, leaf = problem.key.rpartition(".")
        wrong.setdefault(parent, set()).add(leaf)
    return cast(Document, _without("", document, wrong)) if wrong else document


def mismatch(name: str, value: object, rule: Document) -> Problem:
    """The problem of a value that isn't what its key may hold."""
    return Problem(name, f"{name} is {show(name, value)}; expected {expectation(rule)}")


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
            return _list(rule)
        case "object" if "properties" in rule:
            return "a table"
        case "object" if "properties" in cast(Document, rule["additionalProperties"]):
            return "a table of tables, each under a name of your own"
        case "object":
            return "a table of strings"
        case _ if "x-words" in rule:
            return str(rule["x-words"])
        case _:
            return "a string that is not empty" if "minLength" in rule else "a string"


def nearest(name: str) -> str | None:
    """The known key or section most like an unknown one."""
    # It takes a while to import, and is needed for mistakes alone.
    import difflib

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
    for key in (*all_keys(), *entry_keys()):
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


def _entry(rule: Document) -> Document | None:
    """What describes the tables of a list of them; ``None`` when it is something else."""
    items = rule.get("items")
    return items if isinstance(items, Mapping) and "properties" in items else None


def _without(name: str, value: object, wrong: Mapping[str, set[str]]) -> object:
    if isinstance(value, Mapping):
        return {
            key: _without(f"{name}.{key}" if name else key, inner, wrong)
            for key, inner in value.items()
            if key not in wrong.get(name, ())
        }
    if isinstance(value, list):
        return [_without(f"{name}.{at}", inner, wrong) for at, inner in enumerate(value, 1)]
    return value


def _explain(error: ValidationError) -> Iterator[Problem]:
    path = [str(p + 1) if isinstance(p, int) else p for p in error.absolute_path]
    name = ".".join(path)
    if error.validator == "additionalProperties":
        known = cast("Mapping[str, Document]", error.schema)["properties"]
        for extra in cast(Mapping[str, object], error.instance):
            if extra not in known:
                yield unknown(f"{name}.{extra}" if name else extra)
    elif error.validator == "required":
        for missing in cast(Iterable[str], error.validator_value):
            key = find(f"{name}.{missing}")
            if key is not None and missing not in cast(Mapping[str, object], error.instance):
                text = f"{name}.{missing} is missing; expected {expectation(key.rule)}"
                yield Problem(f"{name}.{missing}", text)
    elif "propertyNames" in error.absolute_schema_path:
        yield Problem(
            f"{name}.{error.instance}",
            f"{name}.{error.instance} is not a usable name; expected small letters, digits,"
            " - and _",
        )
    else:
        yield _misfit(path, error)


def _misfit(path: list[str], error: ValidationError) -> Problem:
    """The problem of the key that a value belongs to, which may be a part of the key's own."""
    name = ".".join(path)
    key = find(name)
    while key is None and path[:-1]:
        path.pop()
        key = find(".".join(path))
    shown = ".".join(path) if key else name
    rule = key.rule if key else cast(Document, error.schema)
    value = error.instance
    if shown != name:
        part = name.removeprefix(f"{shown}.")
        is_list = key is not None and key.kind in ("array", "tables")
        value = [value] if is_list else {part: value}
    return mismatch(shown, value, rule)


def _list(rule: Document) -> str:
    items = cast(Document, rule["items"])
    if _entry(rule):
        return "a list of tables, each with its own heading in double brackets"
    if "enum" in items:
        words = ", ".join(json.dumps(v) for v in cast(Iterable[object], items["enum"]))
        return f"a list of different words out of {words}"
    if not rule.get("uniqueItems"):
        return "a list of strings"
    count = "one or more" if rule.get("minItems") else "different"
    return f"a list of {count} strings, none of them empty"


def _range(rule: Document) -> str:
    low, high = rule.get("minimum"), rule.get("maximum")
    above = rule.get("exclusiveMinimum")
    if above is not None:
        return f" above {above}" + (f" and at most {high}" if high is not None else "")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of at least {low}" if low is not None else ""
