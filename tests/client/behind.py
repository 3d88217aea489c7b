"""The real Claude Code with every name of a model leading to one backend, and what it then does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic

from anyclaude.config.settings import BackendSettings, RouteSettings
from tests.client.conftest import Playbook, Stage
from tests.doubles.openai_upstream import Answer, call, chunk, said, stream, usage, words
from tests.gateway.kit import gate
from tests.traffic.gates import StepGate

TOOLS = ("--allowedTools", "Bash,Write")
ROWS = "select backend, status, stop_reason from requests where role = 'main'"
TIERS = "select cache_tier from requests where role = 'main'"
CONTENT = "hello\n"
SAID = "It is written."


@asynccontextmanager
async def stage_at(
    claude: str, folder: Path, backend: BackendSettings, model: str, data: str = "data", **more: Any
) -> AsyncIterator[Stage]:
    """The client's home and project are in ``folder``, as is anyclaude's folder ``data``.

    ``more`` are sections of the settings.
    """
    home, project = folder / "home", folder / "project"
    home.mkdir(exist_ok=True)
    project.mkdir(exist_ok=True)
    route = RouteSettings("*", (f"there/{model}",))
    (folder / data).mkdir()
    async with gate(folder / data, {"there": backend}, route, **more) as at:
        yield Stage(at.runtime, Playbook(), StepGate(), home, project, claude)


def written(folder: Path) -> Path:
    """The file that the model is to have the client write."""
    return folder / "project" / "hello.txt"


def arguments(folder: Path) -> dict[str, str]:
    """Of the call that writes it."""
    return {"file_path": str(written(folder)), "content": CONTENT}


def chat_answers(folder: Path) -> tuple[Answer, Answer]:
    """A server of chat completions calls, in pieces, and says so when it is done."""
    text = json.dumps(arguments(folder))
    calls = stream(
        *words(["I ", "write."]),
        chunk(call("", id="call_1", name="Write")),
        chunk(call(text[:20])),
        chunk(call(text[20:])),
        chunk(finish="tool_calls"),
        usage(20_000, 30),
    )
    return calls, said(SAID)


async def round_trip(stage: Stage, folder: Path, *, tier: str | None = None) -> None:
    """The client asks, runs the tool that is called, and hears the rest; one row for each.

    ``tier`` is where both answers come from, if not from the backend.
    """
    reply = await stage.claude_run("Write hello.txt", *TOOLS)
    assert reply.code == 0, (reply.stderr, reply.out)
    assert reply.text == SAID
    assert written(folder).read_text() == CONTENT
    backend = "cache" if tier else "there"
    assert await stage.rows(ROWS) == (
        (backend, 200, "tool_use"),
        (backend, 200, "end_turn"),
    )
    if tier:
        assert await stage.rows(TIERS) == ((tier,), (tier,))
    assert await stage.rows("select name, verdict from tool_calls") == (("Write", "valid"),)
    assert reply.out["usage"]["output_tokens"] > 0


async def sdk_round_trip(stage: Stage) -> None:
    """The SDK puts the same streams together, event by event."""
    schema = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("file_path", "content")},
    }
    tool: Any = {"name": "Write", "description": "Writes a file", "input_schema": schema}
    messages: list[Any] = [{"role": "user", "content": "Write hello.txt. " * 10}]
    async with anthropic.AsyncAnthropic(
        base_url=stage.runtime.address, api_key="any", max_retries=0, timeout=stage.patience
    ) as sdk:

        async def ask() -> Any:
            asked: Any = {"model": "claude-opus-5", "max_tokens": 500, "tools": [tool]}
            async with sdk.messages.stream(messages=messages, **asked) as stream:
                return await stream.get_final_message()

        message = await ask()
        *_, made = message.content
        assert (message.stop_reason, made.type, made.name) == ("tool_use", "tool_use", "Write")
        assert made.input["content"] == CONTENT
        messages.append({"role": "assistant", "content": message.content})
        result = {"type": "tool_result", "tool_use_id": made.id, "content": "written"}
        messages.append({"role": "user", "content": [result]})
        message = await ask()
        assert message.stop_reason == "end_turn"
        assert message.content[0].text == SAID
