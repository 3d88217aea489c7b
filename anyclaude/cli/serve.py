"""``anyclaude serve``: the runtime without the console."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

import click

from anyclaude.cli.options import with_server_options, with_settings
from anyclaude.cli.progress import Reporter
from anyclaude.config.settings import Settings
from anyclaude.errors import AnyclaudeError, ConfigError, UsageError
from anyclaude.events import EngineState, Subscription

if TYPE_CHECKING:
    from anyclaude.runtime import Runtime

STOP_WITHIN_S = 2.9
_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


@click.command()
@with_settings
@with_server_options
def serve(settings: Settings) -> None:
    """Serve the Messages API without the console.

    Prints 'anyclaude ready URL model=NAME' when the model answers. Ctrl-C or SIGTERM stops it.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("anyclaude").setLevel(_LEVELS[settings.log.level])
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from anyclaude.runtime import Runtime

    runtime = Runtime(settings)
    stop = asyncio.Event()
    last_resort = threading.Timer(STOP_WITHIN_S, os._exit, (0,))
    last_resort.daemon = True

    def asked_to_stop() -> None:
        if not stop.is_set():
            last_resort.start()
            stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop)
    try:
        await _until_stopped(runtime, stop)
    finally:
        await runtime.stop()
    leave(0)


def leave(code: int) -> NoReturn:
    """Ends the process at once, after everything of ours was closed.

    The usual way would wait for a model load on another thread, and MLX's static destructors
    now and then abort it (``terminate called without an active exception``).
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _until_stopped(runtime: Runtime, stop: asyncio.Event) -> None:
    states = runtime.bus.subscribe()
    try:
        await runtime.start()
    except (ConfigError, UsageError) as error:
        # The settings were valid: a busy port or a locked file is a failure, not a misuse.
        raise AnyclaudeError(error.message) from error
    progress = asyncio.create_task(_show(states))
    stopped = asyncio.create_task(stop.wait())
    ready = asyncio.create_task(runtime.ready())
    try:
        await asyncio.wait({ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
        states.close()
        await progress
        if not stop.is_set():
            ready.result()
            model = (await runtime.control.stats()).engine.model
            click.echo(f"anyclaude ready {runtime.address} model={model}")
            await stopped
    finally:
        for task in (progress, stopped, ready):
            task.cancel()
        await asyncio.gather(progress, stopped, ready, return_exceptions=True)


async def _show(states: Subscription) -> None:
    """Reports every load until the subscription closes."""
    reporter: Reporter | None = None
    try:
        async for event in states:
            if isinstance(event, EngineState) and event.phase == "loading":
                reporter = reporter or Reporter(f"loading {event.model}")
                reporter.update(event.progress, event.detail)
    finally:
        if reporter is not None:
            reporter.close()
