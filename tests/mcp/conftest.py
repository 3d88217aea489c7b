"""The strict MCP server over both transports, and a hub around it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from anyclaude.config.settings import McpSettings
from anyclaude.events import Event, McpCall, SystemEvent
from anyclaude.mcp.client.hub import Hub
from anyclaude.records import McpCallRecord
from anyclaude.server_tools import ServerCall, ServerResult
from tests.doubles import mcp_server

SCRIPT = Path(mcp_server.__file__)


@dataclass
class Seen:
    """The messages that a server got, from its file."""

    path: Path

    def messages(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]

    def named(self, method: str) -> list[dict[str, Any]]:
        return [message for message in self.messages() if message.get("method") == method]


@dataclass
class Heard:
    """What a hub published, with a way to wait for more."""

    events: list[Event] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._more.set()

    @property
    def calls(self) -> list[McpCallRecord]:
        return [e.call for e in self.events if isinstance(e, McpCall) and e.call.status]

    @property
    def warnings(self) -> list[str]:
        return [
            e.message for e in self.events if isinstance(e, SystemEvent) and e.level == "warning"
        ]

    async def until(self, wanted: Callable[[Event], bool]) -> Event:
        """The first event, from the first one on, that is ``wanted``."""
        at = 0
        async with asyncio.timeout(30):
            while True:
                for event in self.events[at:]:
                    if wanted(event):
                        return event
                at = len(self.events)
                self._more.clear()
                await self._more.wait()


@dataclass
class Scene:
    """A hub with one server called ``files``."""

    hub: Hub
    heard: Heard
    seen: Seen

    async def call(self, tool: str, /, **arguments: object) -> ServerResult:
        number = len(self.heard.events)
        return await self.hub.call(
            ServerCall("req_1", f"toolu_{number}", "files", tool, dict(arguments), 1)  # type: ignore[arg-type]
        )


def stdio_settings(seen: Path, **more: Any) -> McpSettings:
    """The strict server as a program; ``MCP_`` variables of the test are passed on."""
    passed = {k: v for k, v in os.environ.items() if k.startswith("MCP_")}
    env = {**passed, "MCP_SEEN": str(seen)}
    return McpSettings(
        command=sys.executable,
        args=(str(SCRIPT), "stdio"),
        env=tuple(env.items()),
        **{"run": ("*",), **more},
    )


@asynccontextmanager
async def hub_of(settings: McpSettings, seen: Path) -> AsyncIterator[Scene]:
    heard = Heard()
    hub = Hub({"files": settings}, heard)
    await hub.start()
    try:
        yield Scene(hub, heard, Seen(seen))
    finally:
        await hub.close()


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    return tmp_path / "seen.jsonl"


@pytest.fixture
def http(seen: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """The strict server on a port of its own."""
    monkeypatch.setenv("MCP_SEEN", str(seen))
    server = mcp_server.http_server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def http_settings(server: ThreadingHTTPServer, **more: Any) -> McpSettings:
    url = f"http://127.0.0.1:{server.server_port}/mcp"
    return McpSettings(url=url, **{"run": ("*",), **more})


@pytest.fixture(params=["stdio", "http"])
async def scene(request: pytest.FixtureRequest, seen: Path, tmp_path: Path) -> AsyncIterator[Scene]:
    """Over one transport and then over the other."""
    if request.param == "stdio":
        settings = stdio_settings(seen)
    else:
        settings = http_settings(request.getfixturevalue("http"))
    async with hub_of(settings, seen) as scene:
        yield scene


@pytest.fixture
async def stdio(seen: Path) -> AsyncIterator[Scene]:
    async with hub_of(stdio_settings(seen), seen) as scene:
        yield scene
