"""Where values come from: files, environment and flags, each as one document with its origin.

Nothing is checked here beyond what is needed to make a document; :mod:`anyclaude.config.schema`
refuses what a key can't hold.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

from anyclaude.config import schema
from anyclaude.config.files import CONFIG_NAME, user_config_path

FLAGS: Mapping[str, str] = {
    "server.host": "--host",
    "server.port": "--port",
    "model.default": "--model",
    "ui.theme": "--theme",
    "data_dir": "--data-dir",
    "db": "--db",
}
CONFIG_VARIABLE = "ANYCLAUDE_CONFIG"
CLAUDE_VARIABLE = "ANYCLAUDE_CLAUDE"
PATHS = ("data_dir", "db")
"""Keys at the top that are paths."""
MCP_FILE = "tools.mcp_file"

Scalar: TypeAlias = str | int | float | bool
_WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of values: ``origin`` names it for a key, paths in it count from ``base``.

    ``wrong`` holds what kept parts of the source from being read at all.
    """

    document: schema.Document
    origin: Callable[[str], str]
    base: Path
    wrong: tuple[str, ...] = ()


def file_layers(config: Path | None, env: Mapping[str, str], cwd: Path) -> list[Layer]:
    """The chosen file alone, else the user's file and then the one in the current folder."""
    named = env.get(CONFIG_VARIABLE)
    chosen = config or (Path(named) if named else None)
    if chosen is not None:
        return [file_layer(cwd / chosen.expanduser())]
    return [file_layer(p) for p in (user_config_path(), cwd / CONFIG_NAME) if p.exists()]


def file_layer(path: Path) -> Layer:
    """One TOML file."""
    document: schema.Document = {}
    wrong: list[str] = []
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except FileNotFoundError:
        wrong.append(f"{path}: no such file; 'anyclaude config init' writes one")
    except OSError as error:
        wrong.append(f"{path}: can't be read: {error.strerror or error}")
    except UnicodeDecodeError as error:
        wrong.append(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        wrong.append(f"{path}: not valid TOML: {error}")
    return Layer(document, lambda key: str(path), path.parent, tuple(wrong))


def env_layer(env: Mapping[str, str], cwd: Path, names: Collection[str] = ()) -> Layer:
    """``ANYCLAUDE_<SECTION>_<KEY>`` variables; one that looks like a misspelt key is an error.

    ``names`` are the user's own in files: a variable can only mean ``lm-studio`` by LM_STUDIO.
    """
    document: dict[str, object] = {}
    variables: dict[str, str] = {}
    wrong: list[str] = []
    for variable in sorted(env):
        if not variable.startswith("ANYCLAUDE_") or variable in (CONFIG_VARIABLE, CLAUDE_VARIABLE):
            continue
        key = _key_of(variable, names)
        if key is not None:
            variables[key] = variable
            _put(document, key, _parse(key, env[variable]))
        elif (near := _near_variable(variable)) is not None:
            wrong.append(f"env {variable} is unknown; the nearest known variable is {near}")

    def origin(key: str) -> str:
        """The variable itself, that of the list it is in, or one of the table's."""
        listed = variables.get(key.partition(".")[0])
        inside = (name for at, name in variables.items() if at.startswith(f"{key}."))
        return f"env {variables.get(key) or listed or next(inside, key)}"

    return Layer(document, origin, cwd, tuple(wrong))


def flag_layer(overrides: Mapping[str, object], cwd: Path) -> Layer:
    """Command-line flags by dotted key."""
    document: dict[str, object] = {}
    for name, value in overrides.items():
        _put(document, name, value)
    return Layer(document, lambda key: f"flag {FLAGS.get(key, key)}", cwd)


def variable_of(key: str) -> str:
    """The environment variable of a dotted key; that of a list of tables holds all of it."""
    entry = schema.find(key)
    if entry is not None and entry in schema.entry_keys():
        key = key.partition(".")[0]
    return f"ANYCLAUDE_{key.replace('.', '_').replace('-', '_').upper()}"


def absolute(layer: Layer, name: str, value: object) -> object:
    """A value as it counts everywhere: paths no longer from where they were written."""
    is_script = name.startswith("backends.") and name.endswith(".script")
    if value and (name in PATHS or name == MCP_FILE or is_script):
        return str(layer.base / Path(str(value)).expanduser())
    return value


def _key_of(variable: str, names: Collection[str]) -> str | None:
    for key in schema.all_keys():
        head, star, tail = variable_of(key.name).partition(schema.ANY_NAME)
        if not star and variable == head:
            return key.name
        own = variable.removeprefix(head).removesuffix(tail)
        if star and own and variable == f"{head}{own}{tail}":
            alike = (name for name in names if name.replace("-", "_") == own.lower())
            return key.name.replace(schema.ANY_NAME, next(alike, own.lower()))
    return None


def _near_variable(variable: str) -> str | None:
    """The known variable an unknown one seems to mean; ``None`` for what isn't ours at all."""
    rest = variable.removeprefix("ANYCLAUDE_").lower()
    section = rest.partition("_")[0]
    if (whole := schema.find(section)) is not None and whole.kind == "tables":
        return variable_of(section)
    sections = {key.name.partition(".")[0] for key in schema.all_keys() if "." in key.name}
    near = schema.nearest(rest.replace("_", ".", 1) if section in sections else rest)
    if near is not None and near not in sections:
        return variable_of(near)
    return f"ANYCLAUDE_{section.upper()}_<KEY>" if section in sections else None


def _parse(name: str, text: str) -> object:
    """The value a variable means; text that fits no type is left for the schema to refuse."""
    key = schema.find(name)
    kind = key.kind if key is not None else "string"
    try:
        match kind:
            case "boolean":
                return _WORDS.get(text.strip().lower(), text)
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "array":
                return [part.strip() for part in text.split(",") if part.strip()]
            case "object" | "tables":
                return tomllib.loads(f"value = {text}")["value"]
            case _:
                return text
    except (ValueError, KeyError):
        return text


def _put(document: dict[str, object], name: str, value: object) -> None:
    *parents, leaf = name.split(".")
    table = document
    for part in parents:
        table = cast("dict[str, object]", table.setdefault(part, {}))
    table[leaf] = value
