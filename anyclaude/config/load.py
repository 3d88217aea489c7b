"""The effective settings: defaults, then files, then environment, then flags, key by key.

Each layer is checked by the schema on its own, so that a problem is reported with the place it
came from, and every value remembers its origin.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from anyclaude.config import schema
from anyclaude.config.build import build, numbered_routes
from anyclaude.config.checks import Case, contradictions
from anyclaude.config.checks.search import with_keys
from anyclaude.config.document import DEFAULT, values_of
from anyclaude.config.files import default_data_dir
from anyclaude.config.keyfile import key_layer
from anyclaude.config.layers import (
    Layer,
    absolute,
    env_layer,
    file_layer,
    file_layers,
    flag_layer,
)
from anyclaude.config.settings import Settings
from anyclaude.errors import ConfigError

_OWN = ("backends", "keys", "mcp")
"""Sections whose tables have names of the user's own."""


def load_settings(
    *,
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    env: Mapping[str, str],
    cwd: Path,
) -> Settings:
    """The effective settings; raises ConfigError with one line per problem.

    ``config`` (or ``ANYCLAUDE_CONFIG``) is read alone; without it ``./anyclaude.toml`` is laid
    over the user's file. ``overrides`` are flags by dotted key, ``server.port``. A backend's
    ``api_key_env`` is looked up in ``env``, and so are those of the search's providers.
    """
    files = file_layers(config, env, cwd)
    layers = [*files, env_layer(env, cwd, _own_names(files)), flag_layer(overrides or {}, cwd)]
    settings, wrong = _compose(layers, env)
    if settings is None:
        raise ConfigError("\n".join(wrong))
    return settings


def check_file(path: Path, env: Mapping[str, str]) -> tuple[str, ...]:
    """Everything wrong with one file, a line each; empty when it is fine.

    Of the environment ``env`` only the keys count that the file names.
    """
    return tuple(_compose([file_layer(path)], env)[1])


def _compose(layers: list[Layer], env: Mapping[str, str]) -> tuple[Settings | None, list[str]]:
    """The settings, or all that is wrong: each layer alone, and then together."""
    wrong: list[str] = []
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    broken: set[str] = set()
    own: dict[str, dict[str, None]] = {section: {} for section in _OWN}
    of_command = key_layer(_data_dir(layers))
    for layer in (of_command, *layers):
        found = schema.problems(layer.document)
        if layer is not of_command:
            wrong += _named_twice(of_command, layer)
        wrong += [*layer.wrong, *(f"{layer.origin(p.key)}: {p.text}" for p in found)]
        broken.update(p.key for p in found)
        document = schema.sound_part(layer.document, found)
        for section in _OWN:
            for name in schema.named(document, section):
                own[section][name] = None
                origins[f"{section}.{name}"] = layer.origin(f"{section}.{name}")
        for name, value in schema.leaves(document):
            values[name] = absolute(layer, name, value)
            origins[name] = layer.origin(name)
    settings = build(values, **own)
    routes = tuple(numbered_routes(values))
    wrong += contradictions(Case(settings, routes, origins, frozenset(broken), env))
    if wrong:
        return None, wrong
    return _finished(settings, origins, env), []


def _finished(settings: Settings, origins: Mapping[str, str], env: Mapping[str, str]) -> Settings:
    """With keys from the environment, and where every value came from."""
    backends = tuple(
        (
            name,
            dataclasses.replace(backend, api_key=env.get(backend.api_key_env, ""))
            if backend.api_key_env
            else backend,
        )
        for name, backend in settings.backends
    )
    search = with_keys(settings.search, env)
    settings = dataclasses.replace(settings, backends=backends, search=search)
    sources = tuple((name, origins.get(name, DEFAULT)) for name, _ in values_of(settings))
    return dataclasses.replace(settings, sources=sources)


def _data_dir(layers: list[Layer]) -> Path:
    """The data folder as far as it can be told already: the virtual keys are there."""
    for layer in reversed(layers):
        value = layer.document.get("data_dir")
        if isinstance(value, str) and value:
            return Path(str(absolute(layer, "data_dir", value)))
    return default_data_dir()


def _named_twice(of_command: Layer, layer: Layer) -> Iterator[str]:
    """Keys of a layer whose names the command's file has as well; it may change at any time."""
    ours = schema.named(of_command.document, "keys")
    for name in schema.named(layer.document, "keys"):
        if name in ours:
            key = f"keys.{name}"
            yield (
                f"{layer.origin(key)}: {key} is in {of_command.origin(key)} too; expected another"
                " name"
            )


def _own_names(layers: list[Layer]) -> tuple[str, ...]:
    """What tables in files are called."""
    return tuple(
        name
        for layer in layers
        for section in _OWN
        for name in schema.named(layer.document, section)
    )
