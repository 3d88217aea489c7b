"""The engine in this process beside backends elsewhere, and when it isn't wanted at all."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from anyclaude.config.settings import (
    BackendSettings,
    ModelSettings,
    RouteSettings,
    ServerSettings,
    Settings,
)
from anyclaude.engine.load import LoadedModel
from anyclaude.runtime import Runtime
from tests.doubles.anthropic_upstream import AnthropicDouble, anthropic_double
from tests.doubles.chaos_upstream import free_port
from tests.doubles.token_model import DoubleLoader
from tests.gateway.kit import BASH, CALM, anthropic, gate
from tests.gateway.test_faults import BEGUN, END

START = "from anyclaude.cli.main import main; main()"
SCRIPT = """
prefill = 0
decode = 0

[[answers]]
when = "list the files"
turn = 0
says = '''I look.
<tool_call>
{"name": "Bash", "arguments": {"command": "ls"}}
</tool_call>'''

[[answers]]
says = "Noted by the script."
"""


@pytest.fixture
async def claude() -> AsyncIterator[AnthropicDouble]:
    async with anthropic_double() as double:
        double.streams = lambda: [BEGUN + END]
        yield double


def nothing_loads(name: str, progress: object) -> LoadedModel:
    raise AssertionError(f"{name} is loaded")


async def test_no_model_is_loaded_that_no_route_reaches(
    claude: AnthropicDouble, tmp_path: Path
) -> None:
    backends = {"claude": anthropic(claude.url), "mlx": BackendSettings()}
    async with gate(tmp_path, backends, loader=nothing_loads) as at:
        ready = await at.http.get("/health/ready")
        assert (ready.status_code, ready.json()["phase"]) == (200, "unloaded")
        health = await at.http.get("/health")
        assert health.status_code == 200
        assert (await at.stream()).body == BEGUN + END
        names = [info.name for info in await at.runtime.control.backends()]
        assert names == ["claude"]
        assert at.runtime.bus.engine_state.phase == "unloaded"


async def test_slots_go_to_the_engine_and_elsewhere(
    claude: AnthropicDouble, tmp_path: Path, embedded_model_dir: Path
) -> None:
    loader = DoubleLoader(embedded_model_dir, lambda prompt: "I am here.")
    routes = [RouteSettings("slot:opus", ("claude",)), RouteSettings("slot:haiku", ("mlx",))]
    backends = {"claude": anthropic(claude.url), "mlx": BackendSettings()}
    async with gate(tmp_path, backends, *routes, loader=loader) as at:
        assert (await at.stream(model="claude-opus-5")).text == "Par"
        local = await at.stream(model="claude-haiku-4-5")
        assert local.text == "I am here."
        assert local.headers["x-anyclaude-backend"] == "mlx"
        assert (await at.ask(model="claude-sonnet-5")).status == 404
        assert [r.target for r in claude.requests] == ["/v1/messages"]
        rows = await at.rows("model_requested, backend, status")
        assert rows == [
            ("claude-opus-5", "claude", 200),
            ("claude-haiku-4-5", "mlx", 200),
            ("claude-sonnet-5", "", 404),
        ]


async def test_elsewhere_answers_while_the_engine_loads(
    claude: AnthropicDouble, tmp_path: Path, embedded_model_dir: Path
) -> None:
    loader = DoubleLoader(embedded_model_dir, lambda prompt: "x", fail=frozenset({"broken"}))
    settings = Settings(
        tmp_path,
        tmp_path / "log.duckdb",
        server=ServerSettings(port=0),
        model=ModelSettings(default="broken"),
        backends=(("claude", anthropic(claude.url)), ("mlx", BackendSettings())),
        routes=(RouteSettings("*", ("mlx",), fallback=("claude",)),),
        resilience=replace(CALM, retries=1),
    )
    runtime = Runtime(settings, loader=loader)
    await runtime.start()
    try:
        body = {"model": "claude-opus-5", "max_tokens": 9, "stream": True, "messages": []}
        body["messages"] = [{"role": "user", "content": "hi"}]
        headers = {"x-api-key": "sk-ant-of-the-double", "anthropic-version": "2023-06-01"}
        async with httpx.AsyncClient(base_url=runtime.address, trust_env=False) as http:
            got = await http.post("/v1/messages", json=body, headers=headers)
        assert got.content == BEGUN + END
        assert got.headers["x-anyclaude-backend"] == "claude"
    finally:
        await runtime.stop()


async def test_a_script_answers_without_a_model(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text(SCRIPT)
    backends = {"demo": BackendSettings("scripted", script=str(script))}
    async with gate(tmp_path, backends, loader=nothing_loads) as at:
        assert (await at.stream()).text == "Noted by the script."
        asked = [{"role": "user", "content": "list the files"}]
        got = await at.stream(messages=asked, tools=[BASH])
        assert got.kinds[-1] == "message_stop"
        (tool,) = [
            e["content_block"]
            for e in got.events
            if e["type"] == "content_block_start" and e["content_block"]["type"] == "tool_use"
        ]
        assert tool["name"] == "Bash"
        whole = await at.ask(messages=asked, tools=[BASH])
        assert whole.json["content"][1]["input"] == {"command": "ls"}
        assert whole.json["stop_reason"] == "tool_use"
        row = await at.row("backend, stop_reason, status, input_tokens > 0, output_tokens > 0")
        assert row == ("demo", "tool_use", 200, True, True)


async def test_serve_is_ready_at_once_without_the_engine(
    claude: AnthropicDouble, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f"[server]\nport = {free_port()}\n[backends.mlx]\nenabled = false\n"
        f'[backends.claude]\ntype = "anthropic"\nbase_url = "{claude.url}"\n'
        '[[routes]]\nmatch = "*"\ntargets = ["claude"]\n'
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", START, "serve", "--config", str(config)),
        env={**os.environ, "ANYCLAUDE_DATA_DIR": str(tmp_path / "data")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        assert line.startswith("anyclaude ready http://127.0.0.1:")
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, err.decode()
    assert out == b""
