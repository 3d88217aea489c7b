"""The schemas of the real client's whole request, every tool inline, under the grammar."""

from __future__ import annotations

import json

import pytest

from anyclaude.engine.constraint import AnswerPlan
from anyclaude.grammar import compiler
from anyclaude.grammar.calls import answer_grammar
from anyclaude.grammar.schema import for_grammar
from anyclaude.tools.families.hermes import DIALECT
from anyclaude.types import JsonObject, ToolChoice, ToolDefinition
from tests.client.conftest import Stage
from tests.grammar.vocabularies import vocabulary

pytestmark = pytest.mark.client

MAY_GO = {
    *("propertyNames", "oneOf", "not", "contains", "uniqueItems", "if", "then", "else"),
    *("format", "pattern"),
}
"""Keywords that a call stays constrained without."""


async def test_every_tool_of_the_client_is_held_to_its_properties(stage: Stage) -> None:
    stage.playbook.scenes["hello"] = ["Hello."]
    reply = await stage.claude_run("SCENARIO:hello", extra={"ENABLE_TOOL_SEARCH": "false"})
    assert reply.code == 0, (reply.out, reply.stderr)
    (row,) = await stage.rows("select id from requests where role = 'main' and tool_count > 0")
    body = json.loads((await stage.runtime.control.detail(str(row[0]))).body)
    assert not any(tool.get("defer_loading") for tool in body["tools"])
    tools = [
        ToolDefinition(tool["name"], tool["description"], tool["input_schema"])
        for tool in body["tools"]
    ]
    assert len(tools) > 15
    assert {"Bash", "Read", "Edit", "Write", "WebFetch"} <= {tool.name for tool in tools}
    for tool in tools:
        for closed in (False, True):
            own = for_grammar(tool.input_schema, closed=closed)
            assert not compiler.problem(dict(own.schema)), tool.name
            assert _keys(own.schema) == _keys(tool.input_schema), tool.name
            assert {loss.keyword for loss in own.losses} <= MAY_GO, (tool.name, own.losses)
    words = vocabulary()
    grammar = answer_grammar(DIALECT, tools, ToolChoice(), None, words.terminal)
    assert grammar is not None
    plan = AnswerPlan(grammar, words)
    for tool in tools:
        opening = f'\n{{"name": "{tool.name}", "arguments": {{'.encode()
        assert plan.opened().takes_text(opening), tool.name
    assert not plan.opened().takes_text(b'\n{"name": "Nope')


def _keys(schema: JsonObject) -> tuple[object, object]:
    properties = schema.get("properties") or {}
    assert isinstance(properties, dict)
    return set(properties), schema.get("required")
