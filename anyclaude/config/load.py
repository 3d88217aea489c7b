"""The effective settings: defaults, then files, then environment, then flags, key by key.

Each layer is checked by the schema on its own, so that a problem is reported with the place it
came from, and every value remembers its origin.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from anyclaude.config import schema
from anyclaude.config.files import DATABASE_NAME, default_data_dir, write_private
from anyclaude.config.layers import Layer, Scalar, env_layer, file_layer, file_layers, flag_layer
from anyclaude.config.settings import (
    BackendSettings,
    CacheSettings,
    LogSettings,
    MemorySettings,
    ModelSettings,
    PerformanceSettings,
    PromptSettings,
    ServerSettings,
    Settings,
    ToolSettings,
    UiSettings,
)
from anyclaude.errors import ConfigError

DEFAULT = "default"
_PATHS = ("data_dir", "db")
_Section = TypeVar("_Section")


def load_settings(
    *,
    config: Path | None = None,
    overrides: Mapping[str, Scalar] | None = None,
    env: Mapping[str, str],
    cwd: Path,
) -> Settings:
    """The effective settings; raises ConfigError with one line per problem.

    ``config`` (or ``ANYCLAUDE_CONFIG``) is read alone; without it ``./anyclaude.toml`` is laid
    over the user's file. ``overrides`` are flags by dotted key, ``server.port``.
    """
    layers = [
        *file_layers(config, env, cwd),
        env_layer(env, cwd),
        flag_layer(overrides or {}, cwd),
    ]
    settings, wrong = _compose(layers)
    if settings is None or wrong:
        raise ConfigError("\n".join(wrong))
    return settings


def check_file(path: Path) -> tuple[str, ...]:
    """Everything wrong with one file, a line each; empty when it is fine."""
    return tuple(_compose([file_layer(path)])[1])


def values_of(settings: Settings) -> Iterator[tuple[str, object]]:
    """Every key with its value as TOML has it; ``None`` where there is none."""
    for name in _PATHS:
        yield name, str(getattr(settings, name))
    for section in dataclasses.fields(settings):
        value = getattr(settings, section.name)
        if section.name == "backends":
            for name, backend in settings.backends:
                yield from _fields(f"backends.{name}", backend)
        elif section.name not in (*_PATHS, "sources"):
            yield from _fields(section.name, value)


def to_document(settings: Settings) -> dict[str, object]:
    """The settings as they stand in a file; keys without a value are left out."""
    document: dict[str, object] = {}
    for name, value in values_of(settings):
        if value is None:
            continue
        *parents, leaf = name.split(".")
        table = document
        for part in parents:
            table = cast("dict[str, object]", table.setdefault(part, {}))
        table[leaf] = value
    return document


def masked(settings: Settings) -> Settings:
    """The settings fit to be shown."""
    server = settings.server
    return dataclasses.replace(
        settings,
        server=dataclasses.replace(
            server,
            api_key=schema.MASK if server.api_key else "",
            admin_key=schema.MASK if server.admin_key else "",
        ),
    )


def write_settings(path: Path, settings: Settings) -> None:
    """Writes every key to a TOML file of mode 0600, whole or not at all. Raises OSError.

    The data folder and the database are written only where they were chosen: their defaults
    belong to the machine.
    """
    import tomli_w

    document = to_document(settings)
    origins = dict(settings.sources)
    for name in _PATHS:
        if origins.get(name, DEFAULT) == DEFAULT:
            del document[name]
    write_private(path, tomli_w.dumps(document))


def is_open(host: str) -> bool:
    """Whether an IP address can be reached by others; of a name only the listener can tell."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _compose(layers: list[Layer]) -> tuple[Settings | None, list[str]]:
    wrong: list[str] = []
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        found = schema.problems(layer.document)
        wrong += [*layer.wrong, *(f"{layer.origin(p.key)}: {p.text}" for p in found)]
        if found:
            continue
        for name, value in schema.leaves(layer.document):
            values[name] = layer.base / Path(str(value)).expanduser() if name in _PATHS else value
            origins[name] = layer.origin(name)
    if wrong:
        return None, wrong
    settings = _build(values, origins)
    return settings, _contradictions(settings)


def _contradictions(settings: Settings) -> list[str]:
    """What no single key is to blame for."""
    origins = dict(settings.sources)
    server = settings.server
    wrong: list[str] = []
    if is_open(server.host) and not server.api_key:
        wrong.append(
            f"{origins['server.host']}: server.host is {schema.show('server.host', server.host)},"
            " which others can reach; expected a server.api_key beside it, or a loopback address"
            " such as 127.0.0.1"
        )
    if server.admin_key and server.admin_key == server.api_key:
        wrong.append(
            f"{origins['server.admin_key']}: server.admin_key is the server.api_key, which every"
            " client has; expected a key of its own"
        )
    return wrong


def _build(values: Mapping[str, object], origins: Mapping[str, str]) -> Settings:
    data_dir = Path(str(values.get("data_dir", ""))) if "data_dir" in values else default_data_dir()
    names = dict.fromkeys(name for name, _ in Settings(data_dir, data_dir).backends)
    names |= dict.fromkeys(n.split(".")[1] for n in values if n.startswith("backends."))
    settings = Settings(
        data_dir=data_dir,
        db=Path(str(values.get("db", data_dir / DATABASE_NAME))),
        server=_section(ServerSettings, "server", values),
        model=_section(ModelSettings, "model", values),
        performance=_section(PerformanceSettings, "performance", values),
        cache=_section(CacheSettings, "cache", values),
        memory=_section(MemorySettings, "memory", values),
        backends=tuple((n, _section(BackendSettings, f"backends.{n}", values)) for n in names),
        prompt=_section(PromptSettings, "prompt", values),
        tools=_section(ToolSettings, "tools", values),
        log=_section(LogSettings, "log", values),
        ui=_section(UiSettings, "ui", values),
    )
    return dataclasses.replace(
        settings,
        sources=tuple((name, origins.get(name, DEFAULT)) for name, _ in values_of(settings)),
    )


def _section(cls: type[_Section], prefix: str, values: Mapping[str, object]) -> _Section:
    given: dict[str, Any] = {}
    for field in dataclasses.fields(cast(Any, cls)):
        name = f"{prefix}.{field.name}"
        if name in values:
            given[field.name] = _frozen(name, values[name])
    return cls(**given)


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


def _fields(prefix: str, section: object) -> Iterator[tuple[str, object]]:
    for field in dataclasses.fields(cast(Any, section)):
        name = f"{prefix}.{field.name}"
        value = getattr(section, field.name)
        key = schema.find(name)
        if key is not None and key.kind == "object":
            value = dict(value)
        yield name, list(value) if isinstance(value, tuple) else value
