"""One MCP server, kept running and reached again when it goes away; the SDK is used here alone."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, TextIO

import anyio
import httpx2
import mcp_types as types
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from anyclaude.config.settings import McpSettings
from anyclaude.mcp.client.screening import printable
from anyclaude.mcp.client.values import Answered, ConnectionState, FoundTool, Sleep, Watcher
from anyclaude.types import JsonObject

BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Waits between starts that fail one after the other; the last one goes on."""
RELIST_S = 0.5
"""After a changed list, however often it changes."""
MAX_PAGES = 20  # of a list of tools
_STDERR_LINES = 20
_GONE = "Session terminated"
"""The SDK's word for an HTTP server that doesn't know its session any more."""


class Connection:
    """See :class:`anyclaude.mcp.client.values.Server`."""

    def __init__(
        self, name: str, settings: McpSettings, watcher: Watcher, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.name = name
        self.state: ConnectionState = "starting"
        self.detail = ""
        self.tools: tuple[FoundTool, ...] = ()
        self._settings = settings
        self._watcher = watcher
        self._sleep = sleep
        self._client: Client | None = None
        self._settled = asyncio.Event()
        self._wake = asyncio.Event()
        self._lost = False
        self._stale = False
        self._garbled = False
        self._stopped = asyncio.Event()
        self._legacy = False
        self._said: deque[str] = deque(maxlen=_STDERR_LINES)

    # ------------------------------------------------------------------------------ its life

    async def run(self) -> None:
        # It writes tracebacks for what servers do wrong; we say it in an event.
        logging.getLogger("mcp.client").setLevel(logging.CRITICAL)
        failures = 0
        while not self._stopped.is_set():
            worked, why = await self._live()
            self._client = None
            if self._stopped.is_set():
                break
            failures = 0 if worked else failures + 1
            self._fail(why, started=worked)
            await self._rest(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
        self.state = "stopped"
        self._settled.set()

    def stop(self) -> None:
        self._stopped.set()
        self._wake.set()

    async def settled(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.start_timeout_s):
                await self._settled.wait()

    async def _live(self) -> tuple[bool, str]:
        """One start, and all its time until it goes away: whether it worked, and why it ended."""
        self._lost = self._stale = False
        self._wake.clear()
        self._said.clear()
        self.state = "starting"
        ready = False
        starting = anyio.CancelScope(deadline=anyio.current_time() + self._settings.start_timeout_s)
        try:
            with starting:
                mode = "legacy" if self._legacy else "auto"
                transport = self._transport()
                async with Client(
                    transport, mode=mode, cache=None, message_handler=self._heard
                ) as client:
                    await self._list(client)
                    await self._watcher.changed()
                    starting.deadline = math.inf
                    self._client, ready = client, True
                    self._ready(client)
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._listen, client)
                        await self._serve(client)
                        group.cancel_scope.cancel()
        except Exception as error:  # Whatever a program of somebody else's makes the SDK raise.
            return ready, _why(error)
        if starting.cancelled_caught:
            self._legacy = not self._legacy  # An old server may not answer the new first word.
            return False, f"it didn't start within {self._settings.start_timeout_s:g} s"
        return ready, "it went away"

    async def _serve(self, client: Client) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._lost or self._stopped.is_set():
                return
            if self._stale:
                self._stale = False
                with anyio.fail_after(self._settings.start_timeout_s):
                    await self._list(client)
                await self._watcher.changed()
                self._watcher.report("info", f"{self.name} has {len(self.tools)} tools now")
                await self._sleep(RELIST_S)

    async def _list(self, client: Client) -> None:
        found: list[FoundTool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            found += [_found(tool) for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                break
        self.tools = tuple(found)

    async def _listen(self, client: Client) -> None:
        """Hears of changed lists from servers of the protocol that sends them only on request."""
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        with suppress(MCPError, TimeoutError, RuntimeError):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._mark_stale()

    async def _heard(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._mark_stale()
        elif isinstance(message, Exception) and not self._garbled:
            self._garbled = True
            told = f"{self.name} writes what is no message, which is left out: {_why(message)}"
            self._watcher.report("warning", told)

    def _mark_stale(self) -> None:
        self._stale = True
        self._wake.set()

    def _mark_lost(self) -> None:
        if self._client is not None:
            self._client = None
            self._settled.clear()  # Whoever calls now waits for the next start.
        self._lost = True
        self._wake.set()

    def _ready(self, client: Client) -> None:
        info = client.server_info
        self.state = "ready"
        self.detail = printable(f"{info.name} {info.version}".strip()) if info else ""
        self._settled.set()
        count = len(self.tools)
        self._watcher.report("info", f"{self.name} is ready: {count} tools")

    def _fail(self, why: str, *, started: bool) -> None:
        self.state = "failed"
        said = f"; it said: {printable(self._said[-1], 200)}" if self._said else ""
        self.detail = f"{why}{said}"
        if started:
            self._settled.clear()  # The next start is waited for, as the first one was.
        else:
            self._settled.set()
        what = "was lost" if started else "can't be used"
        self._watcher.report("warning", f"{self.name} {what}: {self.detail}")

    async def _rest(self, seconds: float) -> None:
        """Waits for the next start, or the end."""
        resting = asyncio.ensure_future(self._sleep(seconds))
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({resting, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (resting, waking):
                each.cancel()
            await asyncio.gather(resting, waking, return_exceptions=True)

    # -------------------------------------------------------------------------------- calls

    async def call(self, tool: str, arguments: JsonObject) -> Answered:
        client = self._client
        if client is None:
            await self.settled()
            client = self._client
        if client is None:
            return Answered(f"The MCP server {self.name} isn't there: {self.detail}", "lost")
        limit = self._settings.call_timeout_s
        try:
            async with asyncio.timeout(limit):
                result = await client.call_tool(tool, dict(arguments))
        except TimeoutError:
            return Answered(
                f"{tool} gave no answer within {limit:g} s and was cancelled.", "timeout"
            )
        except MCPError as error:
            return self._failed(tool, error)
        except Exception as error:  # The SDK raises what a malformed answer makes of its parsers.
            return Answered(f"The answer of {tool} can't be read: {_why(error)}", "error")
        return Answered(text_of(result), "error" if result.is_error else "ok")

    def _failed(self, tool: str, error: MCPError) -> Answered:
        if error.code == types.CONNECTION_CLOSED or error.message == _GONE:
            self._mark_lost()
            return Answered(
                f"The MCP server {self.name} went away while {tool} ran; it is being started"
                " again. Nobody knows whether the call had an effect.",
                "lost",
            )
        return Answered(f"{tool} failed: {error.message}", "error")

    # ---------------------------------------------------------------------------- transports

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[tuple[_Watched, Any]]:
        opened = self._stdio() if self._settings.command else self._http()
        async with opened as (incoming, outgoing):
            yield _Watched(incoming, self._mark_lost), outgoing

    @asynccontextmanager
    async def _stdio(self) -> AsyncIterator[Any]:
        settings = self._settings
        parameters = StdioServerParameters(
            command=settings.command, args=list(settings.args), env=dict(settings.env)
        )
        async with (
            _lines_of(self._said.append) as errors,
            stdio_client(parameters, errlog=errors) as streams,
        ):
            yield streams

    @asynccontextmanager
    async def _http(self) -> AsyncIterator[Any]:
        settings = self._settings
        timeout = httpx2.Timeout(settings.start_timeout_s, read=None)
        async with (
            httpx2.AsyncClient(headers=dict(settings.headers), timeout=timeout) as client,
            streamable_http_client(settings.url, http_client=client) as streams,
        ):
            yield streams


class _Watched:
    """A transport's incoming stream, whose end somebody is told of at once."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended = ended

    @property
    def last_context(self) -> object:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        try:
            message: SessionMessage | Exception = await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._ended()
            raise
        return message

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> _Watched:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        result: bool | None = await self._stream.__aexit__(kind, error, trace)
        return result


def text_of(result: types.CallToolResult) -> str:
    """A result as text; what isn't text is named."""
    parts = [_part(block) for block in result.content]
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    return "\n".join(parts)


def _part(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
            return f"[{resource.uri}]\n{resource.text}"
        case types.EmbeddedResource():
            return f"[{block.resource.uri}: not text, left out]"
        case types.ResourceLink():
            return f"[{block.name}: {block.uri}]"
        case types.ImageContent() | types.AudioContent():
            return f"[{block.mime_type}, left out: the model reads text only]"


def _found(tool: types.Tool) -> FoundTool:
    hints = tool.annotations
    description = tool.description or tool.title or ""
    return FoundTool(
        tool.name, description, tool.input_schema, bool(hints and hints.read_only_hint)
    )


def _why(error: BaseException) -> str:
    """An error in words; of a group of them the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error) or type(error).__name__
    return printable(" ".join(text.split()), 200)


@asynccontextmanager
async def _lines_of(take: Callable[[str], None]) -> AsyncIterator[TextIO]:
    """A file for a program to write to, whose lines are taken as they come."""
    incoming, outgoing = os.pipe()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    source = os.fdopen(incoming, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), source
    )

    async def read() -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # longer than the reader's limit, which it has thrown away
                continue
            if not line:
                return
            take(line.decode("utf-8", "replace").rstrip())

    reading = asyncio.ensure_future(read())
    try:
        with os.fdopen(outgoing, "w", encoding="utf-8") as file:
            yield file
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await asyncio.shield(reading)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        transport.close()
