"""Virtual keys through the whole runtime: the door, the row, the account, and upstream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyclaude.config.settings import (
    BackendSettings,
    KeySettings,
    ResilienceSettings,
    RouteSettings,
    ServerSettings,
    Settings,
)
from anyclaude.config.state import read_state
from anyclaude.errors import ConfigError
from anyclaude.events import Bus, SystemEvent
from anyclaude.keys.counters import DAY_S
from anyclaude.keys.secret import digest
from anyclaude.runtime import Runtime
from anyclaude.server.listen import Listener
from tests.doubles.anthropic_upstream import KEY, AnthropicDouble, anthropic_double

MINE = "sk-anyclaude-mine"
OWN = {"x-api-key": MINE, "authorization": f"Bearer {KEY}", "anthropic-version": "2023-06-01"}
BODY = {
    "model": "claude-opus-5",
    "max_tokens": 8,
    "messages": [{"role": "user", "content": "hi"}],
}
COUNTED = {name: value for name, value in BODY.items() if name != "max_tokens"}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5",
    "content": [{"type": "text", "text": "Long. " * 400}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
        "output_tokens": 5,
    },
}


class Wall:
    now = 1_800_000_000.0 - 1_800_000_000.0 % DAY_S + DAY_S / 2

    def __call__(self) -> float:
        return self.now


def settings_for(folder: Path, url: str, **limits: Any) -> Settings:
    """Everything goes to ``url``, and no model of ours is loaded."""
    return Settings(
        folder,
        folder / "log.duckdb",
        server=ServerSettings(port=0, api_key="ours"),
        backends=(
            ("mlx", BackendSettings()),
            (
                "claude",
                BackendSettings("anthropic", base_url=url, price_in=1000.0, price_out=2000.0),
            ),
        ),
        routes=(RouteSettings("*", ("claude",)),),
        resilience=ResilienceSettings(retries=0, health_interval_s=0.0),
        keys=(("mine", KeySettings(digest(MINE), **limits)),),
    )


@asynccontextmanager
async def running(
    settings: Settings, wall: Wall | None = None, bus: Bus | None = None
) -> AsyncIterator[tuple[Runtime, httpx.AsyncClient]]:
    runtime = Runtime(settings, wall=wall or Wall(), bus=bus)
    await runtime.start()
    try:
        async with httpx.AsyncClient(base_url=runtime.address, trust_env=False) as http:
            yield runtime, http
    finally:
        await runtime.stop()


@pytest.fixture
async def upstream() -> AsyncIterator[AnthropicDouble]:
    async with anthropic_double() as double:
        double.message = MESSAGE
        yield double


async def rows(runtime: Runtime, columns: str) -> tuple[tuple[object, ...], ...]:
    found = await runtime.control.sql(f"SELECT {columns} FROM requests ORDER BY rowid")
    return found.rows


async def test_a_key_of_ours_stays_here(tmp_path: Path, upstream: AnthropicDouble) -> None:
    async with running(settings_for(tmp_path, upstream.url)) as (runtime, http):
        version = {"anthropic-version": "2023-06-01"}
        for headers in (
            {"x-api-key": MINE},
            {"authorization": f"Bearer {MINE}"},
            {"x-api-key": "ours"},
            {"authorization": f"Bearer {runtime.admin_token}"},
        ):
            for path, body in (("/v1/messages", BODY), ("/v1/messages/count_tokens", COUNTED)):
                refused = await http.post(path, json=body, headers={**headers, **version})
                assert refused.status_code == 401
                assert refused.json()["error"]["message"] == "x-api-key header is required"
        sent = " ".join(repr(request) for request in upstream.requests)
        assert len(upstream.requests) == 8
        assert MINE not in sent and "ours" not in sent and runtime.admin_token not in sent
        # Nothing of them is in the log either.
        kept = await runtime.control.sql("SELECT DISTINCT key_name FROM requests ORDER BY 1")
        assert kept.rows == (("",), ("mine",))


async def test_the_clients_own_key_goes_on(tmp_path: Path, upstream: AnthropicDouble) -> None:
    async with running(settings_for(tmp_path, upstream.url)) as (_, http):
        answer = await http.post("/v1/messages", json=BODY, headers=OWN)
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers, "as it came, though gzip was welcome"
    assert answer.content == json.dumps(MESSAGE).encode()
    [received] = upstream.requests
    assert received.all("x-api-key") == []
    assert received.all("authorization") == [f"Bearer {KEY}"]


async def test_what_a_key_used_is_in_the_log_and_outlives_a_restart(
    tmp_path: Path, upstream: AnthropicDouble
) -> None:
    settings, wall = settings_for(tmp_path, upstream.url, tokens_per_day=200), Wall()
    columns = "status, key_name, cost_usd, role"
    paid = (200, "mine", pytest.approx((10 + 100 * 0.1 + 20 * 1.25) / 1000 + 5 * 2 / 1000), "main")
    refused = (429, "mine", 0.0, "main")
    async with running(settings, wall) as (runtime, http):
        count = await http.post("/v1/messages/count_tokens", json=COUNTED, headers=OWN)
        assert count.status_code == 200
        assert (await http.post("/v1/messages", json=BODY, headers=OWN)).status_code == 200
        assert await rows(runtime, columns) == ((200, "mine", 0.0, "count"), paid)
    async with running(settings, wall) as (runtime, http):  # 135 of 200 tokens are used.
        assert (await http.post("/v1/messages", json=BODY, headers=OWN)).status_code == 200
        limited = await http.post("/v1/messages", json=BODY, headers=OWN)
        assert limited.status_code == 429
        assert limited.headers["x-should-retry"] == "false"
        assert limited.headers["x-anyclaude-backend"] == "none"
        assert (await rows(runtime, columns))[2:] == (paid, refused)
    async with running(settings, wall) as (runtime, http):
        limited = await http.post("/v1/messages", json=BODY, headers=OWN)
        assert limited.status_code == 429
        assert limited.json()["error"]["message"] == (
            "the key mine has used its 200 tokens a day; try again after midnight UTC"
        )
        assert (await rows(runtime, "error_message, error_category, model_requested"))[-1] == (
            "the key mine has used its 200 tokens a day; try again after midnight UTC",
            "resource",
            "claude-opus-5",
        )
        wall.now += DAY_S / 2
        assert (await http.post("/v1/messages", json=BODY, headers=OWN)).status_code == 200
    assert len(upstream.requests) == 4


async def test_a_budget_is_used_up_in_dollars(tmp_path: Path, upstream: AnthropicDouble) -> None:
    settings, wall = settings_for(tmp_path, upstream.url, budget_usd=0.1), Wall()
    async with running(settings, wall) as (_, http):
        for number, status in enumerate((200, 200, 429)):
            turn = {"role": "user", "content": f"question {number}"}  # Cached answers are free.
            answer = await http.post("/v1/messages", json={**BODY, "messages": [turn]}, headers=OWN)
            assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith("the key mine has used its $0.1 a day")
    async with running(settings, wall) as (_, http):
        assert (await http.post("/v1/messages", json=BODY, headers=OWN)).status_code == 429


@pytest.mark.parametrize("price", [0.0, 1.0])
async def test_a_budget_without_a_price_is_told_once(tmp_path: Path, price: float) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:9", budget_usd=1.0)
    (name, claude) = settings.backends[1]
    plain = replace(claude, price_in=price, price_out=0.0)
    bus = Bus()
    heard = bus.subscribe()
    async with running(replace(settings, backends=((name, plain),)), bus=bus):
        heard.close()
        said = [e.message async for e in heard if isinstance(e, SystemEvent) and e.kind == "server"]
    told = [
        "the budget_usd of mine is never used up: no backend that a request may be sent to has a "
        "price_in or price_out"
    ]
    assert said == ([] if price else told)


async def test_a_key_is_key_enough_to_bind_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def bind(settings: ServerSettings, *, keyed: bool) -> Listener:
        asked.append(keyed)
        raise ConfigError("not for this test")

    monkeypatch.setattr(Listener, "bind", bind)
    with_key = settings_for(tmp_path, "http://127.0.0.1:9")
    for settings in (with_key, replace(with_key, keys=())):
        with pytest.raises(ConfigError, match="not for this test"):
            await Runtime(settings).start()
    assert asked == [True, False]


async def test_the_token_of_the_state_file_opens_a_server_of_virtual_keys(
    tmp_path: Path, upstream: AnthropicDouble
) -> None:
    """What ``run``, ``env`` and ``replay`` use when there is no server.api_key."""
    settings = replace(settings_for(tmp_path, upstream.url), server=ServerSettings(port=0))
    async with running(settings) as (_, http):
        assert (await http.get("/v1/models")).status_code == 401
        state = read_state(tmp_path)
        assert state is not None
        for headers in ({"x-api-key": state.token}, {"authorization": f"Bearer {state.token}"}):
            assert (await http.get("/v1/models", headers=headers)).status_code == 200
