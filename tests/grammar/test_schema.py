"""The grammar's copy of a schema: it compiles, and says what it lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.grammar import compiler
from anyclaude.grammar.matcher import ArgumentMatcher
from anyclaude.grammar.patterns import conjunction, without_assertions
from anyclaude.grammar.schema import Loss, for_grammar

SCHEMAS = Path(__file__).parent / "schemas"
STRING = {"type": "string"}


def all_tools() -> list[dict[str, Any]]:
    """The fifty tools, each with ``name``, ``description``, ``ask`` and ``input_schema``."""
    return [
        tool for file in sorted(SCHEMAS.glob("*.json")) for tool in json.loads(file.read_text())
    ]


def of(**properties: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def lost(schema: dict[str, Any]) -> list[tuple[str, str]]:
    own = for_grammar(schema)
    assert not compiler.problem(dict(own.schema))
    return [(loss.path, loss.keyword) for loss in own.losses]


@pytest.mark.parametrize("tool", all_tools(), ids=lambda tool: str(tool["name"]))
def test_every_tool_compiles_and_loses_no_more_than_the_compiler_refuses(
    tool: dict[str, Any],
) -> None:
    own = for_grammar(tool["input_schema"])
    assert not compiler.problem(dict(own.schema))
    assert not compiler.problem(dict(for_grammar(tool["input_schema"], closed=True).schema))
    expected = {
        "unique_items": {"uniqueItems"},
        "if_then": {"if", "then"},
        "not_keyword": {"not"},
    }
    assert {loss.keyword for loss in own.losses} == expected.get(tool["name"], set())


@pytest.mark.parametrize(
    ("part", "keyword"),
    [
        ({"not": STRING}, "not"),
        ({"type": "string", "format": "weird"}, "format"),
        ({"type": "string", "pattern": "^(?!x)"}, "pattern"),
        ({"type": "array", "contains": STRING}, "contains"),
        ({"type": "array", "items": STRING, "uniqueItems": True}, "uniqueItems"),
        ({"type": "object", "propertyNames": {"pattern": "^a"}}, "propertyNames"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "dependentRequired"),
        ({"type": "object", "unevaluatedProperties": False}, "unevaluatedProperties"),
        ({"oneOf": [STRING, {"type": "string", "maxLength": 4}]}, "oneOf"),
        ({"$ref": "https://example.com/x"}, "$ref"),
        ({"type": "any"}, "type"),
        ({"enum": "x"}, "enum"),
    ],
)
def test_what_the_compiler_refuses_goes_and_nothing_else(
    part: dict[str, Any], keyword: str
) -> None:
    schema = of(a={**part, "description": "kept"}, b={"type": "string", "pattern": "^b+$"})
    own = for_grammar(schema)
    assert lost(schema) == [("/properties/a", keyword)]
    kept = own.schema["properties"]
    assert isinstance(kept, dict)
    assert kept["b"] == {"type": "string", "pattern": "^b+$"}
    replaced = {"oneOf": {"anyOf"}, "pattern": {"pattern"}}.get(keyword, set())
    assert set(kept["a"]) == ({*part, "description"} - {keyword}) | replaced


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("^(?=.*[0-9]).{4,12}$", "^.{4,12}$"),
        (r"\bfoo\b", "foo"),
        (r"^(?!.*(\)|[)]))a(?<![)(])b$", "^ab$"),
        ("a[(?=]b", "a[(?=]b"),
        (r"\\b", r"\\b"),
        ("(?=a)+b", "(?=a)+b"),
        ("(?=a", "(?=a"),
        ("[]b](?!x)", "[]b]"),
    ],
)
def test_a_pattern_loses_its_look_around_and_nothing_else(pattern: str, kept: str) -> None:
    assert without_assertions(pattern) == kept


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("^(?=.*[0-9]).{4,12}$", ("^(?:.*[0-9])", "^.{4,12}$")),
        (r"^(?=.*[A-Z])(?=.*\d)\w{6,}$", ("^(?:.*[A-Z])", r"^(?:.*\d)", r"^\w{6,}$")),
        ("^(?=a|b)(x|y)", ("^(?:a|b)", "^(x|y)")),
        ("^(?=a)x|y", ()),
        ("^(?=a)?x", ()),
        ("^(?!a)x", ()),
        ("(?=a)x", ()),
        ("^(?=a", ()),
    ],
)
def test_leading_look_ahead_is_a_pattern_of_its_own(pattern: str, parts: tuple[str, ...]) -> None:
    assert conjunction(pattern) == parts


@pytest.mark.parametrize(
    ("value", "fits"),
    [("abc1", True), ("1234", True), ("abcd", False), ("ab1", False), ("1" * 13, False)],
)
def test_a_look_ahead_is_kept_to(value: str, fits: bool) -> None:
    schema = of(a={"type": "string", "pattern": "^(?=.*[0-9]).{4,12}$", "allOf": [{}]})
    assert not lost(schema)
    matcher = ArgumentMatcher(schema)
    text = json.dumps({"a": value})
    assert (matcher.accept(text) == len(text) and matcher.complete) is fits


def test_a_pattern_is_kept_as_far_as_it_can_be() -> None:
    own = for_grammar(of(a={"type": "string", "pattern": "^(?!.*[0-9]).{4,12}$"}))
    assert own.schema["properties"] == {"a": {"type": "string", "pattern": "^.{4,12}$"}}
    assert [loss.keyword for loss in own.losses] == ["pattern"]


def test_what_says_nothing_is_no_loss() -> None:
    schema = of(a={"type": "object", "propertyNames": STRING, "additionalProperties": STRING})
    assert lost(schema) == []


def test_both_bounds_on_the_number_of_properties_go_where_some_are_optional() -> None:
    schema = {**of(a=STRING, b=STRING), "minProperties": 1, "maxProperties": 2}
    assert {keyword for _, keyword in lost(schema)} == {"minProperties", "maxProperties"}
    assert lost({"type": "object", "minProperties": 1}) == []


def test_a_loss_in_a_definition_is_one_loss_there() -> None:
    node = of(next={"$ref": "#/$defs/node"}, odd={"type": "string", "format": "weird"})
    schema = {**of(a={"$ref": "#/$defs/node"}), "$defs": {"node": node}}
    assert lost(schema) == [("/$defs/node/properties/odd", "format")]
    kept = json.dumps(for_grammar(schema).schema)
    assert kept.count("#/$defs/node") == 2


def test_references_into_the_schema_itself_are_kept() -> None:
    schema = of(a={"$ref": "#/properties/b"}, b={"type": "integer", "not": {"const": 3}})
    own = for_grammar(schema)
    assert {loss.keyword for loss in own.losses} == {"not"}
    matcher = compiler.json_matcher(dict(own.schema)).deep_copy()
    assert matcher.try_consume_tokens(list(b'{"a": "')) == len(b'{"a": ')


@pytest.mark.parametrize(
    "schema",
    [{}, {"type": "any"}, {"type": ["object", "null"]}, {"properties": []}, {"type": "string"}],
)
def test_arguments_are_an_object_whatever_the_schema_says(schema: dict[str, Any]) -> None:
    own = for_grammar(schema).schema
    if schema != {"type": "string"}:
        assert own["type"] == "object"
    assert not compiler.problem(dict(own))


def test_closed_objects_allow_what_is_declared_only_where_that_is_safe() -> None:
    inner = of(x=STRING)

    def closed(schema: dict[str, Any]) -> Any:
        return for_grammar(schema, closed=True).schema

    assert closed(of(a=inner))["additionalProperties"] is False
    assert closed(of(a=inner))["properties"]["a"]["additionalProperties"] is False
    assert closed(of(a=inner, b={"allOf": [inner, of(y=STRING)]})) == of(
        a=inner, b={"allOf": [inner, of(y=STRING)]}
    )
    assert "additionalProperties" not in closed({**of(a=inner), "required": ["z"]})
    assert "additionalProperties" not in closed({"type": "object"})
    free = {**of(a=STRING), "additionalProperties": STRING}
    assert closed(free) == free


def test_options_for_the_compiler_in_a_schema_are_not_the_clients_to_set() -> None:
    assert "x-guidance" not in for_grammar({**of(a=STRING), "x-guidance": {"lenient": True}}).schema


def test_a_loss_says_where_and_why() -> None:
    (loss,) = for_grammar(of(a={"not": STRING})).losses
    assert isinstance(loss, Loss)
    assert loss.text.startswith("/properties/a: not is not in the grammar: ")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.sampled_from(["string", "a", "^a", "(?=x)"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
KEYWORDS = (
    "type", "enum", "const", "properties", "required", "items", "prefixItems", "anyOf", "oneOf",
    "allOf", "not", "if", "then", "else", "pattern", "format", "minLength", "maxLength",
    "minimum", "maximum", "exclusiveMinimum", "multipleOf", "minItems", "maxItems",
    "uniqueItems", "contains", "propertyNames", "minProperties", "maxProperties",
    "patternProperties", "additionalProperties", "dependentRequired", "unevaluatedProperties",
    "$ref", "$schema", "$id", "$defs", "title", "default", "nullable", "x-guidance",
)  # fmt: skip


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(st.sampled_from(["a", "b", "type"]), inner, max_size=3)
    kinds = st.sampled_from(["object", "string", "integer", "array", "null", "number", "odd"])
    return st.fixed_dictionaries(
        {},
        optional={
            "type": kinds | st.lists(kinds, max_size=2),
            "properties": named,
            "required": st.lists(st.sampled_from("ab"), max_size=2),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "oneOf": st.lists(inner, max_size=2),
            "allOf": st.lists(inner, max_size=2),
            "not": inner,
            "additionalProperties": inner,
            "pattern": st.sampled_from(["^a+$", "(?=b)a", "(", "\\bx"]),
            "format": st.sampled_from(["date", "weird"]),
            "minProperties": st.integers(-1, 3),
            "$ref": st.sampled_from(["#", "#/properties/a", "#/$defs/b", "#/nope", "x"]),
            "$defs": named,
        },
    )


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.booleans() | st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=3),
        _schemas,
        max_leaves=5,
    ).filter(lambda schema: isinstance(schema, dict)),
)
def test_whatever_a_client_sends_the_copy_compiles(schema: dict[str, Any]) -> None:
    for closed in (False, True):
        own = for_grammar(schema, closed=closed)
        assert not compiler.problem(dict(own.schema))
        assert own.schema.get("type", "object") is not None
