"""Finds the running server of a data folder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from anyclaude.config.settings import Settings
from anyclaude.config.state import read_state
from anyclaude.errors import UsageError

if TYPE_CHECKING:
    from anyclaude.cli.client import AdminClient

T = TypeVar("T")


async def connect(settings: Settings) -> AdminClient | None:
    """A client of the server that runs and answers, else ``None``; the caller closes it."""
    from anyclaude.cli.client import AdminClient

    state = read_state(settings.data_dir)
    if state is None:
        return None
    client = AdminClient(state)
    if await client.alive():
        return client
    await client.aclose()
    return None


def ask(settings: Settings, question: Callable[[AdminClient], Awaitable[T]]) -> T | None:
    """The server's answer, or ``None`` when no server runs."""

    async def go() -> T | None:
        client = await connect(settings)
        if client is None:
            return None
        async with client:
            return await question(client)

    return asyncio.run(go())


def demand(settings: Settings, question: Callable[[AdminClient], Awaitable[T]]) -> T:
    """The server's answer; raises UsageError when no server runs."""

    async def go() -> T:
        client = await connect(settings)
        if client is None:
            raise UsageError(
                f"no server runs for {settings.data_dir}; start one with 'anyclaude serve' or"
                " 'anyclaude-tui'"
            )
        async with client:
            return await question(client)

    return asyncio.run(go())
