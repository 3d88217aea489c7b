"""The whole runtime on the real small model, asked by the official SDK and by SQL."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from anyclaude.bench.grammar import check_sse
from anyclaude.config.settings import CacheSettings, ServerSettings, Settings
from anyclaude.config.state import read_state
from anyclaude.errors import UsageError
from anyclaude.runtime import Runtime

pytestmark = pytest.mark.model

QUESTION = "What is the capital of France?"
TOOL: dict[str, Any] = {
    "name": "Bash",
    "description": "Runs a command",
    "input_schema": {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
    },
}


def settings_for(tmp_path: Path, embedded: Path) -> Settings:
    """A fresh data folder that holds the converted model already."""
    data = tmp_path / "data"
    (data / "models").mkdir(parents=True, mode=0o700)
    (data / "models" / embedded.name).symlink_to(embedded)
    # The same request is to be computed again, or its reuse of prompts couldn't be seen.
    cache = CacheSettings(l2=False)
    return Settings(data, data / "anyclaude.duckdb", server=ServerSettings(port=0), cache=cache)


@pytest.fixture
async def runtime(tmp_path: Path, embedded_model_dir: Path) -> AsyncIterator[Runtime]:
    runtime = Runtime(settings_for(tmp_path, embedded_model_dir))
    await runtime.start()
    try:
        await runtime.ready()
        yield runtime
    finally:
        await runtime.stop()


@pytest.fixture
async def client(runtime: Runtime) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=runtime.address, api_key="local", max_retries=0
    ) as client:
        yield client


def varied() -> list[dict[str, Any]]:
    """Requests of many shapes, all short enough for a CPU."""
    user = {"role": "user", "content": "Say hi."}
    hi = {"role": "assistant", "content": "Hi."}
    use = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a b"}
    pieces = [{"type": "text", "text": "Say"}, {"type": "text", "text": "hi"}]
    turns: list[list[dict[str, Any]]] = [
        [user],
        [{"role": "user", "content": pieces}],
        [user, hi, {"role": "user", "content": "Again 你好 🎉"}],
        [user, {"role": "system", "content": "Date: today."}, hi, user],
        [user, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}],
    ]
    heads: list[dict[str, Any]] = [
        {},
        {"system": "Be brief."},
        {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
        {"tools": [TOOL]},
    ]
    return [{"messages": messages, **head} for messages in turns for head in heads]


async def test_paris_streamed_and_whole(client: anthropic.AsyncAnthropic) -> None:
    asked: dict[str, Any] = {
        "model": "claude-anything",
        "max_tokens": 32,
        "messages": [{"role": "user", "content": QUESTION}],
    }
    async with client.messages.stream(**asked) as stream:
        streamed = await stream.get_final_message()
    whole = await client.messages.create(**asked)
    assert "Paris" in streamed.content[0].text
    assert streamed.content[0].text == whole.content[0].text
    assert whole.stop_reason == "end_turn"
    assert whole.usage.cache_read_input_tokens
    models = [m.id async for m in client.models.list()]
    assert any(m.startswith("claude") for m in models)
    assert "SmolLM2-135M-Instruct" in models


async def test_count_equals_the_usage_of_the_same_request(
    client: anthropic.AsyncAnthropic,
) -> None:
    requests = varied()
    assert len(requests) >= 20
    for request in requests:
        counted = await client.messages.count_tokens(model="m", **request)
        usage = (await client.messages.create(model="m", max_tokens=1, **request)).usage
        total = usage.input_tokens
        total += (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        assert counted.input_tokens == total, request


async def test_bad_requests_raise_the_sdks_own_errors(client: anthropic.AsyncAnthropic) -> None:
    good = {"model": "m", "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}
    bad: list[dict[str, Any]] = [
        {"messages": []},
        {"max_tokens": 0},
        {"tools": [TOOL, TOOL]},
        {"tool_choice": {"type": "tool", "name": "absent"}},
        {"messages": [{"role": "user", "content": "x " * 9000}]},
    ]
    for body in bad:
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.create(**{**good, **body})
    with pytest.raises(anthropic.NotFoundError):
        await client.models.retrieve("no/such")


async def test_rows_are_true_when_the_last_byte_was_sent(runtime: Runtime) -> None:
    body = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": QUESTION}]}
    async with httpx.AsyncClient(base_url=runtime.address, timeout=120, trust_env=False) as http:
        answer = await http.post("/v1/messages", json={**body, "stream": True})
    verdict = check_sse(answer.text.split("\n"))
    assert verdict.ok, verdict.problems
    assert answer.headers["x-anyclaude-cache"].startswith("tier=none; reused=0; prompt=37")
    result = await runtime.control.sql(
        "select id, status, role, streaming, input_tokens, output_tokens, stop_reason, "
        "backend, model from requests"
    )
    assert result.rows == (
        (answer.headers["request-id"], 200, "main", True, 37, 7, "end_turn", "mlx",
         "SmolLM2-135M-Instruct"),
    )  # fmt: skip
    views = await runtime.control.sql("select * from latency")
    assert views.rows


async def test_private_files_and_one_server_a_folder(
    runtime: Runtime, client: anthropic.AsyncAnthropic
) -> None:
    data = runtime.settings.data_dir
    await client.messages.create(
        model="m", max_tokens=2, messages=[{"role": "user", "content": "hi"}]
    )
    for name in ("anyclaude.duckdb", "server.json", "echo.sqlite"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600, name
    state = read_state(data)
    assert state is not None
    assert state.address == runtime.address
    other = Runtime(runtime.settings)
    runtime_pid, os_getpid = os.getpid(), os.getpid
    os.getpid = lambda: runtime_pid + 1
    try:
        with pytest.raises(UsageError, match="already runs at"):
            await other.start()
    finally:
        os.getpid = os_getpid


async def test_same_greedy_text_with_and_without_reuse(
    runtime: Runtime, client: anthropic.AsyncAnthropic
) -> None:
    system = "You are a helpful assistant. " + "Answer in one sentence. " * 20
    texts = []
    for flushed in (True, False, True):
        if flushed:
            await runtime.control.flush()
        message = await client.messages.create(
            model="m",
            max_tokens=24,
            system=system,
            messages=[{"role": "user", "content": "Why is the sky blue?"}],
        )
        texts.append((message.content[0].text, bool(message.usage.cache_read_input_tokens)))
    assert [reused for _, reused in texts] == [False, True, False]
    assert len({text for text, _ in texts}) == 1


async def start_process(settings: Settings) -> tuple[asyncio.subprocess.Process, str]:
    """``anyclaude serve`` as a process of its own, and its address once it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "anyclaude.cli.main",
        "serve",
        "--port",
        "0",
        env={**os.environ, "ANYCLAUDE_DATA_DIR": str(settings.data_dir)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line.startswith("anyclaude ready http://127.0.0.1:"), line
    return process, line.split()[2]


async def test_kill_keeps_every_finished_request(tmp_path: Path, embedded_model_dir: Path) -> None:
    settings = settings_for(tmp_path, embedded_model_dir)
    process, address = await start_process(settings)
    body = {"model": "m", "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}
    long = {**body, "max_tokens": 2000, "stream": True}
    long["messages"] = [{"role": "user", "content": "Tell a very long story about the sea."}]
    done = []
    async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as http:
        for _ in range(3):
            done.append((await http.post("/v1/messages", json=body)).headers["request-id"])
        async with http.stream("POST", "/v1/messages", json=long) as stream:
            with pytest.raises(httpx.HTTPError):
                async for line in stream.aiter_lines():
                    if "text_delta" in line and process.returncode is None:
                        process.kill()
                        await process.wait()
    runtime = Runtime(settings)
    await runtime.start()
    try:
        rows = (await runtime.control.sql("select id from requests order by started_at")).rows
    finally:
        await runtime.stop()
    assert [row[0] for row in rows] == done


async def test_sigint_with_a_stream_open_ends_cleanly(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    process, address = await start_process(settings_for(tmp_path, embedded_model_dir))
    body = {"model": "m", "max_tokens": 2000, "stream": True}
    body["messages"] = [{"role": "user", "content": "Tell a very long story about the sea."}]
    lines: list[str] = []
    async with (
        httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as http,
        http.stream("POST", "/v1/messages", json=body) as stream,
    ):
        async for line in stream.aiter_lines():
            lines.append(line)
            if "text_delta" in line and process.returncode is None and len(lines) < 30:
                process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    errors = [json.loads(li[6:]) for li in lines if li.startswith("data:") and '"error"' in li]
    assert len(errors) == 1
    assert errors[0]["error"]["type"] in ("overloaded_error", "api_error")
