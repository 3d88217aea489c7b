"""The options most commands share, and the settings they lead to."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from anyclaude.config.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

_KEYS = {"host": "server.host", "port": "server.port", "model": "model.default"}


def with_settings(command: Callable[Concatenate[Settings, P], R]) -> Callable[..., R]:
    """Adds ``--config``, ``--data-dir`` and ``--db``; the command gets the settings first."""

    @click.option("--config", type=click.Path(path_type=Path), help="Read this TOML file alone.")
    @click.option("--data-dir", metavar="FOLDER", help="Folder for database, models and state.")
    @click.option("--db", metavar="FILE", help="The request log, a DuckDB file.")
    @functools.wraps(command)
    def wrapper(
        config: Path | None, data_dir: str | None, db: str | None, *args: Any, **kwargs: Any
    ) -> R:
        flags: dict[str, str | int | None] = {"data_dir": data_dir, "db": db}
        for name, key in _KEYS.items():
            if name in kwargs:
                flags[key] = kwargs.pop(name)
        return command(settings_from(config, flags), *args, **kwargs)

    return wrapper


def with_server_options(command: Callable[P, R]) -> Callable[P, R]:
    """Adds ``--model``, ``--host`` and ``--port``, which become settings."""
    for option in (
        click.option("--port", type=int, metavar="P", help="TCP port; 0 picks a free one."),
        click.option("--host", metavar="H", help="Address to bind; loopback by default."),
        click.option("--model", metavar="M", help="Name or folder of the model to load."),
    ):
        command = option(command)
    return command


def settings_from(config: Path | None, flags: dict[str, str | int | None]) -> Settings:
    """The effective settings of this process; raises ConfigError."""
    from anyclaude.config.load import load_settings

    given = {key: value for key, value in flags.items() if value is not None}
    return load_settings(config=config, overrides=given, env=os.environ, cwd=Path.cwd())
