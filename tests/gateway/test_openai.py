"""A server of chat completions behind the whole server: the client can't tell."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message as SdkMessage

from anyclaude.config.settings import RouteSettings
from tests.doubles.openai_upstream import (
    OpenAiUpstream,
    call,
    chunk,
    said,
    stream,
    usage,
    words,
)
from tests.gateway.kit import BASH, BODY, Answered, Gate, gate, openai, sequence

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 64).decode()


@pytest.fixture
async def upstream() -> AsyncIterator[OpenAiUpstream]:
    async with OpenAiUpstream(kind="openai") as upstream:
        yield upstream


@pytest.fixture
async def at(upstream: OpenAiUpstream, tmp_path: Path) -> AsyncIterator[Gate]:
    route = RouteSettings("*", ("up/gpt-x",))
    async with gate(tmp_path, {"up": openai(upstream.base_url)}, route) as server:
        yield server


def read(got: Answered) -> SdkMessage:
    """What the official SDK makes of a stream."""
    assert got.status == 200
    snapshot: SdkMessage | None = None
    buffers: dict[int, bytes] = {}
    for event in got.events:
        if event["type"] != "ping":
            snapshot = accumulate_event(
                event=event,  # type: ignore[arg-type]
                current_snapshot=snapshot,
                json_bufs=buffers,
            )
    assert snapshot is not None
    return snapshot


def told(message: SdkMessage) -> dict[str, Any]:
    """It as the client sends it in its next request."""
    content = [block.model_dump(exclude_none=True) for block in message.content]
    return {"role": "assistant", "content": content}


async def test_a_plain_answer(at: Gate, upstream: OpenAiUpstream) -> None:
    upstream.say(said("Paris."), said("Paris."))
    streamed = read(await at.stream())
    whole = (await at.ask()).json
    assert [block["text"] for block in whole["content"]] == ["Paris."]
    assert (whole["stop_reason"], whole["usage"]["input_tokens"]) == ("end_turn", 50)
    assert streamed.usage.output_tokens == whole["usage"]["output_tokens"] == 6
    assert {body["model"] for body in upstream.bodies} == {"gpt-x"}
    row = await at.row(
        "status, input_tokens, output_tokens, stop_reason, backend, model, route_reason"
    )
    assert row == (200, 50, 6, "end_turn", "up", "gpt-x", "the only target")


async def test_a_tool_round_trip(at: Gate, upstream: OpenAiUpstream) -> None:
    first = stream(
        *words(["I ", "look."]),
        chunk(call("", id="call_a", name="Bash")),
        chunk(call('{"comm')),
        chunk(call('and": "ls"}')),
        chunk(finish="tool_calls"),
        usage(60, 12),
    )
    upstream.say(first, said("Two files."))
    message = read(await at.stream(tools=[BASH]))
    text, tool = message.content
    assert (text.type, tool.type) == ("text", "tool_use")
    assert tool.type == "tool_use"
    assert (tool.name, tool.input) == ("Bash", {"command": "ls"})
    assert message.stop_reason == "tool_use"
    history = [
        *BODY["messages"],
        {
            "role": "assistant",
            "content": [b.model_dump(exclude_none=True) for b in message.content],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": tool.id, "content": "a b"}],
        },
    ]
    again = read(await at.stream(messages=history, tools=[BASH]))
    assert again.content[0].type == "text"
    sent = upstream.bodies[-1]["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool"]
    (called,) = sent[1]["tool_calls"]
    assert json.loads(called["function"]["arguments"]) == {"command": "ls"}
    assert sent[2]["tool_call_id"] == called["id"]
    assert sent[2]["content"] == "a b"
    rows = (await at.runtime.control.sql("SELECT name, verdict, tool_use_id FROM tool_calls")).rows
    assert rows == (("Bash", "valid", tool.id),)


async def test_parallel_calls_come_one_after_the_other(at: Gate, upstream: OpenAiUpstream) -> None:
    upstream.say(
        stream(
            chunk(call("", index=0, id="a", name="Bash")),
            chunk(call("", index=1, id="b", name="Bash")),
            chunk(call('{"command": "one"}', index=0)),
            chunk(call('{"command": "two"}', index=1)),
            chunk(finish="tool_calls"),
            usage(),
        )
    )
    got = await at.stream(tools=[BASH])
    message = read(got)
    inputs = [block.input for block in message.content if block.type == "tool_use"]
    assert inputs == [{"command": "one"}, {"command": "two"}]
    assert len({block.id for block in message.content if block.type == "tool_use"}) == 2
    assert sequence(got.kinds) == [
        "message_start",
        *["content_block_start", "content_block_delta", "content_block_stop"] * 2,
        "message_delta",
        "message_stop",
    ]


async def test_calls_are_mended_as_the_local_models_are(at: Gate, upstream: OpenAiUpstream) -> None:
    upstream.say(
        stream(
            chunk(call('{"command": "ls", "timeout": "5"', id="a", name="Bash")),
            chunk(finish="tool_calls"),
            usage(),
        )
    )
    message = read(await at.stream(tools=[BASH]))
    (tool,) = message.content
    assert tool.type == "tool_use"
    assert tool.input == {"command": "ls", "timeout": 5}
    rows = (await at.runtime.control.sql("SELECT verdict, repaired FROM tool_calls")).rows
    assert rows == (("repaired", True),)


async def test_thinking_is_shown_and_put_back(at: Gate, upstream: OpenAiUpstream) -> None:
    upstream.say(
        stream(
            chunk({"reasoning_content": "Hm, "}),
            chunk({"reasoning_content": "France."}),
            *words(["Paris."]),
            chunk(finish="stop"),
            usage(),
        ),
        said("Yes."),
    )
    thinking = {"type": "enabled", "budget_tokens": 1024}
    message = read(await at.stream(thinking=thinking, max_tokens=2000))
    thought, text = message.content
    assert thought.type == "thinking"
    assert (thought.thinking, bool(thought.signature)) == ("Hm, France.", True)
    assert text.type == "text"
    history = [
        *BODY["messages"],
        {
            "role": "assistant",
            "content": [b.model_dump(exclude_none=True) for b in message.content],
        },
        {"role": "user", "content": "Sure?"},
    ]
    assert (await at.stream(messages=history, thinking=thinking, max_tokens=2000)).status == 200
    assert [m["role"] for m in upstream.bodies[-1]["messages"]] == ["user", "assistant", "user"]


async def test_images(at: Gate, upstream: OpenAiUpstream) -> None:
    upstream.say(said("A square."))
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    content: list[Any] = [
        {"type": "image", "source": source},
        {"type": "text", "text": "What is it?"},
    ]
    message = read(await at.stream(messages=[{"role": "user", "content": content}]))
    assert message.stop_reason == "end_turn"
    (asked,) = upstream.bodies[-1]["messages"]
    picture = next(part for part in asked["content"] if part["type"] == "image_url")
    assert picture["image_url"]["url"] == f"data:image/png;base64,{PNG}"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "end_turn"),
        ("model_context_window_exceeded", "max_tokens"),
    ],
)
async def test_stop_reasons(at: Gate, upstream: OpenAiUpstream, finish: str, reason: str) -> None:
    upstream.say(said("Paris", finish))
    assert read(await at.stream()).stop_reason == reason
    assert (await at.row("stop_reason"))[0] == reason


@pytest.mark.parametrize(
    ("finish", "status", "kind", "message"),
    [
        ("content_filter", 403, "permission_error", "a content filter withheld the answer"),
        ("model_context_window_exceeded", 400, "invalid_request_error", "prompt is too long: "),
        ("insufficient_system_resource", 503, "overloaded_error", "the server broke off its ans"),
    ],
)
async def test_an_end_with_nothing_said_is_told_so_that_the_client_knows_what_to_do(
    at: Gate, upstream: OpenAiUpstream, finish: str, status: int, kind: str, message: str
) -> None:
    """Shown at once, compacted, tried again: as the client takes these (claude-code-wire.md)."""
    upstream.say(stream(chunk(finish=finish), usage()))
    got = await at.stream()
    assert (got.status, got.json["error"]["type"]) == (status, kind)
    assert got.json["error"]["message"].startswith(message)


async def test_counting_is_an_estimate_without_asking(at: Gate, upstream: OpenAiUpstream) -> None:
    body = {k: v for k, v in BODY.items() if k != "max_tokens"}
    counted = await at.ask(body, path="/v1/messages/count_tokens")
    assert 1 <= counted.json["input_tokens"] < 100
    assert upstream.bodies == []


@pytest.mark.parametrize("kind", ["lmstudio", "mlx-lm", "vllm-mlx", "ollama"])
async def test_other_servers_refuse_nothing_of_it(kind: str, tmp_path: Path) -> None:
    async with OpenAiUpstream(kind=kind) as upstream:
        backends = {"up": openai(upstream.base_url, profile=kind)}
        route = RouteSettings("*", ("up/m",))
        async with gate(tmp_path, backends, route) as at:
            upstream.say(
                stream(
                    chunk(call('{"command": "ls"}', id="a", name="Bash")),
                    chunk(finish="tool_calls"),
                    usage(),
                )
            )
            message = read(await at.stream(tools=[BASH], temperature=0.5))
            assert message.stop_reason == "tool_use"
            assert upstream.refused == []
