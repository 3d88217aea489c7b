"""Virtual keys at the door of the API."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from werkzeug.datastructures import Headers

from anyclaude.config.keyfile import changing_keys
from anyclaude.config.settings import KeySettings, ServerSettings, Settings
from anyclaude.errors import AuthenticationFailed
from anyclaude.keys.limiter import KeyInfo, Limiter
from anyclaude.keys.secret import digest
from anyclaude.server.auth import Guard
from anyclaude.types import Role
from tests.server.conftest import BODY
from tests.server.fakes import TOKEN, serving

KEY = "sk-anyclaude-mine"
MINE = KeySettings(digest(KEY), rpm=5)


def limiter(folder: Path, **keys: KeySettings) -> Limiter:
    return Limiter.of(Settings(folder, folder / "x.duckdb", keys=tuple(keys.items())))


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"x-api-key": KEY}, "mine"),
        ({"authorization": f"Bearer {KEY}"}, "mine"),
        ({"x-api-key": "other", "authorization": f"Bearer {KEY}"}, "mine"),
        ({"x-api-key": "server-key"}, None),
        ({"x-api-key": KEY, "authorization": "Bearer server-key"}, None),
        ({"authorization": "Bearer token"}, None),
    ],
)
def test_whose_request_it_is(tmp_path: Path, headers: dict[str, str], name: str | None) -> None:
    guard = Guard(ServerSettings(api_key="server-key"), "token", limiter(tmp_path, mine=MINE))
    found = guard.check("/v1/messages", Headers(headers))
    assert found == (KeyInfo("mine", MINE) if name else None)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "anyclaude: no API key; set ANTHROPIC_AUTH_TOKEN to the key you were given"),
        (
            {"x-api-key": "guess"},
            "anyclaude: wrong API key; set ANTHROPIC_AUTH_TOKEN to the key you were given",
        ),
    ],
)
def test_without_a_key_nothing_is_answered(
    tmp_path: Path, headers: dict[str, str], said: str
) -> None:
    guard = Guard(ServerSettings(), "token", limiter(tmp_path, mine=MINE))
    with pytest.raises(AuthenticationFailed) as refused:
        guard.check("/v1/messages", Headers(headers))
    assert str(refused.value) == said
    assert guard.check("/health/live", Headers(headers)) is None


async def test_the_first_key_shuts_an_open_server(tmp_path: Path) -> None:
    async with (
        serving(keys=limiter(tmp_path)) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        assert (await client.get("/v1/models")).status_code == 200
        with changing_keys(tmp_path) as keys:
            keys["mine"] = MINE
        refused = await client.get("/v1/models")
        assert refused.status_code == 401
        assert refused.headers["x-should-retry"] == "false"
        assert (await client.get("/v1/models", headers={"x-api-key": KEY})).status_code == 200
        # A virtual key steers nothing.
        admin = {"authorization": f"Bearer {KEY}"}
        assert (await client.get("/anyclaude/stats", headers=admin)).status_code == 403


ASKED = {**BODY, "model": "Claude-Haiku"}
COUNTED = {key: value for key, value in BODY.items() if key != "max_tokens"}
HAIKU = KeySettings(digest(KEY), rpm=1, models=("claude-haiku*",))


async def test_a_request_is_counted_before_it_is_run(tmp_path: Path) -> None:
    async with (
        serving(keys=limiter(tmp_path, mine=HAIKU)) as server,
        httpx.AsyncClient(base_url=server.url, headers={"x-api-key": KEY}) as client,
    ):
        assert (await client.post("/v1/messages", json=ASKED)).status_code == 200
        refused = await client.post("/v1/messages", json={**ASKED, "stream": True})
    assert refused.status_code == 429
    assert 55 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.json()["error"]["message"].startswith("the key mine has used its 1 requests a")
    [(run, _)] = server.pipeline.arrivals
    [(arrival, error, streaming, model)] = server.pipeline.rejected
    assert (run.key_name, arrival.key_name) == ("mine", "mine")
    assert (error.status, streaming, model) == (429, True, "Claude-Haiku")
    assert arrival.id == refused.headers["request-id"]


async def test_models_that_are_not_the_keys(tmp_path: Path) -> None:
    async with (
        serving(keys=limiter(tmp_path, mine=HAIKU)) as server,
        httpx.AsyncClient(base_url=server.url, headers={"x-api-key": KEY}) as client,
    ):
        for path, body in (("/v1/messages", BODY), ("/v1/messages/count_tokens", COUNTED)):
            refused = await client.post(path, json=body)
            assert refused.status_code == 403
            assert refused.json()["error"]["type"] == "permission_error"
    assert server.pipeline.arrivals == []
    assert [error.status for _, error, _, _ in server.pipeline.rejected] == [403, 403]
    assert server.pipeline.roles == [Role.MAIN, Role.COUNT]


async def test_counting_uses_nothing_of_a_key(tmp_path: Path) -> None:
    counted = {**COUNTED, "model": "claude-haiku-4-5"}
    async with (
        serving(keys=limiter(tmp_path, mine=HAIKU)) as server,
        httpx.AsyncClient(base_url=server.url, headers={"x-api-key": KEY}) as client,
    ):
        for _ in range(3):
            answer = await client.post("/v1/messages/count_tokens", json=counted)
            assert answer.status_code == 200
        assert (await client.post("/v1/messages", json=ASKED)).status_code == 200
        # At its limit a client still gets to know how long its prompt is.
        answer = await client.post("/v1/messages/count_tokens", json=counted)
        assert answer.status_code == 200
    assert {arrival.key_name for arrival, _ in server.pipeline.arrivals} == {"mine"}


async def test_who_has_no_virtual_key_has_no_limits(tmp_path: Path) -> None:
    async with (
        serving(keys=limiter(tmp_path, mine=HAIKU), api_key="ours") as server,
        httpx.AsyncClient(base_url=server.url, headers={"x-api-key": "ours"}) as client,
    ):
        for _ in range(3):
            assert (await client.post("/v1/messages", json=BODY)).status_code == 200
    assert {arrival.key_name for arrival, _ in server.pipeline.arrivals} == {""}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"x-api-key": KEY}, {}),
        ({"authorization": f"Bearer {KEY}"}, {}),
        ({"authorization": f"bearer  {KEY}"}, {}),
        ({"x-api-key": "ours"}, {}),
        ({"x-api-key": "ours", "authorization": "ours"}, {}),
        ({"authorization": "Bearer steers"}, {}),
        ({"authorization": f"Bearer {TOKEN}"}, {}),
        ({"x-api-key": KEY, "authorization": "Bearer sk-ant"}, {"authorization": "Bearer sk-ant"}),
        ({"x-api-key": "sk-ant", "authorization": f"Bearer {KEY}"}, {"x-api-key": "sk-ant"}),
    ],
)
async def test_our_keys_go_no_further(
    tmp_path: Path, sent: dict[str, str], kept: dict[str, str]
) -> None:
    async with (
        serving(keys=limiter(tmp_path, mine=MINE), api_key="ours", admin_key="steers") as server,
        httpx.AsyncClient(base_url=server.url, headers=sent) as client,
    ):
        assert (await client.post("/v1/messages", json=BODY)).status_code == 200
    [(arrival, _)] = server.pipeline.arrivals
    headers = {name.lower(): value for name, value in arrival.headers}
    assert {n: v for n, v in headers.items() if n in ("x-api-key", "authorization")} == kept
    assert headers["content-type"] == "application/json"
