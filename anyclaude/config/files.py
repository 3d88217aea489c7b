"""Where anyclaude keeps its files, and how the private ones among them are written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyclaude.errors import ConfigError, UsageError

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


@contextmanager
def appearing(path: Path, *, replace: bool) -> Iterator[Path]:
    """A file to write that becomes ``path`` at the end, complete and 0600, or not at all.

    It lies in a folder of its own, whose other files go away. Raises UsageError when ``path``
    can't be written, or is there already and ``replace`` is false.
    """
    if not replace:
        _reserve(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".anyclaude-export-", dir=path.parent) as folder:
            unfinished = Path(folder) / "finished"
            yield unfinished
            unfinished.chmod(0o600)
            unfinished.replace(path)
    except BaseException as error:
        if not replace:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise


def _reserve(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        raise UsageError(f"{path} is there already; name another file") from error
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path} can't be written: {error.strerror or error}; name a file in a folder that exists"
    )
