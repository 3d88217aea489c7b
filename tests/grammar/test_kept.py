"""What a family's form of calls keeps of a schema, against what its grammar really refuses."""

from __future__ import annotations

import pytest

from anyclaude.dialect import Dialect
from anyclaude.grammar.calls import answer_grammar
from anyclaude.grammar.kept import kept_bare, kept_by_keywords, kept_by_tags
from anyclaude.types import JsonObject, JsonValue, ToolChoice, ToolDefinition
from tests.grammar.test_families import dialects
from tests.grammar.vocabularies import vocabulary

CASES: tuple[tuple[str, dict[str, JsonValue], JsonValue], ...] = (
    ("pattern", {"type": "string", "pattern": "^a+$"}, "xyz"),
    ("minLength", {"type": "string", "minLength": 9}, "xyz"),
    ("enum", {"type": "string", "enum": ["abc"]}, "xyz"),
    ("enum", {"enum": ["abc", 3]}, "xyz"),
    ("maximum", {"type": "integer", "maximum": 3}, 7),
    ("maxItems", {"type": "array", "items": {"type": "integer"}, "maxItems": 1}, [1, 2]),
    ("anyOf", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "xyz"),
)


@pytest.mark.parametrize(("keyword", "schema", "wrong"), CASES, ids=lambda v: str(v)[:12])
@pytest.mark.parametrize("dialect", dialects(), ids=lambda d: d.name)
def test_what_is_kept_is_what_the_grammar_refuses(
    dialect: Dialect, keyword: str, schema: dict[str, JsonValue], wrong: JsonValue
) -> None:
    whole: JsonObject = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    kept = whole if dialect.kept is None else dialect.kept(whole)
    held = keyword in kept["properties"]["x"]  # type: ignore[index, call-overload, operator]
    words = vocabulary()
    tools = [ToolDefinition("Tool", "", whole)]
    found = answer_grammar(dialect, tools, ToolChoice("any", None, True), None, words.terminal)
    assert found is not None
    text = dialect.render("Tool", {"x": wrong}).removesuffix("<|call|>")
    matcher = words.compile(found.lark).fresh()
    allowed = matcher.takes(words.marker(text)) and matcher.accepts
    assert allowed is not held


def test_between_tags_declared_properties_are_kept_and_what_may_be_text_is_text() -> None:
    schema: JsonObject = {
        "type": "object",
        "description": "d",
        "properties": {
            "a": {"type": "string", "format": "uri", "title": "A"},
            "b": {"type": ["string", "integer"], "maximum": 3},
            "c": {"$ref": "#/$defs/n"},
            "d": {"const": "x"},
            "e": True,
        },
        "patternProperties": {"^x": {}},
        "minProperties": 1,
        "required": ["a"],
        "$defs": {"n": {"type": "integer", "maximum": 5}},
    }
    kept = kept_by_tags(schema)
    assert kept["properties"] == {
        "a": {"type": "string", "title": "A"},
        "b": {"type": ["string", "integer"]},
        "c": {"$ref": "#/$defs/n"},
        "d": {"const": "x"},
        "e": True,
    }
    assert set(schema) - set(kept) == {"patternProperties", "minProperties"}
    assert kept_by_keywords(schema)["properties"] == schema["properties"]
    assert set(schema) - set(kept_by_keywords(schema)) == {"patternProperties", "minProperties"}


def test_bare_notation_keeps_outlines() -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "pattern": "a", "description": "d"},
            "b": {
                "type": "array",
                "items": {"type": "string", "maxLength": 2},
                "uniqueItems": True,
            },
            "c": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}},
            "d": {"type": ["integer", "string"], "minimum": 0, "minLength": 1},
            "e": {"allOf": [{"type": "integer"}], "title": "t"},
            "f": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            "g": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
        "required": ["a"],
        "minProperties": 1,
    }
    assert kept_bare(schema) == {
        "type": "object",
        "properties": {
            "a": {"type": "string", "description": "d"},
            "b": {"type": "array", "items": {"type": "string"}},
            "c": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}},
            "d": {"type": ["integer", "string"], "minimum": 0},
            "e": {"title": "t"},
            "f": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "g": {"type": "object", "additionalProperties": True},
        },
        "required": ["a"],
    }
