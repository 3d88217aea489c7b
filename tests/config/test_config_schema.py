"""The schema file and the settings tree say the same, and every key explains itself."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import jsonschema
import pytest

from anyclaude.backends.openai.backend import AUTO
from anyclaude.backends.openai.profiles import PROFILES
from anyclaude.config import schema
from anyclaude.config.document import to_document, values_of
from anyclaude.config.settings import (
    SLOTS,
    BackendSettings,
    BackendType,
    CacheMark,
    KeySettings,
    McpSettings,
    Profile,
    RouteSettings,
    Settings,
    Strategy,
)
from anyclaude.types import Role

DEFAULTS = Settings(Path("/data"), Path("/data/anyclaude.duckdb"))
TYPES: tuple[BackendType, ...] = get_args(BackendType)
FULL = replace(
    DEFAULTS,
    backends=tuple((type, BackendSettings(type=type)) for type in TYPES),
    keys=(("me", KeySettings()),),
    mcp=(("me", McpSettings()),),
)
"""The defaults with a backend of each type, a virtual key and an MCP server."""


def stated() -> dict[str, object]:
    """The defaults by the settings, each under the name that its key has in the schema."""
    values: dict[str, object] = {}
    for name, value in values_of(FULL):
        section, _, rest = name.partition(".")
        own = section in ("backends", "keys", "mcp")
        values[f"{section}.*.{rest.partition('.')[2]}" if own else name] = value
    return values


def test_is_a_valid_draft_2020_12_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.schema())


def test_has_exactly_the_keys_of_the_settings() -> None:
    assert set(stated()) == {key.name for key in schema.all_keys()}
    assert [n for n, _ in values_of(replace(FULL, backends=()))] == [
        key.name.replace("*", "me")
        for key in schema.all_keys()
        if not key.name.startswith("backends.")
    ]
    named = {f"routes.*.{field.name}" for field in fields(RouteSettings)}
    assert named == {key.name for key in schema.entry_keys()}


@pytest.mark.parametrize("type", TYPES)
def test_a_backend_has_the_keys_of_its_type_alone(type: BackendType) -> None:
    alone = replace(DEFAULTS, backends=(("x", BackendSettings(type=type)),))
    named = [n.removeprefix("backends.x.") for n, _ in values_of(alone) if n.startswith("backend")]
    meant = {
        key.name.removeprefix("backends.*.")
        for key in schema.all_keys()
        if key.section == "backends.*" and key.fits_type(type)
    }
    assert set(named) == meant
    assert {"type", "enabled", "weight"} < meant < {f.name for f in fields(BackendSettings)}


def test_states_the_defaults_of_the_settings() -> None:
    values = stated()
    said = {key.name: key.rule.get("default") for key in schema.all_keys()}
    for name in ("data_dir", "db", "backends.*.type"):
        del values[name], said[name]
    assert said == values
    assert BackendSettings().type == "mlx"
    route = RouteSettings("m", ("t",))
    for key in schema.entry_keys():
        if "default" in key.rule:
            held = getattr(route, key.name.removeprefix("routes.*."))
            default = key.rule["default"]
            assert held == (tuple(default) if isinstance(default, list | dict) else default)


def test_states_the_words_of_the_types() -> None:
    def words(name: str) -> tuple[object, ...]:
        key = schema.find(name)
        assert key is not None
        items = key.rule.get("items", key.rule)
        assert isinstance(items, dict)
        return tuple(items["enum"])

    assert words("backends.x.type") == TYPES
    assert words("backends.x.profile") == get_args(Profile)
    assert set(get_args(Profile)) == {AUTO, *PROFILES}
    assert words("routes.1.strategy") == get_args(Strategy)
    assert words("cache.cache_marks") == get_args(CacheMark)
    assert set(words("routes.1.roles")) == {role.value for role in Role}
    match = schema.find("routes.1.match")
    assert match is not None and ", ".join(SLOTS) in str(match.rule["description"])


def test_accepts_the_defaults() -> None:
    assert schema.problems(to_document(DEFAULTS)) == []
    assert schema.problems(to_document(FULL)) == []


def test_describes_every_key_in_a_sentence() -> None:
    for key in (*schema.all_keys(), *schema.entry_keys()):
        description = str(key.rule["description"])
        assert description.endswith(".") and len(description) > 10, key.name


def test_refuses_unknown_keys_everywhere() -> None:
    def tables(rule: schema.Document) -> list[schema.Document]:
        found = [rule] if "properties" in rule else []
        for child in rule.get("properties", {}).values():  # type: ignore[attr-defined]
            found += tables(child)
            for inner in (child.get("additionalProperties"), child.get("items")):
                found += tables(inner) if isinstance(inner, dict) else []
        return found

    every = tables(schema.schema())
    assert len(every) > 8
    assert all(table["additionalProperties"] is False for table in every)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"server": {"port": "abc"}}, 'server.port is "abc"; expected an integer from 0 to 65535'),
        ({"server": {"port": 65536}}, "server.port is 65536; expected an integer from 0 to 65535"),
        ({"server": {"host": ""}}, 'server.host is ""; expected a string that is not empty'),
        ({"server": 3}, "server is 3; expected a table"),
        ({"server": {"api_key": 5}}, "server.api_key is ********; expected a string"),
        ({"cache": {"l1": 1}}, "cache.l1 is 1; expected true or false"),
        ({"log": {"level": True}}, "log.level is true; expected an integer from 0 to 3"),
        ({"model": {"top_p": 0}}, "model.top_p is 0; expected a number above 0 and at most 1"),
        (
            {"performance": {"keepalive_interval": float("inf")}},
            "performance.keepalive_interval is Infinity; expected a number above 0 and at most 240",
        ),
        (
            {"cache": {"memory_gb": float("nan")}},
            "cache.memory_gb is NaN; expected a number of at least 0",
        ),
        (
            {"backends": {"mlx": {"type": "vllm"}}},
            'backends.mlx.type is "vllm"; expected "mlx" or "anthropic" or "openai" or "scripted"',
        ),
        ({"backends": {"mlx": 3}}, "backends.mlx is 3; expected a table"),
        (
            {"backends": 3},
            "backends is 3; expected a table of tables, each under a name of your own",
        ),
        (
            {"backends": {"x": {"headers": {"a": "sesame", "b": 4}}}},
            'backends.x.headers is {"b": "********"}; expected a table of strings',
        ),
        (
            {"backends": {"x": {"api_key_env": "sk-sesame"}}},
            "backends.x.api_key_env is ********; expected the name of an environment variable,"
            " in capitals",
        ),
        (
            {"keys": {"me": {"sha256": "sesame"}}},
            "keys.me.sha256 is ********; expected 64 small hexadecimal digits",
        ),
        (
            {"cache": {"cache_marks": ["system", "tools"]}},
            'cache.cache_marks is ["tools"]; expected a list of different words out of "system",'
            ' "last_user"',
        ),
        (
            {"routes": {"match": "*"}},
            'routes is {"match": "*"}; expected a list of tables, each with its own heading in'
            " double brackets",
        ),
        (
            {"routes": [3]},
            "routes is [3]; expected a list of tables, each with its own heading in double"
            " brackets",
        ),
        (
            {"routes": [{"match": "*", "targets": ["a"]}, {"match": "b"}]},
            "routes.2.targets is missing; expected a list of one or more strings, none of them"
            " empty",
        ),
        (
            {"routes": [{"match": "*", "targets": []}]},
            "routes.1.targets is []; expected a list of one or more strings, none of them empty",
        ),
        (
            {"routes": [{"match": "*", "targets": ["a"], "headers": {"x-api-key": 4}}]},
            'routes.1.headers is {"x-api-key": "********"}; expected a table of strings',
        ),
        (
            {"backends": {"My Mac": {}}},
            "backends.My Mac is not a usable name; expected small letters, digits, - and _",
        ),
        (
            {"prompt": {"disabled_rules": ["a", 4]}},
            "prompt.disabled_rules is [4]; expected a list of different strings,"
            " none of them empty",
        ),
        ({"ui": {"keymap": {"quit": 4}}}, 'ui.keymap is {"quit": 4}; expected a table of strings'),
    ],
)
def test_says_what_was_found_and_expected(document: schema.Document, expected: str) -> None:
    assert [problem.text for problem in schema.problems(document)] == [expected]


@pytest.mark.parametrize(
    ("document", "nearest"),
    [
        ({"sevrer": {"port": 1}}, "server"),
        ({"port": 1}, "server.port"),
        ({"server": {"prot": 1}}, "server.port"),
        ({"server": {"theme": "x"}}, "ui.theme"),
        ({"cache": {"L1": True}}, "cache.l1"),
        ({"backends": {"mine": {"enable": True}}}, "backends.mine.enabled"),
        ({"routes": [{"match": "*", "targets": ["a"], "fall_back": []}]}, "routes.1.fallback"),
    ],
)
def test_names_the_nearest_known_key(document: schema.Document, nearest: str) -> None:
    [problem] = schema.problems(document)
    assert problem.text.endswith(f"is unknown; the nearest known key is {nearest}")


def test_lists_the_section_when_nothing_is_near() -> None:
    [problem] = schema.problems({"log": {"xyzzy": 1}})
    assert problem.text == (
        "log.xyzzy is unknown; expected in [log]: level, traces, stream_log, bodies, retention_days"
    )
