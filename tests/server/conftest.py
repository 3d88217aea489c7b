"""A running server for the tests that need nothing special of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.server.fakes import Running, serving


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with serving() as running:
        yield running


@pytest.fixture
async def client(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client


BODY: dict[str, object] = {
    "model": "local-model",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}
