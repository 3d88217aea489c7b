"""What of a tool a model's prompts don't show, found by leaving it out."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace

from anyclaude.engine.dialects import hidden_paths
from anyclaude.engine.template import ChatTemplate
from anyclaude.types import JsonObject, JsonValue, ToolDefinition
from tests.engine.families import FAMILIES, tokenizer
from tests.engine.test_template import FALLBACK, NOON, template_of

TOOL = ToolDefinition(
    "Edit",
    "Edits a file",
    {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "where", "format": "uri"},
            "mode": {"type": "string", "enum": ["add", "drop"], "default": "add"},
            "more": {"type": "object", "properties": {"deep": {"type": "integer"}}},
        },
        "required": ["path", "mode"],
        "additionalProperties": False,
    },
)


def outline(tool: JsonObject) -> str:
    """Names, types and options of the first level, and the first required key."""
    function: dict[str, dict[str, dict[str, dict[str, JsonValue]]]] = tool["function"]  # type: ignore[assignment]
    said = [str(function["description"])]
    for name, value in function["parameters"]["properties"].items():
        said.append(f"{name}: {value['type']} {value.get('enum', '')} {value.get('description')}")
    return "\n".join([*said, str(function["parameters"]["required"][0])])  # type: ignore[index]


def test_a_template_that_writes_json_hides_nothing() -> None:
    asked = []

    def show(tool: JsonObject) -> str:
        asked.append(tool)
        return f"tools: {json.dumps(tool)}"

    assert hidden_paths(show, TOOL) == ()
    assert len(asked) == 1


def test_what_makes_no_difference_is_hidden_and_named_at_its_top() -> None:
    schema = "input_schema"
    assert hidden_paths(outline, TOOL) == (
        (schema, "type"),
        (schema, "properties", "path", "format"),
        (schema, "properties", "mode", "default"),
        (schema, "properties", "more", "properties"),
        (schema, "required", 1),
        (schema, "additionalProperties"),
    )


def test_a_template_that_refuses_the_tool_says_nothing() -> None:
    def refuses(tool: JsonObject) -> str:
        raise ValueError("no")

    assert hidden_paths(refuses, TOOL) == ()


def test_the_work_is_bounded() -> None:
    count = 0

    def show(tool: JsonObject) -> str:
        nonlocal count
        count += 1
        return f"{tool!r}"

    many: JsonObject = {"properties": {f"p{n}": {"type": "string"} for n in range(2000)}}
    assert hidden_paths(show, replace(TOOL, input_schema=many)) == ()
    assert count < 700


def test_every_familys_template_that_writes_json_hides_nothing() -> None:
    families = [f for f in FAMILIES if f.tools == "template" and "| tojson" in f.template]
    assert len(families) > 4
    for family in families:
        assert template_of(family).hidden(TOOL) == (), family.name


def test_a_model_whose_template_writes_outlines() -> None:
    chatml = next(family for family in FAMILIES if family.name == "chatml")
    whole = "{{- tool | tojson }}"
    assert whole in chatml.template
    lines = (
        "{{- tool.function.name + ': ' + tool.function.description }}"
        "{%- for name, value in tool.function.parameters.properties.items() %}"
        "{{- '\\n' + name + ' ' + value.type + ' ' + (value.description or '') }}{%- endfor %}"
    )
    terse = replace(chatml, name="terse", template=chatml.template.replace(whole, lines))
    template = ChatTemplate(tokenizer(terse), FALLBACK, now=lambda: NOON)
    assert template.tools == "template"
    assert template.hidden(TOOL) == (
        ("input_schema", "type"),
        ("input_schema", "properties", "path", "format"),
        ("input_schema", "properties", "mode", "enum"),
        ("input_schema", "properties", "mode", "default"),
        ("input_schema", "properties", "more", "properties"),
        ("input_schema", "required"),
        ("input_schema", "additionalProperties"),
    )


def test_tools_in_our_own_words_hide_nothing() -> None:
    plain = next(family for family in FAMILIES if family.tools == "fallback")
    template = ChatTemplate(tokenizer(plain), FALLBACK, now=lambda: datetime.datetime(2026, 1, 1))
    assert template.tools == "fallback"
    assert template.hidden(TOOL) == ()
