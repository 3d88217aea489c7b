"""The schemas of the real client's whole request, every tool inline, under the grammar."""

from __future__ import annotations

import json

import pytest

from anyclaude.grammar import compiler
from anyclaude.grammar.schema import for_grammar
from tests.client.conftest import Stage

pytestmark = pytest.mark.client


async def test_every_tool_of_the_client_compiles(stage: Stage) -> None:
    stage.playbook.scenes["hello"] = ["Hello."]
    reply = await stage.claude_run("SCENARIO:hello", extra={"ENABLE_TOOL_SEARCH": "false"})
    assert reply.code == 0, (reply.out, reply.stderr)
    (row,) = await stage.rows("select id from requests where role = 'main' and tool_count > 0")
    body = json.loads((await stage.runtime.control.detail(str(row[0]))).body)
    tools = {tool["name"]: tool["input_schema"] for tool in body["tools"]}
    assert {"Bash", "Read", "Edit", "Write", "WebFetch", "TodoWrite"} & tools.keys()
    assert len(tools) > 15 and not any(tool.get("defer_loading") for tool in body["tools"])
    for name, schema in tools.items():
        for closed in (False, True):
            own = for_grammar(schema, closed=closed)
            assert own.schema.get("properties") == {} or own.schema, name
            assert not compiler.problem(dict(own.schema)), name
