"""A runtime with a double for a model, asked by a client and steered through the admin routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx

from anyclaude.cli.client import AdminClient
from anyclaude.config.settings import (
    CacheSettings,
    LogSettings,
    PerformanceSettings,
    PromptSettings,
    ServerSettings,
    Settings,
    ToolSettings,
)
from anyclaude.engine.catalog import Catalog
from anyclaude.errors import Unavailable
from anyclaude.events import Event, SystemEvent
from anyclaude.runtime import Runtime
from tests.doubles.token_model import DoubleLoader, Script

E = TypeVar("E", bound=Event)
SESSION = {"x-claude-code-session-id": "s1"}
SECONDS = 60
TOOLS = ToolSettings()


def body(*turns: str, stream: bool = False, **more: Any) -> dict[str, Any]:
    messages = [
        {"role": "user" if i % 2 == 0 else "assistant", "content": text}
        for i, text in enumerate(turns)
    ]
    return {"model": "m", "max_tokens": 60, "stream": stream, "messages": messages, **more}


@dataclass
class Stage:
    """``heard`` is what a console that is attached was told so far."""

    runtime: Runtime
    loader: DoubleLoader
    http: httpx.AsyncClient
    admin: AdminClient
    heard: list[Event]
    changed: asyncio.Condition

    async def ask(self, asked: dict[str, Any], **headers: str) -> str:
        """The id of the request, once it is answered."""
        answer = await self.http.post("/v1/messages", json=asked, headers={**SESSION, **headers})
        assert answer.status_code == 200, answer.text
        return answer.headers["request-id"]

    async def told(self, kind: type[E], wanted: Callable[[E], bool] = lambda event: True) -> E:
        """The first event of a kind that is wanted, or was already there."""

        def found() -> E | None:
            return next((e for e in self.heard if isinstance(e, kind) and wanted(e)), None)

        async with asyncio.timeout(SECONDS), self.changed:
            await self.changed.wait_for(lambda: found() is not None)
        event = found()
        assert event is not None
        return event

    async def row(self, request_id: str) -> dict[str, Any]:
        result = await self.admin.sql(f"select * from requests where id = '{request_id}'")
        (row,) = result.rows
        return dict(zip(result.columns, row, strict=True))

    async def notes(self, kind: str, count: int) -> list[str]:
        """The first ``count`` messages of a kind that were told."""

        def found() -> list[str]:
            heard = (e for e in self.heard if isinstance(e, SystemEvent) and e.kind == kind)
            return [event.message for event in heard]

        async with asyncio.timeout(SECONDS), self.changed:
            await self.changed.wait_for(lambda: len(found()) >= count)
        return found()


@asynccontextmanager
async def staged(
    folder: Path,
    embedded: Path,
    script: Script = lambda prompt: "Hello",
    *,
    catalog: Catalog | None = None,
    tools: ToolSettings = TOOLS,
    traces: bool = False,
    admin_key: str = "",
    max_running: int = 8,
    prompt: PromptSettings = PromptSettings(),  # noqa: B008 - a frozen value
    cache: CacheSettings = CacheSettings(),  # noqa: B008 - a frozen value
) -> AsyncIterator[Stage]:
    settings = Settings(
        folder,
        folder / "log.duckdb",
        server=ServerSettings(port=0, admin_key=admin_key),
        performance=replace(
            PerformanceSettings(), keepalive_interval=0.05, max_running=max_running
        ),
        prompt=prompt,
        cache=cache,
        tools=tools,
        log=LogSettings(traces=traces),
    )
    loader = DoubleLoader(embedded, script)
    runtime = Runtime(settings, loader=loader, catalog=catalog)
    await runtime.start()
    try:
        await runtime.ready()
        async with (
            httpx.AsyncClient(base_url=runtime.address, timeout=SECONDS, trust_env=False) as http,
            AdminClient.at(runtime.address, admin_key or runtime.admin_token) as admin,
        ):
            stage = Stage(runtime, loader, http, admin, [], asyncio.Condition())
            listening = asyncio.Event()
            reader = asyncio.ensure_future(_listen(stage, listening))
            await listening.wait()
            yield stage
            loader.gate.open.set()
            await runtime.stop()
            await asyncio.wait_for(reader, SECONDS)
    finally:
        loader.gate.open.set()
        await runtime.stop()


async def _listen(stage: Stage, listening: asyncio.Event) -> None:
    """Hears all that the server says until it stops."""
    async with aclosing(stage.admin.events()) as events:
        with suppress(Unavailable):
            async for event in events:
                listening.set()  # The first is the engine's state, said to everyone who comes.
                async with stage.changed:
                    stage.heard.append(event)
                    stage.changed.notify_all()


def said(text: str) -> list[dict[str, Any]]:
    """The events of a stream as they came so far."""
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
