"""Writes ``docs/configuration.md`` from the JSON Schema.

``python -m anyclaude.config.docs`` prints the page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import cast

from anyclaude.config import schema
from anyclaude.config.layers import CONFIG_VARIABLE, FLAGS, variable_of

_HEAD = f"""# Configuration

Generated from `schema.json` by `python -m anyclaude.config.docs`; don't edit it by hand.

`./anyclaude.toml` is laid over the user's own file; a file named by `--config` or
`{CONFIG_VARIABLE}` is read alone. The environment goes over files, and flags over the
environment. `anyclaude config init` writes a file with every key, `anyclaude config show` prints
what is in effect and where it came from, and `anyclaude config check` says what is wrong.

In a variable a list is written with commas, and a table or a list of tables as in TOML. A name of
your own is in capitals there, with `_` for `-`.
"""
_LISTED = """`{variable}` holds all of them. Those of a nearer place replace those
of a farther one as a whole. Messages count them from 1: `{name}.2.{first}`.
"""
_TABLE = "| key | value | default | {where}what it does |\n| --- | --- | --- | {line}--- |"
_PLACES = {"data_dir": "the user's data folder", "db": "`anyclaude.duckdb` in `data_dir`"}


def configuration_markdown() -> str:
    """Every key with its type, default, variable, flag and meaning, as Markdown."""
    parts = [_HEAD.rstrip("\n")]
    section: str | None = None
    for key in schema.all_keys():
        if key.kind == "tables":
            section = key.name
            parts.append(_list(key))
            continue
        if key.section != section:
            section = key.section
            parts.append(_section(section))
        parts.append(_row(key, _given(key)))
    return "\n".join(parts) + "\n"


def _section(name: str) -> str:
    rule = cast(Mapping[str, schema.Document], schema.schema()["properties"]).get(
        name.partition(".")[0], {}
    )
    title = f"`[{name.replace(schema.ANY_NAME, 'NAME')}]`" if name else "At the top"
    text = f"{rule['description']}\n\n" if "description" in rule else ""
    head = _TABLE.format(where="variable, flag | ", line="--- | ")
    return f"\n## {title}\n\n{text}{head}"


def _list(key: schema.Key) -> str:
    """The section of a list of tables, whose keys have no variables of their own."""
    inner = [k for k in schema.entry_keys() if k.section == f"{key.name}.{schema.ANY_NAME}"]
    first = inner[0].name.rpartition(".")[2]
    listed = _LISTED.format(variable=variable_of(key.name), name=key.name, first=first)
    head = _TABLE.format(where="", line="")
    text = f"\n## `[[{key.name}]]`\n\n{key.rule['description']}\n\n{listed}\n{head}"
    return "\n".join([text, *(_row(one, None) for one in inner)])


def _row(key: schema.Key, given: str | None) -> str:
    leaf = key.name.rpartition(".")[2]
    text = str(key.rule["description"])
    if key.types:
        *others, last = key.types
        types = f"{', '.join(others)} and {last}" if others else last
        text = f"{text} For {types}."
    cells = [f"`{leaf}`", schema.expectation(key.rule), _default(key)]
    return f"| {' | '.join([*cells, *filter(None, [given]), text])} |"


def _given(key: schema.Key) -> str:
    variable = f"`{variable_of(key.name).replace(schema.ANY_NAME, 'NAME')}`"
    flag = FLAGS.get(key.name)
    return f"{variable}, `{flag}`" if flag else variable


def _default(key: schema.Key) -> str:
    if key.name in _PLACES:
        return _PLACES[key.name]
    return f"`{json.dumps(key.rule['default'])}`" if "default" in key.rule else "none"


if __name__ == "__main__":
    sys.stdout.write(configuration_markdown())
