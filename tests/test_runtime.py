"""The runtime's own switches: no backend at all, traces and stream files."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from anyclaude.config.settings import (
    BackendSettings,
    LogSettings,
    ServerSettings,
    Settings,
)
from anyclaude.errors import Unavailable
from anyclaude.runtime import Runtime
from tests.doubles.token_model import DoubleLoader

BODY = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
KEY = {"authorization": "Bearer secret", "x-api-key": "secret"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, tmp_path / "log.duckdb", server=ServerSettings(port=0))


async def test_without_a_backend_it_serves_and_says_why(settings: Settings) -> None:
    off = replace(settings, backends=(("mlx", BackendSettings(enabled=False)),))
    runtime = Runtime(off)
    await runtime.start()
    try:
        with pytest.raises(Unavailable, match=r"backends\.mlx\.enabled is false"):
            await runtime.ready()
        headers = {"authorization": f"Bearer {runtime.admin_token}"}
        async with httpx.AsyncClient(base_url=runtime.address, trust_env=False) as http:
            for body in (BODY, {**BODY, "stream": True}):
                refused = await http.post("/v1/messages", json=body)
                assert refused.status_code == 503
                assert "backends.mlx.enabled is false" in refused.json()["error"]["message"]
                assert refused.headers["x-should-retry"] == "false"
            restart = await http.post("/anyclaude/engine/restart", headers=headers)
            assert restart.status_code == 503
            assert (await http.get("/health/ready")).status_code == 503
            stats = (await http.get("/anyclaude/stats", headers=headers)).json()
        assert "backends.mlx.enabled is false" in stats["engine"]["detail"]
        rows = (await runtime.control.sql("SELECT status FROM requests")).rows
        assert rows == ((503,), (503,))
    finally:
        await runtime.stop()


async def test_without_a_model_the_collector_has_less_to_do_until_it_stops(
    settings: Settings,
) -> None:
    off = replace(settings, backends=(("mlx", BackendSettings(enabled=False)),))
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    runtime = Runtime(off)
    await runtime.start()
    try:
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > frozen
    finally:
        await runtime.stop()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


async def test_traces_and_streams_are_on_disk_when_it_has_stopped(
    settings: Settings, embedded_model_dir: Path
) -> None:
    wanted = replace(settings, log=LogSettings(traces=True, stream_log=True))
    runtime = Runtime(wanted, loader=DoubleLoader(embedded_model_dir, lambda prompt: "Hello"))
    await runtime.start()
    try:
        await runtime.ready()
        async with httpx.AsyncClient(base_url=runtime.address, trust_env=False) as http:
            whole = await http.post("/v1/messages", json=BODY, headers=KEY)
            stream = await http.post("/v1/messages", json={**BODY, "stream": True}, headers=KEY)
    finally:
        await runtime.stop()
    ids = [whole.headers["request-id"], stream.headers["request-id"]]
    traces = settings.data_dir / "traces"
    assert sorted(path.stem for path in traces.iterdir()) == sorted(ids)
    trace = json.loads((traces / f"{ids[0]}.json").read_text("utf-8"))
    assert json.loads(trace["response"]) == whole.json()
    assert json.loads(trace["body"]) == BODY
    assert trace["output"] == "Hello"
    assert "secret" not in json.dumps(trace)
    (file,) = (settings.data_dir / "streams").iterdir()
    assert file.name == f"{ids[1]}.jsonl"
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    times = [line.pop("ms") for line in lines]
    sent = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
    assert [line for line in lines if line["type"] != "comment"] == sent
    assert times == sorted(times)
