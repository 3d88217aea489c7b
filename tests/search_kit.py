"""A whole server whose model is a script and whose searches go to doubles of the providers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from anyclaude.config.settings import (
    BackendSettings,
    CacheSettings,
    RouteSettings,
    SearchSettings,
    ServerSettings,
    Settings,
)
from anyclaude.events import Subscription
from anyclaude.runtime import Runtime
from tests.doubles.search_engines import SearchEngines

T = TypeVar("T")
TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


def side_request(query: str, **tool: Any) -> dict[str, Any]:
    """What Claude Code's WebSearch asks (2.1.330)."""
    return {
        "model": "claude-x",
        "max_tokens": 32_000,
        "stream": True,
        "system": [{"type": "text", "text": "You are an assistant for performing a web search"}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": f"Perform a web search for the query: {query}"}
                ],
            }
        ],
        "tools": [{**TOOL, **tool}],
        "tool_choice": {"type": "auto"},
    }


@dataclass
class Stage:
    runtime: Runtime
    http: httpx.AsyncClient
    engines: SearchEngines

    async def ask(self, body: dict[str, Any], *, session: str = "s1") -> httpx.Response:
        headers = {"x-claude-code-session-id": session} if session else {}
        answer = await self.http.post("/v1/messages", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        found = await self.runtime.control.sql(sql)
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]

    async def searches(self) -> list[dict[str, Any]]:
        return await self.rows("select * from searches")

    async def prompt(self, answer: httpx.Response) -> str:
        """What the model was given for it."""
        return (await self.runtime.control.detail(answer.headers["request-id"])).prompt


def settings_for(folder: Path, search: SearchSettings, **cache: Any) -> Settings:
    folder.mkdir(exist_ok=True)
    script = folder / "script.toml"
    script.write_text('otherwise = "Said."\nanswers = []\n', "utf-8")
    return Settings(
        folder,
        folder / "log.duckdb",
        server=ServerSettings(port=0),
        cache=CacheSettings(**cache),
        backends=(("said", BackendSettings(type="scripted", script=str(script))),),
        routes=(RouteSettings("*", ("said",)),),
        search=search,
    )


async def told(heard: Subscription, kind: type[T]) -> T:
    """The next event of that kind; ``heard`` was there before it came."""
    async for event in heard:
        if isinstance(event, kind):
            return event
    raise AssertionError("the bus ended")


@asynccontextmanager
async def staged(
    folder: Path, engines: SearchEngines, *, cache: dict[str, Any] | None = None, **search: Any
) -> AsyncIterator[Stage]:
    """``search`` are keys of its section; SearXNG alone is asked without any."""
    given = {"providers": ("searxng",), "searxng_url": engines.base_url, **search}
    runtime = Runtime(settings_for(folder, SearchSettings(**given), **(cache or {})))
    await runtime.start()
    try:
        async with httpx.AsyncClient(base_url=runtime.address, timeout=60, trust_env=False) as http:
            yield Stage(runtime, http, engines)
    finally:
        await runtime.stop()
