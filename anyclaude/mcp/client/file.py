"""Servers out of a file in Claude Code's own format, ``{"mcpServers": {NAME: {…}}}``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from anyclaude.config.settings import McpSettings
from anyclaude.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_ODD = re.compile(r"[^a-z0-9-]+")


def servers_of(
    own: Mapping[str, McpSettings], file: Path | None, env: Mapping[str, str]
) -> dict[str, McpSettings]:
    """All servers that are switched on: those of the configuration, and those of ``file``.

    Where the configuration has one by the same name without a command or url, the file says how
    it is reached. ``env`` is for the file's ``${VARIABLE}``. Raises ConfigError.
    """
    listed = read_file(file, env) if file is not None else {}
    for name, server in own.items():
        reached = listed.get(name)
        if server.command or server.url:
            listed[name] = server
        elif reached is not None:
            listed[name] = replace(
                server,
                command=reached.command,
                args=reached.args,
                env=reached.env,
                url=reached.url,
                headers=reached.headers,
            )
        elif server.enabled:
            raise ConfigError(
                f"mcp.{name} has neither a command nor a url, and {file} has no server of that name"
            )
    return {name: server for name, server in listed.items() if server.enabled}


def read_file(path: Path, env: Mapping[str, str]) -> dict[str, McpSettings]:
    """The servers of a file by their names, small letters; raises ConfigError naming the key."""
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"tools.mcp_file {path} can't be read: {error}") from error
    servers = raw.get("mcpServers") if isinstance(raw, dict) else None
    if not isinstance(servers, dict):
        raise ConfigError(f'{path}: expected {{"mcpServers": {{NAME: …}}}}')
    found: dict[str, McpSettings] = {}
    for given, entry in servers.items():
        name = _ODD.sub("_", given.lower()).strip("_-")
        if not name or name in found:
            raise ConfigError(f"{path}: mcpServers.{given} needs a name that no other one has")
        found[name] = _server(f"{path}: mcpServers.{given}", entry, env)
    return found


def _server(where: str, entry: object, env: Mapping[str, str]) -> McpSettings:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} is no object")
    kind = entry.get("type", "http" if "url" in entry else "stdio")
    match kind:
        case "stdio":
            return McpSettings(
                command=_text(where, entry, "command", env),
                args=tuple(_texts(where, entry, env)),
                env=_table(where, entry, "env", env),
            )
        case "http" | "streamable-http":
            return McpSettings(
                url=_text(where, entry, "url", env), headers=_table(where, entry, "headers", env)
            )
        case _:
            raise ConfigError(f'{where}.type is {json.dumps(kind)}; expected "stdio" or "http"')


def _text(where: str, entry: Mapping[str, object], key: str, env: Mapping[str, str]) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where}.{key} is missing; expected a string")
    return _filled(f"{where}.{key}", value, env)


def _texts(where: str, entry: Mapping[str, object], env: Mapping[str, str]) -> list[str]:
    value = entry.get("args", [])
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ConfigError(f"{where}.args is no list of strings")
    return [_filled(f"{where}.args", word, env) for word in cast("list[str]", value)]


def _table(
    where: str, entry: Mapping[str, object], key: str, env: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    value = entry.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ConfigError(f"{where}.{key} is no table of strings")
    return tuple(
        (name, _filled(f"{where}.{key}.{name}", text, env)) for name, text in value.items()
    )


def _filled(where: str, text: str, env: Mapping[str, str]) -> str:
    """The text with ``${VARIABLE}`` and ``${VARIABLE:-otherwise}`` filled in."""

    def fill(found: re.Match[str]) -> str:
        value = env.get(found[1]) or found[2]
        if value is None:
            raise ConfigError(f"{where} needs the environment variable {found[1]}, which isn't set")
        return value

    return _VARIABLE.sub(fill, text)
