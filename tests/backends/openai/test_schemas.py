"""JSON schemas on their way to a server."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.backends.openai.schemas import parameters, strict
from anyclaude.types import JsonObject, JsonValue


def test_keywords_go_at_every_depth_but_properties_of_that_name_stay() -> None:
    schema: JsonObject = {
        "$schema": "x",
        "type": "object",
        "properties": {
            "format": {"type": "string", "format": "uri"},
            "list": {"type": "array", "items": {"format": "date"}, "default": {"format": 1}},
            "any": {"anyOf": [{"format": "a"}, {"type": "null"}]},
        },
        "additionalProperties": False,
    }
    kept, gone = parameters(schema, {"format", "$schema", "pattern"})
    assert gone == {"format", "$schema"}
    assert kept == {
        "type": "object",
        "properties": {
            "format": {"type": "string"},
            "list": {"type": "array", "items": {}, "default": {"format": 1}},
            "any": {"anyOf": [{}, {"type": "null"}]},
        },
        "additionalProperties": False,
    }


def test_an_empty_schema_is_an_objects() -> None:
    assert parameters({}, ()) == ({"type": "object", "properties": {}}, frozenset())


schemas: st.SearchStrategy[JsonValue] = st.recursive(
    st.one_of(
        st.booleans(), st.just({"type": "string"}), st.just({"type": "integer", "minimum": 2})
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.text("ab"), inner)}
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=6,
)
values = st.recursive(
    st.one_of(st.none(), st.integers(0, 4), st.text("ab", max_size=2)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text("ab"), schemas, max_size=3), st.dictionaries(st.text("ab"), values))
def test_without_keywords_to_drop_it_takes_the_same_values(
    properties: dict[str, JsonValue], value: dict[str, object]
) -> None:
    schema: JsonObject = {"type": "object", "properties": properties}
    kept, gone = parameters(schema, ())
    assert not gone
    before = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert jsonschema.Draft202012Validator(kept).is_valid(value) == before


CLOSED: JsonObject = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (CLOSED, True),
        ({**CLOSED, "properties": {"a": CLOSED}}, True),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": CLOSED}}}, True),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": {"minLength": 1}}}}, False),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "additionalProperties": True}, False),
        ({**CLOSED, "properties": {"a": {"type": "string", "pattern": "x"}}}, False),
        ({**CLOSED, "properties": {"a": {"anyOf": [CLOSED, {"type": "object"}]}}}, False),
        ({**CLOSED, "properties": {"a": {"type": "object", "properties": {}}}}, False),
        (True, False),
    ],
)
def test_what_openai_takes_as_strict(schema: JsonValue, expected: bool) -> None:
    assert strict(schema) is expected
