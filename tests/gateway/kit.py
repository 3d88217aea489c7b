"""A whole server in front of doubles: real sockets on both of its sides, and its log."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from anyclaude.config.settings import (
    BackendSettings,
    CacheSettings,
    ResilienceSettings,
    RouteSettings,
    ServerSettings,
    Settings,
)
from anyclaude.control import BackendInfo
from anyclaude.engine.worker import ModelLoader
from anyclaude.runtime import Runtime
from tests.doubles.anthropic_upstream import KEY

BODY: dict[str, Any] = {
    "model": "claude-opus-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}
BASH = {
    "name": "Bash",
    "description": "Runs a command",
    "input_schema": {
        "type": "object",
        "properties": {"command": {"type": "string"}, "timeout": {"type": "number"}},
        "required": ["command"],
    },
}
HEADERS = {
    "x-api-key": KEY,
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
}
CALM = ResilienceSettings(
    retries=0, backoff_s=0.0, breaker_failures=0, breaker_ratio=0.0, health_interval_s=0.0
)
"""Each request is tried once, and nothing happens that no request asked for."""
SECONDS = 20
"""For what comes at once, on a machine however busy."""


def anthropic(url: str, **settings: Any) -> BackendSettings:
    return BackendSettings("anthropic", base_url=url, **settings)


def openai(url: str, **settings: Any) -> BackendSettings:
    return BackendSettings("openai", **{"profile": "generic", **settings, "base_url": url})


@dataclass(slots=True)
class Answered:
    """An answer as it came: every byte of its body, or what there was before it broke off."""

    status: int
    headers: httpx.Headers
    body: bytes = b""
    broken: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        return events_of(self.body)

    @property
    def kinds(self) -> list[str]:
        """Types of the events, pings left out."""
        return [kind for event in self.events if (kind := event["type"]) != "ping"]

    @property
    def text(self) -> str:
        deltas = [e["delta"] for e in self.events if e["type"] == "content_block_delta"]
        return "".join(delta.get("text", "") for delta in deltas)


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, read as the client does: each whole, with a name of its own."""
    assert body.endswith(b"\n\n")
    found = []
    for block in body.decode().removesuffix("\n\n").split("\n\n"):
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if not lines:
            continue
        name, data = lines
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


@dataclass(slots=True)
class Gate:
    """A running server and a client of it."""

    runtime: Runtime
    http: httpx.AsyncClient
    asked: int = 0

    async def ask(
        self,
        body: Mapping[str, Any] | None = None,
        *,
        path: str = "/v1/messages",
        headers: Mapping[str, str] = {},
        **fields: Any,
    ) -> Answered:
        """Asks, and reads the answer to its end; ``fields`` change the body."""
        self.asked += 1
        content = json.dumps({**(BODY if body is None else body), **fields}).encode()
        sent = self.http.stream("POST", path, content=content, headers={**HEADERS, **headers})
        async with asyncio.timeout(SECONDS), sent as response:
            answered = Answered(response.status_code, response.headers)
            try:
                async for piece in response.aiter_raw():
                    answered.body += piece
            except httpx.RemoteProtocolError:
                answered.broken = True
        return answered

    async def stream(self, body: Mapping[str, Any] | None = None, **more: Any) -> Answered:
        return await self.ask(body, stream=True, **more)

    async def rows(self, columns: str) -> list[tuple[Any, ...]]:
        """Of every request, once all of them have theirs: nobody waits for a relayed one's."""
        sql = f"SELECT {columns} FROM requests ORDER BY started_at, id"
        async with asyncio.timeout(SECONDS):
            for _ in itertools.count():
                found = (await self.runtime.control.sql(sql)).rows
                if len(found) >= self.asked:
                    break
        return list(found)

    async def row(self, columns: str) -> tuple[Any, ...]:
        """The newest."""
        return (await self.rows(columns))[-1]

    async def backend(self, name: str) -> BackendInfo:
        admin = {"authorization": f"Bearer {self.runtime.admin_token}"}
        listed = (await self.http.get("/anyclaude/backends", headers=admin)).json()
        (found,) = [one for one in listed if one["name"] == name]
        return BackendInfo(**found)

    async def reset(self, name: str) -> httpx.Response:
        admin = {"authorization": f"Bearer {self.runtime.admin_token}"}
        return await self.http.post(f"/anyclaude/backends/{name}/reset", headers=admin)


@asynccontextmanager
async def gate(
    tmp_path: Path,
    backends: Mapping[str, BackendSettings],
    *routes: RouteSettings,
    resilience: ResilienceSettings = CALM,
    loader: ModelLoader | None = None,
    **more: Any,
) -> AsyncIterator[Gate]:
    """``routes`` are one to the first of ``backends`` if none are given; answers aren't cached."""
    settings = Settings(
        tmp_path,
        tmp_path / "log.duckdb",
        server=ServerSettings(port=0),
        backends=tuple(backends.items()),
        routes=routes or (RouteSettings("*", (next(iter(backends)),)),),
        resilience=resilience,
        **{"cache": CacheSettings(l2=False), **more},
    )
    runtime = Runtime(settings, loader=loader)
    await runtime.start()
    limits = httpx.Limits(max_keepalive_connections=0)
    try:
        await asyncio.wait_for(runtime.ready(), SECONDS)
        async with httpx.AsyncClient(
            base_url=runtime.address, trust_env=False, timeout=SECONDS, limits=limits
        ) as http:
            yield Gate(runtime, http)
    finally:
        await runtime.stop()


@dataclass(slots=True)
class Census:
    """What the process held at a moment, to be found again."""

    tasks: int
    descriptors: int

    @classmethod
    def now(cls) -> Census:
        return cls(len(asyncio.all_tasks()), int(psutil.Process().num_fds()))

    async def again(self) -> None:
        """Returns once there are no more tasks and descriptors than then."""
        await until(lambda: self.holds)

    @property
    def holds(self) -> bool:
        now = Census.now()
        return now.tasks <= self.tasks and now.descriptors <= self.descriptors


async def until(holds: Callable[[], bool]) -> None:
    """Lets everything else run until it holds; for what has no event of its own."""
    async with asyncio.timeout(SECONDS):
        for _ in itertools.count():
            if holds():
                return
            await asyncio.sleep(0)


def sequence(kinds: Sequence[str]) -> list[str]:
    """Runs of one kind as one."""
    return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]
