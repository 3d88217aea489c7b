"""The real Claude Code, answered by servers elsewhere: Anthropic's API, OpenAI's, mlx_lm.server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ctypes.util import find_library
from pathlib import Path

import pytest

from anyclaude.bench.process import Peer
from anyclaude.config.settings import BackendSettings, RouteSettings
from tests.client.conftest import Playbook, Stage
from tests.doubles.anthropic_upstream import KEY, AnthropicDouble, anthropic_double
from tests.doubles.openai_upstream import OpenAiUpstream, call, chunk, said, stream, usage, words
from tests.gateway.kit import anthropic, gate, openai
from tests.traffic.gates import StepGate

pytestmark = pytest.mark.client

TOOLS = ("--allowedTools", "Bash,Write")
ROWS = "select backend, status, stop_reason, route_reason from requests where role = 'main'"


@asynccontextmanager
async def stage_at(
    claude: str, tmp_path: Path, backend: BackendSettings, model: str
) -> AsyncIterator[Stage]:
    """Every model name that the client knows leads to ``model`` there."""
    home, project, data = tmp_path / "home", tmp_path / "project", tmp_path / "data"
    home.mkdir()
    project.mkdir()
    route = RouteSettings("*", (f"there/{model}",))
    async with gate(data, {"there": backend}, route) as at:
        yield Stage(at.runtime, Playbook(), StepGate(), home, project, claude)


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
    path = tmp_path / "project" / "hello.txt"
    arguments = json.dumps({"file_path": str(path), "content": "hello\n"})
    async with OpenAiUpstream(kind="openai") as upstream:
        upstream.say(
            stream(
                *words(["I ", "write."]),
                chunk(call("", id="call_1", name="Write")),
                chunk(call(arguments[:20])),
                chunk(call(arguments[20:])),
                chunk(finish="tool_calls"),
                usage(20_000, 30),
            ),
            said("It is written."),
        )
        backend = openai(upstream.base_url)
        async with stage_at(claude_path, tmp_path, backend, "gpt-x") as stage:
            reply = await stage.claude_run("Write hello.txt", *TOOLS)
            assert reply.code == 0, reply.stderr
            assert reply.text == "It is written."
            assert path.read_text() == "hello\n"
            assert [row[:3] for row in await stage.rows(ROWS)] == [
                ("there", 200, "tool_use"),
                ("there", 200, "end_turn"),
            ]
            assert reply.out["usage"]["output_tokens"] > 0
        result = upstream.bodies[-1]["messages"][-1]
        assert result["role"] == "tool"


@pytest.mark.model
async def test_an_answer_of_mlx_lms_server(
    claude_path: str, tmp_path: Path, embedded_model_dir: Path
) -> None:
    """The model is too small to call a tool: that its answer arrives is all there is to see."""
    peer = Peer(tmp_path, embedded_model_dir, find_library("openblas"))
    await peer.start()
    try:
        backend = openai(f"{peer.address}/v1", profile="auto")
        async with stage_at(claude_path, tmp_path, backend, "default_model") as stage:
            reply = await stage.claude_run(
                *("What is the capital of France?", "--tools", "", "--system-prompt", "Be brief."),
                extra={"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "40"},
            )
            rows = await stage.rows("select backend, status, output_tokens > 0 from requests")
            assert rows
            assert rows[0] == ("there", 200, True), (rows, reply)
    finally:
        await peer.stop()
