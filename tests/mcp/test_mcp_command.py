"""``anyclaude mcp`` as a program, over stdio, against a server that runs."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, TextContent

from anyclaude.config.settings import ServerSettings, Settings
from anyclaude.runtime import Runtime
from tests.doubles.token_model import DoubleLoader


@asynccontextmanager
async def command(data: Path) -> AsyncIterator[Client]:
    program = StdioServerParameters(
        command=sys.executable,
        args=["-m", "anyclaude.cli.main", "mcp"],
        env={"ANYCLAUDE_DATA_DIR": str(data), "PATH": os.environ["PATH"]},
        cwd=data,
    )
    async with Client(program) as client:
        yield client


def text_of(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def test_it_asks_the_running_server_and_its_model(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    settings = Settings(tmp_path, tmp_path / "log.duckdb", server=ServerSettings(port=0))
    runtime = Runtime(settings, loader=DoubleLoader(embedded_model_dir, lambda prompt: "Paris."))
    await runtime.start()
    try:
        await runtime.ready()
        body = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
        async with httpx.AsyncClient(base_url=runtime.address, trust_env=False) as http:
            answered = await http.post("/v1/messages", json=body)
        async with command(tmp_path) as client:
            assert "ask_local_model" in [tool.name for tool in (await client.list_tools()).tools]
            said = await client.call_tool(
                "ask_local_model", {"prompt": "Capital of France?", "max_tokens": 40}
            )
            why = await client.call_tool("why_was_it_slow")
            report = await client.call_tool("log_report", {"question": "latency"})
            models = await client.call_tool("models")
            running = await client.call_tool("running_requests")
    finally:
        await runtime.stop()
    assert text_of(said).startswith("Paris.\n\n[")
    assert f"Request {answered.headers['request-id']} (main, " in text_of(why)
    assert text_of(report).startswith("How fast are answers, per model and backend?\n\nmodel,")
    assert "- mlx (mlx): healthy" in text_of(models)
    assert text_of(running).startswith("0 answers under way, 0 waiting")
    rows = [said, why, report, models, running]
    assert not any(result.is_error for result in rows)


async def test_without_a_server_it_says_how_to_start_one(tmp_path: Path) -> None:
    async with command(tmp_path) as client:
        result = await client.call_tool("why_was_it_slow")
    assert result.is_error
    assert f"no anyclaude runs for {tmp_path}; start 'anyclaude-tui'" in text_of(result)
