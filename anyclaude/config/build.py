"""Settings out of the values that won, which the schema has found to be right."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from anyclaude.config import schema
from anyclaude.config.files import DATABASE_NAME, default_data_dir
from anyclaude.config.settings import (
    ENGINE,
    BackendSettings,
    CacheSettings,
    KeySettings,
    LogSettings,
    McpSettings,
    MemorySettings,
    ModelSettings,
    PerformanceSettings,
    PromptSettings,
    ResilienceSettings,
    RouteSettings,
    SearchSettings,
    ServerSettings,
    Settings,
    ToolSettings,
    UiSettings,
)

Values = Mapping[str, object]
"""Dotted names and what they hold, as TOML has it."""

_Section = TypeVar("_Section")


def build(
    values: Values, backends: Iterable[str], keys: Iterable[str], mcp: Iterable[str]
) -> Settings:
    """The whole tree; a key without a value has its default.

    ``backends``, ``keys`` and ``mcp`` are what the user called the tables of these.
    """
    data_dir = Path(str(values.get("data_dir", ""))) if "data_dir" in values else default_data_dir()
    return Settings(
        data_dir=data_dir,
        db=Path(str(values.get("db", data_dir / DATABASE_NAME))),
        server=section(ServerSettings, "server", values),
        model=section(ModelSettings, "model", values),
        performance=section(PerformanceSettings, "performance", values),
        cache=section(CacheSettings, "cache", values),
        memory=section(MemorySettings, "memory", values),
        backends=_backends(values, backends),
        routes=tuple(route for _, route in numbered_routes(values)),
        resilience=section(ResilienceSettings, "resilience", values),
        keys=tuple((name, section(KeySettings, f"keys.{name}", values)) for name in keys),
        search=section(SearchSettings, "search", values),
        prompt=section(PromptSettings, "prompt", values),
        mcp=tuple((name, section(McpSettings, f"mcp.{name}", values)) for name in mcp),
        tools=section(ToolSettings, "tools", values),
        log=section(LogSettings, "log", values),
        ui=section(UiSettings, "ui", values),
    )


def numbered_routes(values: Values) -> Iterator[tuple[int, RouteSettings]]:
    """The routes that say what they match and where it goes, counted from 1."""
    tables = cast("list[Mapping[str, object]]", values.get("routes", []))
    for number, table in enumerate(tables, 1):
        if "match" in table and "targets" in table:
            prefix = f"routes.{number}"
            dotted = {f"{prefix}.{name}": value for name, value in table.items()}
            yield number, section(RouteSettings, prefix, dotted)


def section(cls: type[_Section], prefix: str, values: Values) -> _Section:
    """One table as the dataclass that holds it."""
    given: dict[str, Any] = {}
    for field in dataclasses.fields(cast(Any, cls)):
        name = f"{prefix}.{field.name}"
        if name in values:
            given[field.name] = _frozen(name, values[name])
    return cls(**given)


def _backends(values: Values, own: Iterable[str]) -> tuple[tuple[str, BackendSettings], ...]:
    """Those of the user, and before them the engine if no other is of its type or has its name."""
    given = {name: section(BackendSettings, f"backends.{name}", values) for name in own}
    if ENGINE not in given and all(backend.type != "mlx" for backend in given.values()):
        given = {ENGINE: BackendSettings(), **given}
    return tuple(given.items())


def _frozen(name: str, value: object) -> object:
    """A TOML value as the settings hold it."""
    key = schema.find(name)
    match key.kind if key is not None else "string":
        case "integer":
            return int(cast(float, value))
        case "number":
            return float(cast(float, value))
        case "array":
            return tuple(cast("list[object]", value))
        case "object":
            return tuple(cast("dict[str, object]", value).items())
        case _:
            return value
