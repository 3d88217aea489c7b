"""The settings as a document again: to be shown, and to be written to a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from anyclaude.config import schema
from anyclaude.config.files import write_private
from anyclaude.config.layers import PATHS
from anyclaude.config.masking import hidden
from anyclaude.config.settings import Settings

DEFAULT = "default"
_NAMED = ("backends", "keys", "mcp")


def values_of(settings: Settings) -> Iterator[tuple[str, object]]:
    """Every key with its value as TOML has it; ``None`` where there is none.

    Of a backend, the keys that mean something for its type; a key that comes from the
    environment is left there.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in PATHS:
            yield field.name, str(value)
        elif field.name == "routes":
            yield field.name, [dict(_fields("routes.1", route)) for route in settings.routes]
        elif field.name in _NAMED:
            for name, table in value:
                for key, held in _fields(f"{field.name}.{name}", table):
                    yield f"{field.name}.{name}.{key}", held
        elif field.name != "sources":
            for key, held in _fields(field.name, value):
                yield f"{field.name}.{key}", held


def rows_of(settings: Settings) -> Iterator[tuple[str, object, str]]:
    """Key, value and origin, secrets masked, each key of a route on its own."""
    origins = dict(settings.sources)
    for name, value in values_of(settings):
        origin = origins.get(name, DEFAULT)
        if name == "routes" and value:
            for number, route in enumerate(cast("list[Mapping[str, object]]", value), 1):
                for key, held in route.items():
                    yield f"routes.{number}.{key}", hidden(f"routes.{number}.{key}", held), origin
        else:
            yield name, hidden(name, value), origin


def to_document(settings: Settings) -> dict[str, object]:
    """The settings as they stand in a file; keys without a value are left out.

    So is an empty list of routes: below it, TOML would refuse the first ``[[routes]]``.
    """
    document: dict[str, object] = {}
    for name, value in values_of(settings):
        if value is None or (name == "routes" and not value):
            continue
        *parents, leaf = name.split(".")
        table = document
        for part in parents:
            table = cast("dict[str, object]", table.setdefault(part, {}))
        table[leaf] = value
    return document


def masked_document(settings: Settings) -> dict[str, object]:
    """The same, fit to be shown."""
    return {name: hidden(name, value) for name, value in to_document(settings).items()}


def write_settings(path: Path, settings: Settings) -> None:
    """Writes every key to a TOML file of mode 0600, whole or not at all. Raises OSError.

    The data folder and the database are written only where they were chosen: their defaults
    belong to the machine.
    """
    import tomli_w

    document = to_document(settings)
    origins = dict(settings.sources)
    for name in PATHS:
        if origins.get(name, DEFAULT) == DEFAULT and name in document:
            del document[name]
    write_private(path, tomli_w.dumps(document))


def _fields(prefix: str, section: object) -> Iterator[tuple[str, object]]:
    """Names within the section, and values as TOML has them."""
    type = str(getattr(section, "type", ""))
    for field in dataclasses.fields(cast(Any, section)):
        key = schema.find(f"{prefix}.{field.name}")
        value = getattr(section, field.name)
        if key is None or not key.fits_type(type):
            continue
        if bool(getattr(section, f"{field.name}_env", None)):
            value = ""
        if key.kind == "object":
            value = dict(value)
        yield field.name, list(value) if isinstance(value, tuple) else value
