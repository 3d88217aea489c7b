"""The real Claude Code through the real servers of others: it calls, the tool runs, it is told.

What MLX servers serve is :mod:`tests.doubles.calling_model`, which calls whatever it is asked.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from anyclaude.config.settings import CacheSettings
from tests.caches.shared.test_shared_real import SERVER, Redis
from tests.client.behind import (
    SAID,
    arguments,
    chat_answers,
    round_trip,
    sdk_round_trip,
    stage_at,
    written,
)
from tests.client.peers import RANKS, litellm_proxy, mlx_lm_server, vllm_mlx
from tests.doubles.calling_model import make_calling_model
from tests.doubles.openai_upstream import OpenAiUpstream, said
from tests.doubles.qdrant import FakeQdrant, served
from tests.gateway.kit import openai

pytestmark = [pytest.mark.client, pytest.mark.timeout(900)]


@pytest.fixture
def model(embedded_model_dir: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    return make_calling_model(embedded_model_dir, folder, "Write", arguments(tmp_path), SAID)


@pytest.mark.model
@pytest.mark.parametrize("ranks", [1, RANKS])
async def test_mlx_lms_server(claude_path: str, model: Path, tmp_path: Path, ranks: int) -> None:
    async with mlx_lm_server(model, tmp_path, ranks=ranks) as url:
        backend = openai(url, profile="auto")
        async with stage_at(claude_path, tmp_path, backend, "default_model") as stage:
            await round_trip(stage, tmp_path)
            await sdk_round_trip(stage)


@pytest.mark.model
async def test_vllm_mlx(claude_path: str, model: Path, tmp_path: Path) -> None:
    async with vllm_mlx(model, tmp_path) as url:
        backend = openai(url, profile="auto")
        async with stage_at(claude_path, tmp_path, backend, str(model)) as stage:
            await round_trip(stage, tmp_path)
            await sdk_round_trip(stage)


async def test_a_litellm_proxy(claude_path: str, tmp_path: Path) -> None:
    """Behind it OpenAI's own rules, whose refusals come through it and are learned from."""
    async with (
        OpenAiUpstream(kind="openai") as upstream,
        litellm_proxy(upstream.base_url, tmp_path) as (url, key),
    ):
        upstream.say(*chat_answers(tmp_path) * 2)
        backend = openai(url, profile="auto", api_key=key)
        async with stage_at(claude_path, tmp_path, backend, "gpt-x") as stage:
            await round_trip(stage, tmp_path)
            await sdk_round_trip(stage)


async def test_lm_studio(claude_path: str, tmp_path: Path) -> None:
    async with OpenAiUpstream(kind="lmstudio") as upstream:
        upstream.say(*chat_answers(tmp_path) * 2)
        backend = openai(upstream.base_url, profile="lmstudio")
        async with stage_at(claude_path, tmp_path, backend, "qwen3-coder-30b") as stage:
            await round_trip(stage, tmp_path)
            await sdk_round_trip(stage)
            assert upstream.refused == []


@pytest.mark.skipif(SERVER is None, reason="no redis-server is installed")
async def test_a_redis(claude_path: str, tmp_path: Path) -> None:
    """What one instance was told, another one answers out of Redis, tool round trip and all."""
    redis = Redis(tmp_path)
    await redis.start()
    cache = CacheSettings(redis_url=f"unix://{redis.socket}")
    try:
        async with OpenAiUpstream(kind="openai") as upstream:
            upstream.say(*chat_answers(tmp_path))
            backend = openai(upstream.base_url)
            asked: list[int] = []
            for data, tier in (("first", None), ("second", "shared")):
                async with stage_at(
                    claude_path, tmp_path, backend, "gpt-x", data, cache=cache
                ) as stage:
                    await round_trip(stage, tmp_path, tier=tier)
                written(tmp_path).unlink()
                shutil.rmtree(tmp_path / "home")
                asked.append(len(upstream.bodies))
            assert asked[0] == asked[1]
    finally:
        await redis.stop()


@asynccontextmanager
async def vectors(where: str) -> AsyncIterator[str]:
    """The value of ``cache.vectors``: the client library on a folder, or a Qdrant's address."""
    if where == "local":
        pytest.importorskip("qdrant_client")
        yield "qdrant"
    else:
        async with served(FakeQdrant()) as url:
            yield url


@pytest.mark.parametrize("where", ["local", "http"])
async def test_a_qdrant(claude_path: str, tmp_path: Path, where: str) -> None:
    """With tools it is never asked; a plain question it answers, however that is put."""
    pytest.importorskip("wordllama")
    async with vectors(where) as address, OpenAiUpstream(kind="openai") as upstream:
        upstream.say(*chat_answers(tmp_path), said("Paris."))
        backend = openai(upstream.base_url)
        cache = CacheSettings(semantic=True, vectors=address)
        async with stage_at(claude_path, tmp_path, backend, "gpt-x", cache=cache) as stage:
            await round_trip(stage, tmp_path)
            for question in ("What is the capital of France?", "What's the capital of France?"):
                plain = (
                    "--tools",
                    "",
                    "--model",
                    "claude-sonnet-4-5",
                    "--system-prompt",
                    "Be brief.",
                )
                reply = await stage.claude_run(question, *plain)
                assert (reply.code, reply.text) == (0, "Paris."), reply
            asked = await stage.rows("select backend, cache_tier from requests order by started_at")
            assert asked[-2:] == (("there", None), ("cache", "semantic"))
