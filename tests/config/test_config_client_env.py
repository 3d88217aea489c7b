"""The client's environment: true figures, names it honours, nothing that leads elsewhere."""

from __future__ import annotations

import pytest

from anyclaude.config.client_env import (
    SMALL_WINDOW,
    child_env,
    client_env,
    client_model,
    max_output,
)

URL = "http://127.0.0.1:8082"


def test_points_every_model_slot_at_the_server() -> None:
    env = dict(client_env(URL, "key", "Qwen3-4B", 65_536))
    assert env["ANTHROPIC_BASE_URL"] == URL
    assert env["ANTHROPIC_AUTH_TOKEN"] == "key"
    slots = ("MODEL", "DEFAULT_OPUS_MODEL", "DEFAULT_SONNET_MODEL", "DEFAULT_HAIKU_MODEL")
    assert {env[f"ANTHROPIC_{slot}"] for slot in slots} == {"Qwen3-4B"}
    assert env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "65536"
    assert env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "8192"
    for name in ("TELEMETRY", "ERROR_REPORTING", "AUTOUPDATER"):
        assert env[f"DISABLE_{name}"] == "1"
    assert env["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"
    assert env["CLAUDE_CODE_ATTRIBUTION_HEADER"] == "0"
    assert int(env["CLAUDE_STREAM_IDLE_TIMEOUT_MS"]) > 600_000
    assert int(env["API_TIMEOUT_MS"]) >= int(env["CLAUDE_STREAM_IDLE_TIMEOUT_MS"])


def test_without_a_key_the_client_still_gets_a_token() -> None:
    assert dict(client_env(URL, "", "m", 65_536))["ANTHROPIC_AUTH_TOKEN"] == "local"


def test_a_small_window_is_told_with_what_the_client_holds_back() -> None:
    env = dict(client_env(URL, "", "m", 8192))
    assert env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "1024"
    assert env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == str(8192 + 13_000 + 1024)


def test_a_window_big_enough_is_told_as_it_is() -> None:
    env = dict(client_env(URL, "", "m", SMALL_WINDOW))
    assert env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "32768"
    assert env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "4096"


@pytest.mark.parametrize(
    ("window", "told"), [(65_536, "65536"), (8192, str(8192 + 13_000 + 500)), (0, None)]
)
def test_a_limit_of_the_server_is_what_the_client_asks_for(window: int, told: str | None) -> None:
    env = dict(client_env(URL, "", "m", window, 500))
    assert env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "500"
    assert env.get("CLAUDE_CODE_MAX_CONTEXT_TOKENS") == told


def test_an_unknown_window_is_not_guessed() -> None:
    env = dict(client_env(URL, "", "m", 0))
    assert not [name for name in env if name.startswith("CLAUDE_CODE_MAX_")]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("mlx-community/Qwen3-4B", "mlx-community/Qwen3-4B"),
        ("claude-distilled-7b", "local-claude-distilled-7b"),
        ("Claude-distilled", "local-Claude-distilled"),
        ("", "local-model"),
    ],
)
def test_no_name_begins_with_claude(model: str, name: str) -> None:
    assert client_model(model) == name


@pytest.mark.parametrize(
    ("window", "tokens"),
    [(2048, 1024), (8192, 1024), (32_768, 4096), (131_072, 16_384), (1_000_000, 16_384)],
)
def test_room_for_an_answer(window: int, tokens: int) -> None:
    assert max_output(window) == tokens


def test_a_started_client_goes_nowhere_else() -> None:
    inherited = {
        "PATH": "/bin",
        "ANTHROPIC_API_KEY": "sk-ant-real",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "ANTHROPIC_BASE_URL": "https://elsewhere",
    }
    env = child_env(inherited, client_env(URL, "", "m", 0))
    assert env["PATH"] == "/bin"
    assert env["ANTHROPIC_BASE_URL"] == URL
    assert not {"ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK", "NO_PROXY"} & set(env)


def test_a_proxy_leaves_our_address_alone() -> None:
    env = child_env(
        {"http_proxy": "http://proxy:3128", "NO_PROXY": "intern"}, client_env(URL, "", "m", 0)
    )
    assert (env["NO_PROXY"], env["no_proxy"]) == ("intern,127.0.0.1", "127.0.0.1")
