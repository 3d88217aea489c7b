"""The schema file and the settings tree say the same, and every key explains itself."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from anyclaude.config import schema
from anyclaude.config.load import to_document, values_of
from anyclaude.config.settings import Settings

DEFAULTS = Settings(Path("/data"), Path("/data/anyclaude.duckdb"))


def test_is_a_valid_draft_2020_12_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.schema())


def test_has_exactly_the_keys_of_the_settings() -> None:
    named = [name.replace("backends.mlx.", "backends.*.") for name, _ in values_of(DEFAULTS)]
    assert named == [key.name for key in schema.all_keys()]


def test_states_the_defaults_of_the_settings() -> None:
    values = {n.replace("backends.mlx.", "backends.*."): v for n, v in values_of(DEFAULTS)}
    stated = {key.name: key.rule.get("default") for key in schema.all_keys()}
    for name in ("data_dir", "db"):
        del values[name], stated[name]
    assert stated == values


def test_accepts_the_defaults() -> None:
    assert schema.problems(to_document(DEFAULTS)) == []


def test_describes_every_key_in_a_sentence() -> None:
    for key in schema.all_keys():
        description = str(key.rule["description"])
        assert description.endswith(".") and len(description) > 10, key.name


def test_refuses_unknown_keys_everywhere() -> None:
    def tables(rule: schema.Document) -> list[schema.Document]:
        found = [rule] if "properties" in rule else []
        for child in rule.get("properties", {}).values():  # type: ignore[attr-defined]
            found += tables(child)
            if isinstance(child.get("additionalProperties"), dict):
                found += tables(child["additionalProperties"])
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
            'backends.mlx.type is "vllm"; expected "mlx"',
        ),
        ({"backends": {"mlx": 3}}, "backends.mlx is 3; expected a table"),
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
