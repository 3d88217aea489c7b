"""The real client with its whole prompt on the embedded model, whose window that would overflow.

Takes minutes: some 4,200 tokens are read once, and all that follows is the model's own. Run it
with ``pytest -m slow -n 0``: pytest's workers give the model one core each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

from anyclaude.backend import BackendRequest
from anyclaude.config.client_env import child_env, client_env
from anyclaude.config.settings import CacheSettings, PromptSettings, ServerSettings, Settings
from anyclaude.engine.engine import Engine
from anyclaude.engine.generation import MlxGeneration
from anyclaude.runtime import Runtime
from anyclaude.types import JsonValue, TextBlock, ToolChoice, ToolDefinition
from tests.client.conftest import Playbook, Stage
from tests.client.reuse import lost, main_loop
from tests.client.test_prompt import MOST
from tests.traffic.gates import StepGate

pytestmark = [
    pytest.mark.client,
    pytest.mark.model,
    pytest.mark.slow,
    pytest.mark.timeout(3_600),
]

WINDOW = 8_192
WORDS = 32
"""Tokens of an answer. The client has one that ran into its limit go on, up to three times."""
CALL = 96
"""Tokens of an answer that is a call, which takes about 50: cut short it would be none."""
PATIENCE = 1_500.0
WRITE_NOW = "Use the Write tool"
LONGEST = {"file_path": 40, "content": 24}
"""Characters of the call's arguments: greedy, so small a model may say the same for ever."""


@dataclass
class Embedded(Stage):
    """The embedded model itself, and no double; the client is told of its true window."""

    def env(self) -> dict[str, str]:
        pairs = client_env(self.runtime.address, "", "SmolLM2", WINDOW, WORDS)
        return {**child_env(super().env(), pairs), "HOME": str(self.home)}


@pytest.fixture
async def embedded(
    claude_path: str, embedded_model_dir: Path, tmp_path: Path
) -> AsyncGenerator[Embedded, None]:
    data, home, project = tmp_path / "data", tmp_path / "home", tmp_path / "project"
    for folder in (home, project):
        folder.mkdir()
    (data / "models").mkdir(parents=True, mode=0o700)
    (data / "models" / embedded_model_dir.name).symlink_to(embedded_model_dir)
    settings = Settings(
        data,
        data / "anyclaude.duckdb",
        server=ServerSettings(port=0),
        cache=CacheSettings(l2=False, l3=False),
        prompt=PromptSettings(tier="strong"),
    )
    runtime = Runtime(settings)
    await runtime.start()
    try:
        await asyncio.wait_for(runtime.ready(), 300)
        yield Embedded(runtime, Playbook(), StepGate(), home, project, claude_path, PATIENCE)
    finally:
        await runtime.stop()


def brief(tool: ToolDefinition) -> ToolDefinition:
    """The Write tool with arguments of at most :data:`LONGEST`, any other as it is."""
    properties = tool.input_schema.get("properties")
    if tool.name != "Write" or not isinstance(properties, Mapping):
        return tool
    bounded: dict[str, JsonValue] = {
        name: (
            {**value, "maxLength": LONGEST[name]}
            if name in LONGEST and isinstance(value, Mapping)
            else value
        )
        for name, value in properties.items()
    }
    return replace(tool, input_schema={**tool.input_schema, "properties": bounded})


@pytest.fixture
def call_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Write call is asked for where the user wants one, as so small a model seldom opens one by
    itself; what it is to say is the model's own, under a grammar in which it is brief."""
    opened = Engine.open

    async def open(self: Engine, request: BackendRequest) -> MlxGeneration:
        # A turn of the system may follow the user's.
        last = next(m for m in reversed(request.request.messages) if m.role == "user")
        if any(isinstance(b, TextBlock) and WRITE_NOW in b.text for b in last.content):
            wanted = replace(request.request, tool_choice=ToolChoice("tool", "Write", True))
            tools = request.callable_tools or request.request.tools
            request = replace(request, request=wanted, callable_tools=tuple(map(brief, tools)))
        return await opened(self, request)

    monkeypatch.setattr(Engine, "open", open)


ROWS = """
    select input_tokens + cache_read_tokens + cache_creation_tokens, cache_read_tokens,
           output_tokens, prefill_ms / 1000, decode_ms / 1000, stop_reason, prompt_tier,
           window_tokens, prompt_tokens_before, prompt_tokens_after, id
    from requests where role = 'main' order by started_at
"""
CALLS = """
    select c.name, c.verdict, c.raw from tool_calls c join requests r on r.id = c.request_id
    order by r.started_at
"""


def table(rows: Sequence[Sequence[object]]) -> str:
    """The lines of the table in docs/prompt.md."""
    lines = [
        "| request | prompt | reused | read, s | written | written, s | ended |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {at} | {prompt:,} | {reused:,} | {reading:.1f} | {written} | {writing:.1f} | {end} |"
        for at, (prompt, reused, written, reading, writing, end, *_) in enumerate(rows, 1)
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.usefixtures("call_forced")
async def test_three_turns_and_a_call_in_a_window_that_the_prompt_overflows(
    embedded: Embedded, tmp_path: Path
) -> None:
    """What the model says is its own affair, and whether it comes to an end of it: an answer that
    ran into the limit is one too."""

    async def turn(*arguments: str, most: int = WORDS) -> None:
        before = len(await main_loop(embedded))
        limit = {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(most)}
        reply = await embedded.claude_run(*arguments, "--allowedTools", "Write", extra=limit)
        rows = await embedded.rows(ROWS)
        (tmp_path / "turns.md").write_text(table(rows))  # For the docs: pytest --basetemp keeps it.
        assert len(rows) > before, (reply.out, reply.stderr)
        assert reply.code == 0 or rows[-1][5] == "max_tokens", (reply.out, reply.stderr)

    await turn("What is the capital of France?")
    await turn("--continue", f"{WRITE_NOW} to write the word hello to hello.txt", most=CALL)
    calls = await embedded.rows(CALLS)
    assert calls[0][:2] == ("Write", "valid"), calls
    await turn("--continue", "Thank you. Say goodbye.")
    refused = await embedded.rows("select status, error_message from requests where status <> 200")
    assert not refused
    rows = await embedded.rows(ROWS)
    assert {row[6:8] for row in rows} == {("strong", WINDOW)}
    before, after = (int(str(value)) for value in rows[0][8:10])
    assert after < MOST * before
    loop = await main_loop(embedded)
    assert len(loop) >= 4, "three turns and the one after the call"
    assert all(turn.prompt < WINDOW for turn in loop)
    assert loop[0].cause == "cold" and all(turn.cause == "none" for turn in loop[1:])
    assert not lost(loop), lost(loop)
    prompts = [(await embedded.runtime.control.detail(str(row[10]))).prompt for row in rows]
    assert all(len(prompt) > 10_000 for prompt in prompts)
    assert all(later.startswith(earlier) for earlier, later in pairwise(prompts))
