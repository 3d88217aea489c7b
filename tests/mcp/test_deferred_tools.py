"""Tools that are only named, through the whole server: looked up, called, and the prefix stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyclaude.config.settings import (
    CacheSettings,
    PromptSettings,
    ServerSettings,
    Settings,
    ToolSettings,
)
from anyclaude.prompt.deferring import LOADER
from anyclaude.runtime import Runtime
from tests.doubles.token_model import DoubleLoader
from tests.mcp.conftest import Seen
from tests.mcp.test_mcp_rounds import BASH, Script, Stage, call, kinds

WAKE: dict[str, Any] = {
    "name": "ScheduleWakeup",
    "description": "Wakes the session up later. You must say why, in a few words.",
    "input_schema": {
        "type": "object",
        "properties": {"minutes": {"type": "integer"}, "why": {"type": "string"}},
        "required": ["minutes"],
        "additionalProperties": False,
    },
}
TOOLS = [BASH, WAKE]


@asynccontextmanager
async def staged(
    folder: Path, embedded: Path, *, constrain: bool = True, **prompt: Any
) -> AsyncIterator[Stage]:
    script, data = Script(), folder / "data"
    settings = Settings(
        data,
        data / "log.duckdb",
        server=ServerSettings(port=0),
        cache=CacheSettings(l2=False),
        tools=ToolSettings(constrain=constrain),
        prompt=PromptSettings(**prompt),
    )
    runtime = Runtime(settings, loader=DoubleLoader(embedded, script, context_limit=100_000))
    await runtime.start()
    try:
        await runtime.ready()
        async with httpx.AsyncClient(base_url=runtime.address, trust_env=False, timeout=60) as http:
            yield Stage(runtime, script, Seen(folder / "seen.jsonl"), http)
    finally:
        await runtime.stop()


@pytest.mark.parametrize("constrain", [True, False])
async def test_looked_up_and_called_in_one_answer(
    tmp_path: Path, embedded_model_dir: Path, constrain: bool
) -> None:
    async with staged(
        tmp_path, embedded_model_dir, constrain=constrain, tier="standard", defer=("Schedule*",)
    ) as stage:
        stage.script.answers = answers = [
            "I look.\n" + call(LOADER, names=["ScheduleWakeup"]),
            "Now.\n" + call("ScheduleWakeup", minutes=5, why="tests"),
            "Good night.",
            "Bye.",
        ]
        answer = await stage.ask("wake me up", tools=TOOLS)
        assert answer["stop_reason"] == "tool_use"
        assert [k for k in kinds(answer) if k != "text"] == [
            "mcp_tool_use", "mcp_tool_result", "tool_use",
        ]  # fmt: skip
        use = answer["content"][-1]
        assert (use["name"], use["input"]) == ("ScheduleWakeup", {"minutes": 5, "why": "tests"})
        result = {"type": "tool_result", "tool_use_id": use["id"], "content": "It is set."}
        assert kinds(await stage.ask([result], tools=TOOLS)) == ["text"]
        await stage.ask("and now?", tools=TOOLS)

        first, second, third, fourth = stage.script.prompts
        assert "- ScheduleWakeup: Wakes the session up later." in first and "minutes" not in first
        assert '"name": "Bash"' in first
        assert second.startswith(first + answers[0]) and '"minutes": {"type": "integer"}' in second
        assert third.startswith(second + answers[1]) and fourth.startswith(third + answers[2])
        rows = await stage.rows(
            "SELECT prefix_break_cause, prompt_tier FROM requests ORDER BY started_at"
        )
        assert [row[0] for row in rows[1:]] == ["none", "none"]
        assert {row[1] for row in rows} == {"standard"}
        calls = await stage.rows("SELECT name, verdict FROM tool_calls ORDER BY name")
        assert calls == (("ScheduleWakeup", "valid"), (LOADER, "valid"))
        assert await stage.rows("SELECT server, tool, status FROM mcp_calls") == (
            ("anyclaude", "describe_tools", "ok"),
        )
        sections = await stage.rows(
            "SELECT place, action, tokens_before > 0, tokens_after > 0 FROM prompt_sections"
            " WHERE action IN ('deferred', 'added') ORDER BY action"
        )
        assert sections == (
            (f"tools.{LOADER}", "added", False, True),
            ("tools.ScheduleWakeup", "deferred", True, False),
        )


async def test_a_call_without_looking_is_as_valid(tmp_path: Path, embedded_model_dir: Path) -> None:
    async with staged(
        tmp_path, embedded_model_dir, tier="strong", defer=("ScheduleWakeup",)
    ) as stage:
        stage.script.answers = [call("ScheduleWakeup", minutes=5)]
        answer = await stage.ask("wake me up", tools=TOOLS)
        assert answer["content"][-1]["input"] == {"minutes": 5}
        assert "minutes" not in stage.script.prompts[0]
        counted = await stage.http.post(
            "/v1/messages/count_tokens",
            json={k: v for k, v in stage.body(tools=TOOLS).items() if k != "max_tokens"}
            | {"messages": stage.messages[:1]},
        )
        assert (
            counted.json()["input_tokens"]
            == sum(answer["usage"].values()) - (answer["usage"]["output_tokens"])
        )


async def test_without_patterns_nothing_of_it_is_there(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with staged(tmp_path, embedded_model_dir, tier="standard") as stage:
        await stage.ask("hi", tools=TOOLS)
        assert LOADER not in stage.script.prompts[0] and "minutes" in stage.script.prompts[0]
