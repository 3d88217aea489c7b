"""``anyclaude-tui --web``: the console in a browser on this machine.

One server for all pages: that of the data folder if one runs, else the runtime in this process as
the console has it, only without its screen. Each page is a console attached to it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from anyclaude.cli.serve import leave, narrate, stop_signal
from anyclaude.errors import AnyclaudeError, ConfigError, UsageError
from tui.launch import Launch, LocalLaunch
from tui.source import Source

if TYPE_CHECKING:
    from anyclaude.config.settings import Settings

STOP_WITHIN_S = 7.0


class StartFailed(AnyclaudeError):
    """The server behind the pages didn't start, though everything asked for was right."""


def require_extra() -> None:
    """Raises UsageError without textual-serve."""
    if importlib.util.find_spec("textual_serve") is None:
        raise UsageError(
            "--web needs textual-serve; install it with: pip install 'anyclaude[web]'"
            " (in a clone: uv sync --extra web)"
        )


async def running_server(settings: Settings) -> str | None:
    """The address of the server that runs for the data folder, if one does and answers.

    Raises UsageError when it isn't what the flags ask for.
    """
    from anyclaude.cli.connect import connect
    from anyclaude.cli.env import Target
    from anyclaude.cli.run import same_model
    from anyclaude.config.state import read_state

    client, state = await connect(settings), read_state(settings.data_dir)
    if client is None:
        return None
    async with client:
        engine = (await client.stats()).engine
    same_model(settings, Target(client.address, engine.model, engine.context_limit, True))
    given = click.get_current_context().params
    for name, has in (("host", state and state.host), ("port", state and state.port)):
        if given.get(name) not in (None, 0, has):
            raise UsageError(
                f"--{name} {given[name]}: the server of {settings.data_dir} runs at"
                f" {client.address}; stop it, or leave --{name} out"
            )
    return client.address


async def serve_pages(launch: Launch, options: Sequence[str], data_dir: Path) -> NoReturn:
    """Starts the server, prints the pages' address, and serves them until a signal comes.

    ``options`` are those of each page's console, ``data_dir`` where it finds the state file.
    Raises UsageError, or :class:`StartFailed` with what kept the server from starting.
    """
    await _until_stopped(launch, options, data_dir)
    leave(0)


async def _until_stopped(launch: Launch, options: Sequence[str], data_dir: Path) -> None:
    from tui.web.server import PageServer
    from tui.web.session import attached

    stop = stop_signal(STOP_WITHIN_S, signal.SIGHUP)
    async with AsyncExitStack() as parts:
        parts.push_async_callback(_stopped, launch)
        source = await _started(launch, stop, parts)
        if source is None:
            return
        environment = {"ANYCLAUDE_DATA_DIR": str(data_dir)}
        pages = PageServer(attached(source.address, tuple(options), environment))
        parts.push_async_callback(pages.close)
        await pages.open()
        click.echo(f"anyclaude-tui serves the console at {pages.address}")
        await stop.wait()


async def _started(launch: Launch, stop: asyncio.Event, parts: AsyncExitStack) -> Source | None:
    """What was started, with its events told on stderr; ``None`` if it is to stop already."""
    found: list[Source] = []

    def take(source: Source) -> None:
        found.append(source)
        if not source.attached:
            parts.push_async_callback(_ended, asyncio.create_task(narrate(source.subscribe())))

    starting = asyncio.create_task(launch.start(take))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return None
        await starting
    except Exception as error:
        if isinstance(error, ConfigError | UsageError) and not isinstance(launch, LocalLaunch):
            raise
        raise StartFailed((await launch.explain(error)).problem) from error
    finally:
        await _ended(stopping)
        await _ended(starting)
    return found[0]


async def _ended(task: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def _stopped(launch: Launch) -> None:
    with suppress(TimeoutError):
        await launch.stop()
