"""Writes ``docs/configuration.md`` from the JSON Schema and the defaults of the settings.

``python -m anyclaude.config.docs`` prints the page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from anyclaude.config import schema
from anyclaude.config.layers import CONFIG_VARIABLE, FLAGS, variable_of
from anyclaude.config.load import values_of
from anyclaude.config.settings import Settings

_HEAD = f"""# Configuration

Generated from `schema.json` and the defaults by `python -m anyclaude.config.docs`; don't edit it
by hand.

`./anyclaude.toml` is laid over the user's own file; a file named by `--config` or
`{CONFIG_VARIABLE}` is read alone. The environment goes over files, and flags over the
environment. `anyclaude config init` writes a file with every key, `anyclaude config show` prints
what is in effect and where it came from, and `anyclaude config check` says what is wrong.

In a variable a list is written with commas and a table as in TOML.
"""
_PLACES = {"data_dir": "the user's data folder", "db": "`anyclaude.duckdb` in `data_dir`"}
_SAMPLE = "mlx"


def configuration_markdown() -> str:
    """Every key with its type, default, variable, flag and meaning, as Markdown."""
    nowhere = Path("/")
    defaults = dict(values_of(Settings(nowhere, nowhere)))
    parts = [_HEAD.rstrip("\n")]
    section: str | None = None
    for key in schema.all_keys():
        if key.section != section:
            section = key.section
            parts.append(_section(section))
        parts.append(_row(key, defaults))
    return "\n".join(parts) + "\n"


def _section(name: str) -> str:
    rule = cast(Mapping[str, schema.Document], schema.schema()["properties"]).get(
        name.partition(".")[0], {}
    )
    title = f"`[{name.replace(schema.ANY_NAME, 'NAME')}]`" if name else "At the top"
    text = f"{rule['description']}\n\n" if "description" in rule else ""
    head = "| key | value | default | variable, flag | what it does |"
    return f"\n## {title}\n\n{text}{head}\n| --- | --- | --- | --- | --- |"


def _row(key: schema.Key, defaults: Mapping[str, object]) -> str:
    leaf = key.name.rpartition(".")[2]
    value = schema.expectation(key.rule)
    variable = f"`{variable_of(key.name).replace(schema.ANY_NAME, 'NAME')}`"
    flag = FLAGS.get(key.name)
    given = f"{variable}, `{flag}`" if flag else variable
    text = str(key.rule["description"])
    return f"| `{leaf}` | {value} | {_default(key, defaults)} | {given} | {text} |"


def _default(key: schema.Key, defaults: Mapping[str, object]) -> str:
    if key.name in _PLACES:
        return _PLACES[key.name]
    value = defaults[key.name.replace(schema.ANY_NAME, _SAMPLE)]
    return "none" if value is None else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    sys.stdout.write(configuration_markdown())
