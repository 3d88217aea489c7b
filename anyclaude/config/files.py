"""Where anyclaude keeps its files, and how the private ones among them are written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from anyclaude.errors import ConfigError

CONFIG_NAME = "anyclaude.toml"
DATABASE_NAME = "anyclaude.duckdb"


def default_data_dir() -> Path:
    """The user's data folder for anyclaude."""
    from platformdirs import user_data_dir

    return Path(user_data_dir("anyclaude", appauthor=False))


def user_config_path() -> Path:
    """The configuration file of this user, whether or not it exists."""
    from platformdirs import user_config_dir

    return Path(user_config_dir("anyclaude", appauthor=False)) / CONFIG_NAME


def ensure_data_dir(path: Path) -> None:
    """Creates the data folder for its owner alone (0700); raises ConfigError if it can't be."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"data_dir {path} can't be made: {error.strerror or error}; choose another with"
            " --data-dir or ANYCLAUDE_DATA_DIR"
        ) from error


def write_private(path: Path, text: str) -> None:
    """Replaces a file by a rename, readable by its owner alone (0600). Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
