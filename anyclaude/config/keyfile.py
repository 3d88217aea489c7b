"""``keys.toml`` in the data folder: the virtual keys that ``anyclaude keys`` made.

It has the form of the configuration's ``[keys.NAME]`` and nothing else, and is read beneath all
other files. A file of its own, since a command that rewrites a person's configuration would lose
its comments, and since a running server can take it up without reading anything else anew.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from anyclaude.config import schema
from anyclaude.config.build import section
from anyclaude.config.files import ensure_data_dir, write_private
from anyclaude.config.layers import Layer, file_layer
from anyclaude.config.settings import KeySettings, Settings
from anyclaude.errors import ConfigError

KEYS_NAME = "keys.toml"


def keys_path(data_dir: Path) -> Path:
    """The file, whether or not it exists."""
    return data_dir / KEYS_NAME


def key_layer(data_dir: Path) -> Layer:
    """The file as the farthest layer of the configuration; empty when there is none."""
    path = keys_path(data_dir)
    if not path.exists():
        return Layer({}, lambda key: str(path), data_dir)
    layer = file_layer(path)
    strange = [name for name in layer.document if name != "keys"]
    return dataclasses.replace(
        layer,
        document={"keys": layer.document["keys"]} if "keys" in layer.document else {},
        wrong=(
            *layer.wrong,
            *(f"{path}: {name} has no place in it; expected [keys.NAME] alone" for name in strange),
        ),
    )


def read_keys(data_dir: Path) -> dict[str, KeySettings]:
    """The file's keys by their names. Raises ConfigError with a line for each problem."""
    layer = key_layer(data_dir)
    found = schema.problems(layer.document)
    wrong = [*layer.wrong, *(f"{layer.origin(p.key)}: {p.text}" for p in found)]
    if wrong:
        raise ConfigError("\n".join(wrong))
    values = dict(schema.leaves(layer.document))
    return {
        name: section(KeySettings, f"keys.{name}", values)
        for name in schema.named(layer.document, "keys")
    }


def own_keys(settings: Settings) -> dict[str, KeySettings]:
    """The keys that the configuration itself has, and not this file."""
    of_file = str(keys_path(settings.data_dir))
    origins = dict(settings.sources)
    return {n: key for n, key in settings.keys if origins.get(f"keys.{n}.sha256") != of_file}


@contextmanager
def changing_keys(data_dir: Path) -> Iterator[dict[str, KeySettings]]:
    """The file's keys, to be changed in place and then written, by one process at a time.

    Raises ConfigError when the file can't be read as it is, OSError when it can't be written.
    """
    ensure_data_dir(data_dir)
    folder = os.open(data_dir, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = read_keys(data_dir)
        yield keys
        _write(data_dir, keys)
    finally:
        os.close(folder)


def _write(data_dir: Path, keys: Mapping[str, KeySettings]) -> None:
    import tomli_w

    plain = KeySettings()
    tables = {
        name: {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(key)
            if (value := getattr(key, field.name)) != getattr(plain, field.name)
        }
        for name, key in keys.items()
    }
    write_private(keys_path(data_dir), tomli_w.dumps({"keys": tables}))
