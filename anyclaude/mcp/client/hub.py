"""All MCP servers together: what the model is offered, and what becomes of its calls."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Literal

from anyclaude.config.settings import McpSettings
from anyclaude.control import McpServerInfo
from anyclaude.errors import UsageError
from anyclaude.events import Event, McpCall, SystemEvent
from anyclaude.mcp.client.results import ResultCache
from anyclaude.mcp.client.screening import (
    Screened,
    bounded,
    named_as_data,
    screen,
)
from anyclaude.mcp.client.values import Answered, FoundTool, Server, Watcher
from anyclaude.records import McpCallRecord
from anyclaude.server_tools import LOGGED, ServerCall, ServerResult, model_name
from anyclaude.types import ToolDefinition

MAX_CONVERSATIONS = 1_000
STOP_S = 4.5
"""Servers end by themselves when their stdin does; those that don't are killed within this."""
_MOST_TOLD = 1_000  # things that are told once; a server may make up names for ever
_ASIDE = 4_000
"""Longer results are looked through on another thread."""

MakeServer = Callable[[str, McpSettings, Watcher], Server]


class Hub:
    """The servers of a process. Loop thread only.

    What a conversation was offered first it is offered to its end, byte for byte, whatever its
    servers list later: another header would have every prompt read anew.
    """

    def __init__(
        self,
        servers: Mapping[str, McpSettings],
        publish: Callable[[Event], None],
        *,
        make: MakeServer | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = dict(servers)
        self._publish = publish
        self._make = make or _connection
        self._clock = clock
        self._wall = wall
        self._servers: dict[str, Server] = {}
        self._screened: dict[str, Screened] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._offers: OrderedDict[str, tuple[ToolDefinition, ...]] = OrderedDict()
        self._results = ResultCache(clock)
        self._told: set[tuple[str, str, str]] = set()

    # ------------------------------------------------------------------------------ its life

    async def start(self) -> None:
        """Has every server start; none is waited for."""
        if self._make is _connection:
            # The SDK takes half a second to import.
            await asyncio.to_thread(import_module, "anyclaude.mcp.client.connection")
        for name, settings in self._settings.items():
            server = self._make(name, settings, self._watcher(name))
            self._servers[name] = server
            self._tasks.append(asyncio.ensure_future(server.run()))

    async def close(self) -> None:
        for server in self._servers.values():
            server.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def infos(self) -> tuple[McpServerInfo, ...]:
        """How every server is doing."""
        return tuple(self._info(name) for name in self._servers)

    # -------------------------------------------------------------------------------- offers

    async def offer(self, conversation: str, taken: Collection[str]) -> tuple[ToolDefinition, ...]:
        """What a conversation's model is told of beside the client's tools, named ``taken``.

        Waits for servers that are starting; an empty ``conversation`` is nobody's twice.
        """
        offered = self._offers.get(conversation) if conversation else None
        if offered is None:
            await asyncio.gather(*(server.settled() for server in self._servers.values()))
            now = tuple(
                _definition(name, tool)
                for name in sorted(self._servers)
                for tool in self._offered(name)
            )
            # Two requests of a new conversation may have waited here together.
            offered = self._offers.setdefault(conversation, now) if conversation else now
        if conversation:
            self._offers.move_to_end(conversation)
            if len(self._offers) > MAX_CONVERSATIONS:
                self._offers.popitem(last=False)
        return tuple(tool for tool in offered if not self._collides(tool.name, taken))

    def _offered(self, name: str) -> list[FoundTool]:
        screened = self._screened.get(name)
        if screened is None:
            return []
        return [t for t in screened.tools if _matches(t.name, self._settings[name].offer)]

    def _collides(self, name: str, taken: Collection[str]) -> bool:
        if name not in taken:
            return False
        self._tell_once("warning", "", name, f"the client has a tool {name} itself, so ours waits")
        return True

    # --------------------------------------------------------------------------------- calls

    async def call(self, call: ServerCall) -> ServerResult:
        """Runs a call if it may run, and tells of its beginning and its end."""
        record = call.begun()
        began = self._clock()
        self._publish(McpCall(self._wall(), record))
        ended = replace(record, status="cancelled")
        try:
            answered, cached = await self._answer(call)
            settings = self._settings.get(call.server, McpSettings())
            text, suspicious = await _made_fit(answered.text, settings.max_result_chars)
            ended = replace(
                record,
                status=answered.status,
                result=answered.text[:LOGGED],
                chars=len(answered.text),
                cached=cached,
                suspicious=suspicious,
            )
            return ServerResult(text, answered.status != "ok")
        finally:
            ms = (self._clock() - began) * 1000
            self._publish(McpCall(self._wall(), replace(ended, ms=ms)))
            if ended.suspicious:
                self._tell("warning", self._about_result(ended), call.request_id)

    async def _answer(self, call: ServerCall) -> tuple[Answered, bool]:
        server = self._servers.get(call.server)
        if server is None:
            return Answered(f"There is no MCP server {call.server} here.", "error"), False
        settings = self._settings[call.server]
        if refusal := self._refusal(call, settings):
            return Answered(refusal, "refused"), False
        reads = self._reads(call)
        if reads and (text := self._results.get(call.server, call.tool, call.arguments)):
            return Answered(text, "ok"), True
        keep = self._results.keeper(call.server, call.tool, call.arguments, settings.cache_ttl_s)
        answered = await server.call(call.tool, call.arguments)
        if not reads:
            self._results.forget(call.server)
        elif answered.status == "ok":
            keep(answered.text)
        return answered, False

    def _refusal(self, call: ServerCall, settings: McpSettings) -> str:
        if not _matches(call.tool, settings.offer):
            return f"{call.tool} is not offered: mcp.{call.server}.offer doesn't name it."
        if _matches(call.tool, settings.run):
            return ""
        return (
            f"This call was not run: nobody has allowed {call.tool} to run unasked. Tell the user"
            f" that 'run = [\"{call.tool}\"]' under [mcp.{call.server}] in anyclaude.toml, and a"
            " restart of anyclaude, would allow it."
        )

    def _reads(self, call: ServerCall) -> bool:
        tools = self._screened[call.server].tools if call.server in self._screened else ()
        return any(tool.name == call.tool and tool.read_only for tool in tools)

    def _about_result(self, record: McpCallRecord) -> str:
        return (
            f"a result of {record.server}'s {record.tool} holds what reads like instructions:"
            f" {json.dumps(record.suspicious, ensure_ascii=False)}; the model got it marked as data"
        )

    # -------------------------------------------------------------------------------- events

    def _watcher(self, name: str) -> Watcher:
        return Watcher(self._tell, lambda: self._listed(name))

    async def _listed(self, name: str) -> None:
        """A server has listed its tools, for the first time or anew."""
        self._results.forget(name)
        screened = await asyncio.to_thread(screen, self._servers[name].tools)
        self._screened[name] = screened
        for tool, why in screened.refused:
            self._tell_once("warning", name, tool, f"{name}'s tool {tool} is not offered: {why}")

    def _tell_once(self, level: Literal["warning"], server: str, tool: str, message: str) -> None:
        if (server, tool, message) not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add((server, tool, message))
            self._tell(level, message)

    def _tell(
        self, level: Literal["info", "warning"], message: str, request_id: str | None = None
    ) -> None:
        self._publish(SystemEvent(self._wall(), level, "mcp", message, request_id))

    def _info(self, name: str) -> McpServerInfo:
        server, settings = self._servers[name], self._settings[name]
        screened = self._screened.get(name, Screened((), ()))
        offered = tuple(tool.name for tool in self._offered(name))
        return McpServerInfo(
            name,
            "stdio" if settings.command else "http",
            server.state,
            server.detail,
            offered,
            tuple(tool for tool in offered if _matches(tool, settings.run)),
            tuple(f"{tool}: {why}" for tool, why in screened.refused),
        )


async def _made_fit(text: str, limit: int) -> tuple[str, str]:
    """A result as the model gets it, and what in it reads like instructions."""

    def fit() -> tuple[str, str]:
        return named_as_data(bounded(text, limit))

    return await asyncio.to_thread(fit) if len(text) > _ASIDE else fit()


def check_installed() -> None:
    """Raises UsageError unless the SDK is there."""
    from importlib.util import find_spec

    if find_spec("mcp") is None:
        raise UsageError(
            "MCP servers are configured and the package mcp isn't installed;"
            " pip install 'anyclaude[mcp]'"
        )


def _definition(server: str, tool: FoundTool) -> ToolDefinition:
    return ToolDefinition(model_name(server, tool.name), tool.description, tool.schema)


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _connection(name: str, settings: McpSettings, watcher: Watcher) -> Server:
    from anyclaude.mcp.client.connection import Connection

    return Connection(name, settings, watcher)
