"""What the tests of backends share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil

from anyclaude.backend import RelayRequest
from anyclaude.backends.http import Timeouts

QUICK = Timeouts(connect=5.0, headers=5.0, idle=5.0)
"""For tests in which no time is to run out."""

BODY = b'{"model":"claude-opus-5","max_tokens":8,"messages":[{"role":"user","content":"hi"}]}'
HEADERS = (
    ("Content-Type", "application/json"),
    ("Anthropic-Version", "2023-06-01"),
    ("X-Api-Key", "sk-ant-of-the-double"),
)


def asked(
    body: bytes = BODY,
    headers: tuple[tuple[str, str], ...] = HEADERS,
    *,
    path: str = "/v1/messages",
    query: str = "",
    model: str = "",
) -> RelayRequest:
    return RelayRequest("req", path, query, headers, body, model)


@asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """Neither tasks nor descriptors are left of what happens inside."""
    await asyncio.sleep(0)
    tasks, descriptors = asyncio.all_tasks(), _descriptors()
    yield
    for _ in range(200):
        if asyncio.all_tasks() <= tasks and _descriptors() <= descriptors:
            break
        await asyncio.sleep(0)
    assert asyncio.all_tasks() <= tasks
    assert _descriptors() <= descriptors


def _descriptors() -> int:
    return int(psutil.Process().num_fds())
