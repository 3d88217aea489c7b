"""The real Claude Code, answered by Anthropic's API and by OpenAI's; test_peers has the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.client.behind import TOOLS, chat_answers, round_trip, sdk_round_trip, stage_at
from tests.doubles.anthropic_upstream import KEY, AnthropicDouble, anthropic_double
from tests.doubles.openai_upstream import OpenAiUpstream
from tests.gateway.kit import anthropic, openai

pytestmark = pytest.mark.client

ROWS = "select backend, status, stop_reason, route_reason from requests where role = 'main'"


def sse(name: str, **data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def answer(text: str, tool: str = "", **arguments: object) -> list[bytes]:
    """A stream of Anthropic's: text, and one call if a ``tool`` is named."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1},
    }
    events = [
        sse("message_start", message=message),
        sse("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        sse("content_block_delta", index=0, delta={"type": "text_delta", "text": text}),
        sse("content_block_stop", index=0),
    ]
    if tool:
        block = {"type": "tool_use", "id": "toolu_1", "name": tool, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        events += [
            sse("content_block_start", index=1, content_block=block),
            sse("content_block_delta", index=1, delta=delta),
            sse("content_block_stop", index=1),
        ]
    stop = {"stop_reason": "tool_use" if tool else "end_turn", "stop_sequence": None}
    return [
        *events,
        sse("message_delta", delta=stop, usage={"output_tokens": 5}),
        sse("message_stop"),
    ]


def turns(double: AnthropicDouble) -> int:
    messages = json.loads(double.requests[-1].body)["messages"]
    return sum(message["role"] == "assistant" for message in messages)


async def test_a_tool_round_trip_through_anthropics_api(claude_path: str, tmp_path: Path) -> None:
    path = tmp_path / "project" / "hello.txt"
    async with anthropic_double() as double:
        double.streams = lambda: (
            answer("It is written.")
            if turns(double)
            else answer("I write.", "Write", file_path=str(path), content="hello\n")
        )
        backend = anthropic(double.url, api_key=KEY)
        async with stage_at(claude_path, tmp_path, backend, "claude-opus-5") as stage:
            reply = await stage.claude_run("Write hello.txt", *TOOLS)
            assert reply.code == 0, reply.stderr
            assert reply.text == "It is written."
            assert path.read_text() == "hello\n"
            assert await stage.rows(ROWS) == (
                ("there", 200, "tool_use", "the only target"),
                ("there", 200, "end_turn", "the only target"),
            )
            calls = await stage.rows("select name, verdict from tool_calls")
            assert calls == (("Write", "valid"),)
        asked = double.requests[-1]
        assert asked.all("x-api-key") == [KEY]
        assert asked.all("anthropic-beta")
        assert json.loads(asked.body)["model"] == "claude-opus-5"


async def test_a_tool_round_trip_through_chat_completions(claude_path: str, tmp_path: Path) -> None:
    async with OpenAiUpstream(kind="openai") as upstream:
        upstream.say(*chat_answers(tmp_path) * 2)
        backend = openai(upstream.base_url)
        async with stage_at(claude_path, tmp_path, backend, "gpt-x") as stage:
            await round_trip(stage, tmp_path)
            result = upstream.bodies[-1]["messages"][-1]
            assert result["role"] == "tool"
            await sdk_round_trip(stage)
