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
from tests.server.fakes import serving

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
