"""``anyclaude mcp``: the running anyclaude as an MCP server, for Claude Code to ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import click

from anyclaude.cli.connect import connect, demand
from anyclaude.cli.options import with_settings
from anyclaude.cli.output import rows_as_csv, table
from anyclaude.config.settings import Settings
from anyclaude.errors import EngineFailed, UsageError
from anyclaude.logs.questions import questions
from anyclaude.mcp.server.source import Ask, LogQuestion, Said
from anyclaude.mcp.server.turns import OWN_SESSION
from anyclaude.records import SqlResult

if TYPE_CHECKING:
    from anyclaude.cli.client import AdminClient
    from anyclaude.control import Control

INSTALL = "pip install 'anyclaude[mcp]'"


@click.group(invoke_without_command=True)
@with_settings
def mcp(settings: Settings) -> None:
    """Serve MCP on stdin and stdout: tools that ask the running anyclaude.

    'claude mcp add anyclaude -- anyclaude mcp' has Claude Code start it. It answers why a request
    was slow, questions of the log, caches, models and running requests, and hands work to the
    local model.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    try:
        from anyclaude.mcp.server.stdio import serve_stdio
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} isn't installed; {INSTALL}") from error
    asyncio.run(serve_stdio(RunningSource(settings)))


@mcp.command()
@with_settings
def servers(settings: Settings) -> None:
    """The MCP servers whose tools run here: state, and which tools are offered and run."""
    infos = demand(settings, lambda client: client.mcp())
    rows = [
        (
            info.name,
            info.transport,
            info.state,
            len(info.offered),
            ", ".join(info.run) or "none",
            "; ".join(filter(None, (info.detail, *info.refused))),
        )
        for info in infos
    ]
    click.echo(table(("server", "by", "state", "offered", "run unasked", "detail"), rows, 200))


class RunningSource:
    """A :class:`anyclaude.mcp.server.source.Source`: the server of a data folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @asynccontextmanager
    async def control(self) -> AsyncIterator[Control]:
        async with self._client() as client:
            yield client

    async def ask(self, ask: Ask) -> Said:
        async with self._client() as client:
            body: dict[str, object] = {
                "model": ask.model or (await client.stats()).engine.model or "local",
                "max_tokens": ask.max_tokens,
                "messages": [{"role": "user", "content": ask.prompt}],
            }
            if ask.system:
                body["system"] = ask.system
            return said_by(await client.message(body, session=OWN_SESSION))

    def questions(self) -> tuple[LogQuestion, ...]:
        return tuple(LogQuestion(q.name, q.title, q.sql) for q in questions())

    def render(self, result: SqlResult) -> str:
        return rows_as_csv(result)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AdminClient]:
        client = await connect(self._settings)
        if client is None:
            raise UsageError(
                f"no anyclaude runs for {self._settings.data_dir}; start 'anyclaude-tui' or"
                " 'anyclaude serve' and ask again"
            )
        async with client:
            yield client


def said_by(message: object) -> Said:
    """The text of a message's body; raises EngineFailed for anything else."""
    try:
        body = cast("Mapping[str, object]", message)
        usage = cast("Mapping[str, int]", body["usage"])
        blocks = cast("list[Mapping[str, str]]", body["content"])
        prompt = (
            usage["input_tokens"]
            + usage["cache_read_input_tokens"]
            + usage["cache_creation_input_tokens"]
        )
        return Said(
            "".join(block["text"] for block in blocks if block["type"] == "text"),
            str(body["model"]),
            prompt,
            usage["output_tokens"],
            body["stop_reason"] == "max_tokens",
        )
    except (KeyError, TypeError) as error:
        raise EngineFailed(f"the local model's answer can't be read ({error})") from error
