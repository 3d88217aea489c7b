"""Answers whose calls run here, through the whole server: model, strict MCP server, client."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from anyclaude.bench.grammar import check_message, check_sse
from anyclaude.config.settings import (
    BackendSettings,
    CacheSettings,
    McpSettings,
    RouteSettings,
    ServerSettings,
    Settings,
    ToolSettings,
)
from anyclaude.events import Event, McpCall
from anyclaude.keepalive import Due, KeepAlive
from anyclaude.runtime import Runtime
from tests.doubles.token_model import DoubleLoader
from tests.mcp.conftest import Seen, stdio_settings

TURN = "<|im_start|>assistant\n"
BASH: dict[str, Any] = {
    "name": "Bash",
    "description": "Runs a command",
    "input_schema": {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
    },
}


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def ours(name: str, **arguments: object) -> str:
    return call(f"mcp__files__{name}", **arguments)


@dataclass
class Script:
    """What the model says, answer by answer of the conversation, and the prompts it saw."""

    answers: Sequence[str] = ()
    prompts: list[str] = field(default_factory=list)

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        turn = prompt.count(TURN) - 1
        return self.answers[turn] if turn < len(self.answers) else "That was all."


@dataclass
class Stage:
    runtime: Runtime
    script: Script
    seen: Seen
    http: httpx.AsyncClient
    messages: list[dict[str, Any]] = field(default_factory=list)

    def body(self, **more: Any) -> dict[str, Any]:
        return {
            "model": "m",
            "max_tokens": 2_000,
            "system": "Be brief.",
            "tools": [BASH],
            "messages": self.messages,
            **more,
        }

    async def ask(self, content: Any, **more: Any) -> dict[str, Any]:
        """One streamed answer; the conversation goes on with it as the client sends it back."""
        self.messages.append({"role": "user", "content": content})
        response = await self.http.post(
            "/v1/messages", json=self.body(stream=True, **more), headers=SESSION
        )
        verdict = check_sse(response.text.split("\n"))
        assert verdict.ok, verdict.problems
        self.messages.append({"role": "assistant", "content": as_echoed(verdict.content)})
        return {
            "content": verdict.content,
            "stop_reason": verdict.stop_reason,
            "usage": verdict.usage,
            "id": response.headers["request-id"],
        }

    async def rows(self, sql: str) -> tuple[tuple[object, ...], ...]:
        return (await self.runtime.control.sql(sql)).rows


SESSION = {"x-claude-code-session-id": "s1"}


def as_echoed(content: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As the real client sends a turn back: blank text dropped, its own calls last."""
    kept = [dict(b) for b in content if b["type"] != "text" or b["text"].strip()]
    return [b for b in kept if b["type"] != "tool_use"] + [
        b for b in kept if b["type"] == "tool_use"
    ]


def kinds(answer: Mapping[str, Any]) -> list[str]:
    return [block["type"] for block in answer["content"]]


@asynccontextmanager
async def staged(
    tmp_path: Path,
    embedded: Path,
    servers: Mapping[str, McpSettings],
    tools: ToolSettings = ToolSettings(constrain=False),  # noqa: B008 - a frozen value
) -> AsyncIterator[Stage]:
    script = Script()
    data = tmp_path / "data"
    settings = Settings(
        data,
        data / "log.duckdb",
        server=ServerSettings(port=0),
        cache=CacheSettings(l2=False),
        tools=tools,
        mcp=tuple(servers.items()),
    )
    runtime = Runtime(settings, loader=DoubleLoader(embedded, script, context_limit=100_000))
    await runtime.start()
    try:
        await runtime.ready()
        async with httpx.AsyncClient(base_url=runtime.address, trust_env=False, timeout=60) as http:
            yield Stage(runtime, script, Seen(tmp_path / "seen.jsonl"), http)
    finally:
        await runtime.stop()


@pytest.fixture
async def stage(tmp_path: Path, embedded_model_dir: Path) -> AsyncIterator[Stage]:
    servers = {"files": stdio_settings(tmp_path / "seen.jsonl")}
    async with staged(tmp_path, embedded_model_dir, servers) as stage:
        yield stage


# ------------------------------------------------------------------------------------ rounds


async def test_the_model_goes_on_with_the_results_of_its_parallel_calls(stage: Stage) -> None:
    stage.script.answers = [
        "I look.\n" + ours("read", path="/a") + "\n" + ours("read", path="/b"),
        "Both are there.",
        "Bye.",
    ]
    answer = await stage.ask("hi")
    assert kinds(answer) == [
        "text",
        "text", "mcp_tool_use", "text", "mcp_tool_use",
        "text", "mcp_tool_result", "text", "mcp_tool_result",
        "text",
    ]  # fmt: skip
    assert answer["stop_reason"] == "end_turn"
    texts = [b["text"] for b in answer["content"] if b["type"] == "text"]
    assert texts[1] == '▸ files: read `{"path": "/a"}`'
    assert "◂ `text of /a`" in texts
    assert texts[-1] == "Both are there."
    first, second = stage.script.prompts
    assert '"name": "mcp__files__read"' in first
    assert second.startswith(first)
    assert second.index("text of /a") < second.index("text of /b")
    assert '<data from="files: read">\ntext of /a\n</data>' in second
    assert "▸" not in second


async def test_the_next_request_renders_to_the_same_tokens(stage: Stage) -> None:
    """What was computed for both rounds is read from the cache, to the last token written."""
    stage.script.answers = [
        "I look.\n" + ours("read", path="/a"),
        "And again." + ours("count"),
        "Done.",
        "Bye.",
    ]
    answer = await stage.ask("hi")
    usage = answer["usage"]
    length = sum(usage.values())
    await stage.ask("more")
    *_, before, after = stage.script.prompts
    assert after.startswith(before + "Done.")
    rows = await stage.rows(
        "SELECT cache_read_tokens, prefix_break_cause, input_tokens + cache_read_tokens +"
        " cache_creation_tokens + output_tokens FROM requests ORDER BY started_at"
    )
    assert rows[0][2] == length
    assert int(str(rows[1][0])) >= length - 1
    assert rows[1][1] == "none"
    assert await stage.rows("SELECT message FROM events WHERE kind = 'echo'") == ()


async def test_it_stays_the_same_after_a_restart(tmp_path: Path, embedded_model_dir: Path) -> None:
    servers = {"files": stdio_settings(tmp_path / "seen.jsonl")}
    answers = ["I look.\n" + ours("read", path="/a"), "Done.", "Bye."]
    async with staged(tmp_path, embedded_model_dir, servers) as stage:
        stage.script.answers = answers
        await stage.ask("hi")
        before, messages = stage.script.prompts[-1], stage.messages
    async with staged(tmp_path, embedded_model_dir, servers) as stage:
        stage.script.answers, stage.messages = answers, messages
        await stage.ask("more")
        assert stage.script.prompts[-1].startswith(before + "Done.")


async def test_the_first_text_leaves_before_the_result_exists(stage: Stage, tmp_path: Path) -> None:
    """The tool waits for a gate that is opened only once the client has read the text."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    stage.script.answers = ["Wait for it.\n" + ours("wait", path=str(gate)), "There."]
    stage.messages.append({"role": "user", "content": "hi"})
    order: list[str] = []
    said = ""
    async with stage.http.stream(
        "POST", "/v1/messages", json=stage.body(stream=True), headers=SESSION
    ) as response:
        async for line in response.aiter_lines():
            if '"text_delta"' in line:
                said += json.loads(line.removeprefix("data: "))["delta"]["text"]
            if said.startswith("Wait for it.") and not order:
                order.append("text")
            if '"mcp_tool_use"' in line:
                order.append("call")
                assert await stage.rows("SELECT * FROM mcp_calls") == ()
                await asyncio.to_thread(gate.write_bytes, b"")
            if '"mcp_tool_result"' in line:
                order.append("result")
            if said.endswith("There."):
                order.append("text")
                said = ""
    assert order == ["text", "call", "result", "text"]


async def test_empty_deltas_while_a_tool_runs_keep_the_grammar(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are sent to a client that has waited for minutes."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    sent = asyncio.Event()

    def due(keepalive: KeepAlive) -> Due:
        sent.set()
        return Due(ping=True, empty_delta=True)

    monkeypatch.setattr(KeepAlive, "due", due)
    monkeypatch.setattr(KeepAlive, "wait", lambda keepalive: 0.01)
    stage.script.answers = [ours("wait", path=str(gate)), "There."]
    asking = asyncio.ensure_future(stage.ask("hi"))
    await until(stage, lambda e: isinstance(e, McpCall) and not e.call.status)
    sent.clear()
    await sent.wait()
    await asyncio.to_thread(gate.write_bytes, b"")
    answer = await asking
    assert answer["content"][-1]["text"] == "There."


async def test_a_call_of_the_clients_beside_ours_ends_the_answer(stage: Stage) -> None:
    stage.script.answers = [
        "Both.\n" + call("Bash", command="ls") + "\n" + ours("read", path="/a"),
        "Seen.",
    ]
    answer = await stage.ask("hi")
    assert answer["stop_reason"] == "tool_use"
    assert [k for k in kinds(answer) if k != "text"] == [
        "tool_use", "mcp_tool_use", "mcp_tool_result",
    ]  # fmt: skip
    (use,) = [b for b in answer["content"] if b["type"] == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "x.txt"}
    await stage.ask([result])
    first, second = stage.script.prompts
    assert second.startswith(first + stage.script.answers[0])
    assert "text of /a" in second and "x.txt" in second
    rows = await stage.rows("SELECT prefix_break_cause FROM requests ORDER BY started_at")
    assert rows[1][0] == "none"


async def test_a_call_of_the_clients_in_a_later_round(stage: Stage) -> None:
    stage.script.answers = [
        ours("read", path="/a"),
        "Now yours." + call("Bash", command="ls"),
        "Seen.",
    ]
    answer = await stage.ask("hi")
    assert answer["stop_reason"] == "tool_use"
    (use,) = [b for b in answer["content"] if b["type"] == "tool_use"]
    assert use["id"].endswith("_r2")
    await stage.ask([{"type": "tool_result", "tool_use_id": use["id"], "content": "x.txt"}])
    _, second, third = stage.script.prompts
    assert third.startswith(second + stage.script.answers[1])


async def test_rounds_end(tmp_path: Path, embedded_model_dir: Path) -> None:
    servers = {"files": stdio_settings(tmp_path / "seen.jsonl")}
    tools = ToolSettings(constrain=False, mcp_rounds=2)
    async with staged(tmp_path, embedded_model_dir, servers, tools) as stage:
        stage.script.answers = [ours("write", path=str(at)) for at in range(5)]
        answer = await stage.ask("hi")
        assert answer["stop_reason"] == "end_turn"
        assert len(stage.seen.named("tools/call")) == 2
        results = [b for b in answer["content"] if b["type"] == "mcp_tool_result"]
        assert [r["is_error"] for r in results] == [False, False, True]
        assert "one answer may have 2 rounds of calls" in results[-1]["content"][0]["text"]


async def test_a_whole_answer_says_the_same(stage: Stage) -> None:
    stage.script.answers = ["I look.\n" + ours("read", path="/a"), "Done."]
    stage.messages.append({"role": "user", "content": "hi"})
    whole = (await stage.http.post("/v1/messages", json=stage.body())).json()
    assert check_message(whole) == []
    stage.messages.clear()
    streamed = await stage.ask("hi")
    strip = lambda blocks: [  # noqa: E731
        {k: v for k, v in b.items() if "id" not in k} for b in blocks if b.get("text", "x").strip()
    ]
    assert strip(whole["content"]) == strip(streamed["content"])


async def test_the_official_sdk_reads_such_a_stream(stage: Stage) -> None:
    stage.script.answers = ["I look.\n" + ours("read", path="/a"), "Done."]
    async with anthropic.AsyncAnthropic(
        base_url=stage.runtime.address, api_key="x", max_retries=0
    ) as client:
        async with client.beta.messages.stream(
            model="m",
            max_tokens=500,
            tools=[BASH],  # type: ignore[list-item]
            messages=[{"role": "user", "content": "hi"}],
        ) as stream:
            message = await stream.get_final_message()
    used = next(b for b in message.content if b.type == "mcp_tool_use")
    back = next(b for b in message.content if b.type == "mcp_tool_result")
    assert (used.server_name, used.name, used.input) == ("files", "read", {"path": "/a"})
    assert back.tool_use_id == used.id
    assert message.content[-1].type == "text"


async def test_a_backend_without_an_engine_has_rounds_too(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    says = [json.dumps(text) for text in ("I look." + ours("read", path="/a"), "Done.")]
    script.write_text(
        "".join(f"[[answers]]\nturn = {at}\nsays = {text}\n" for at, text in enumerate(says))
    )
    settings = Settings(
        tmp_path / "data",
        tmp_path / "log.duckdb",
        server=ServerSettings(port=0),
        backends=(("acted", BackendSettings(type="scripted", script=str(script))),),
        routes=(RouteSettings("*", ("acted",)),),
        mcp=(("files", stdio_settings(tmp_path / "seen.jsonl")),),
    )
    runtime = Runtime(settings)
    await runtime.start()
    try:
        async with httpx.AsyncClient(base_url=runtime.address, trust_env=False) as http:
            stage = Stage(runtime, Script(), Seen(tmp_path / "seen.jsonl"), http)
            answer = await stage.ask("hi")
        assert answer["content"][-1]["text"] == "Done."
        assert len(stage.seen.named("tools/call")) == 1
    finally:
        await runtime.stop()


# -------------------------------------------------------------------------------- permission


async def test_what_may_not_run_is_refused_to_the_model(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    servers = {"files": stdio_settings(tmp_path / "seen.jsonl", run=())}
    async with staged(tmp_path, embedded_model_dir, servers) as stage:
        stage.script.answers = [ours("read", path="/a"), "I may not."]
        answer = await stage.ask("hi")
        assert "nobody has allowed read to run unasked" in stage.script.prompts[-1]
        assert stage.seen.named("tools/call") == []
        assert answer["content"][-1]["text"] == "I may not."
        assert await stage.rows("SELECT status, tool FROM mcp_calls") == (("refused", "read"),)


async def test_arguments_that_do_not_fit_never_reach_the_server(stage: Stage) -> None:
    stage.script.answers = [ours("read", wrong=1), ours("read", wrong=1), "Sorry."]
    answer = await stage.ask("hi")
    results = [b for b in answer["content"] if b["type"] == "mcp_tool_result"]
    assert results and all(r["is_error"] for r in results)
    assert "don't fit the tool's schema" in results[0]["content"][0]["text"]
    assert stage.seen.named("tools/call") == []


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "Bash"}])
async def test_a_forced_call_is_one_of_the_clients(
    tmp_path: Path, embedded_model_dir: Path, choice: dict[str, str]
) -> None:
    servers = {"files": stdio_settings(tmp_path / "seen.jsonl")}
    async with staged(tmp_path, embedded_model_dir, servers, ToolSettings()) as stage:
        stage.script.answers = [call("Bash", command="ls")]
        answer = await stage.ask("hi", tool_choice=choice)
        assert kinds(answer)[-1] == "tool_use"
        assert "mcp__files__read" in stage.script.prompts[0]


async def test_requests_without_tools_get_none(stage: Stage) -> None:
    stage.script.answers = ["Hello."]
    await stage.ask("hi", tools=[])
    assert "mcp__files" not in stage.script.prompts[0]


async def test_a_whole_prompt_is_counted_with_our_tools(stage: Stage) -> None:
    stage.script.answers = ["Hello."]
    answer = await stage.ask("hi")
    body = stage.body(messages=[{"role": "user", "content": "hi"}])
    del body["max_tokens"]
    counted = (await stage.http.post("/v1/messages/count_tokens", json=body)).json()
    usage = answer["usage"]
    assert counted["input_tokens"] == sum(usage.values()) - usage["output_tokens"]
    del body["system"]
    alone = (await stage.http.post("/v1/messages/count_tokens", json=body)).json()
    assert alone["input_tokens"] < counted["input_tokens"] / 2


# ------------------------------------------------------------------------------------- ends


async def until(stage: Stage, wanted: Callable[[Event], bool]) -> None:
    async with asyncio.timeout(60):
        async for event in stage.runtime.bus.subscribe():
            if wanted(event):
                return


async def test_a_client_that_hangs_up_cancels_the_call(stage: Stage) -> None:
    stage.script.answers = [ours("hang"), "never"]
    stage.messages.append({"role": "user", "content": "hi"})
    begun, cancelled = (
        asyncio.ensure_future(
            until(stage, lambda e, s=status: isinstance(e, McpCall) and e.call.status == s)  # type: ignore[misc]
        )
        for status in ("", "cancelled")
    )
    async with stage.http.stream(
        "POST", "/v1/messages", json=stage.body(stream=True), headers=SESSION
    ) as response:
        async for line in response.aiter_lines():
            if '"mcp_tool_use"' in line:
                await begun
                break
    await cancelled
    stage.messages.clear()
    stage.script.answers = ["Still here."]
    assert (await stage.ask("again"))["content"][0]["text"] == "Still here."
    rows = await stage.rows("SELECT status FROM requests ORDER BY started_at")
    assert [row[0] for row in rows] == [499, 200]
    assert len(stage.seen.named("notifications/cancelled")) == 1


async def test_a_request_is_cancelled_from_the_console_while_its_tool_runs(stage: Stage) -> None:
    stage.script.answers = [ours("hang"), "never"]
    stage.messages.append({"role": "user", "content": "hi"})
    async with stage.http.stream(
        "POST", "/v1/messages", json=stage.body(stream=True), headers=SESSION
    ) as response:
        lines = response.aiter_lines()
        async for line in lines:
            if '"mcp_tool_use"' in line:
                (running,) = await stage.runtime.control.running()
                assert running.id == response.headers["request-id"]
                assert await stage.runtime.control.cancel(running.id)
                break
        rest = [line async for line in lines]
    assert any("the request was cancelled from the console" in line for line in rest)
    assert await stage.runtime.control.running() == ()


async def test_a_prompt_that_grows_too_long_ends_the_answer_in_words(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    servers = {"files": stdio_settings(tmp_path / "seen.jsonl", max_result_chars=10_000_000)}
    async with staged(tmp_path, embedded_model_dir, servers) as stage:
        stage.script.answers = [ours("huge"), "never"]
        answer = await stage.ask("hi")
        assert answer["stop_reason"] == "end_turn"
        assert "the answer can't go on after its calls" in answer["content"][-1]["text"]
        assert len(stage.script.prompts) == 1


async def test_a_crash_in_the_middle_is_told_to_the_model(stage: Stage) -> None:
    stage.script.answers = [ours("crash"), ours("read", path="/a"), "Recovered."]
    answer = await stage.ask("hi")
    assert answer["content"][-1]["text"] == "Recovered."
    rows = await stage.rows("SELECT tool, status, round FROM mcp_calls ORDER BY round")
    assert rows == (("crash", "lost", 1), ("read", "ok", 2))


async def test_a_replay_runs_nothing(stage: Stage) -> None:
    stage.script.answers = [ours("write", path="/a"), "Done."]
    answer = await stage.ask("hi")
    ended = asyncio.ensure_future(until(stage, lambda e: type(e).__name__ == "RequestFinished"))
    await asyncio.sleep(0)
    await stage.runtime.control.replay(answer["id"])
    await ended
    assert len(stage.seen.named("tools/call")) == 1


async def test_a_server_that_is_not_installed_or_there_stops_nothing(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    servers = {"gone": McpSettings(command="/no/such/program")}
    async with staged(tmp_path, embedded_model_dir, servers) as stage:
        stage.script.answers = ["Hello."]
        assert (await stage.ask("hi"))["content"][0]["text"] == "Hello."
        events = await stage.rows("SELECT message FROM events WHERE kind = 'mcp'")
        assert "gone can't be used" in str(events[0][0])
