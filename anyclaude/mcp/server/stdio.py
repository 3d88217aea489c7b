"""The tools over the protocol: one client at stdin and stdout, as Claude Code starts servers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import mcp_types as types
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server

from anyclaude import __version__
from anyclaude.errors import AnyclaudeError
from anyclaude.mcp.server.source import Source
from anyclaude.mcp.server.tools import OwnTool, checked, own_tools
from anyclaude.types import JsonObject

INSTRUCTIONS = (
    "anyclaude serves a language model on this machine and logs every request. These tools answer"
    " from its log and its state, and can hand work to its model."
)
PROGRESS_S = 5.0
"""Between two signs of life of a call that takes long."""


async def serve_stdio(source: Source) -> None:
    """Answers until stdin ends."""
    server = server_of(source)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def server_of(source: Source) -> Server[dict[str, object]]:
    """The protocol's server, ready to be run over any transport."""
    tools = {tool.name: tool for tool in own_tools(source)}

    async def listed(
        context: ServerRequestContext[dict[str, object]],
        params: types.PaginatedRequestParams | None,
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool) for tool in tools.values()])

    async def called(
        context: ServerRequestContext[dict[str, object]], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            return _result(f"there is no tool {params.name}; there are: {', '.join(tools)}", True)
        arguments = params.arguments or {}
        if wrong := checked(tool, arguments):
            return _result(wrong, True)
        async with _alive(context.session.report_progress, tool.title):
            return await _answered(tool, source, arguments)

    return Server(
        "anyclaude",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=listed,
        on_call_tool=called,
    )


async def _answered(tool: OwnTool, source: Source, arguments: JsonObject) -> types.CallToolResult:
    try:
        return _result(await tool.run(source, arguments))
    except AnyclaudeError as error:
        return _result(str(error), True)


@contextlib.asynccontextmanager
async def _alive(
    report: Callable[[float, float | None, str | None], Awaitable[None]], title: str
) -> AsyncIterator[None]:
    """Tells the client every few seconds that the call goes on."""

    async def tell() -> None:
        seconds = 0.0
        while True:
            await asyncio.sleep(PROGRESS_S)
            seconds += PROGRESS_S
            await report(seconds, None, f"{title} {seconds:.0f} s")

    telling = asyncio.ensure_future(tell())
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


def _described(tool: OwnTool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=dict(tool.schema),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.read_only,
            destructive_hint=False,
            open_world_hint=False,
        ),
    )


def _result(text: str, failed: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=failed)
