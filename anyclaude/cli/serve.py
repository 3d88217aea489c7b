"""``anyclaude serve``: the runtime without the console."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import click

from anyclaude import eventloop
from anyclaude.cli.options import with_server_options, with_settings
from anyclaude.cli.progress import Reporter
from anyclaude.config.diagnostics import set_level
from anyclaude.config.settings import Settings
from anyclaude.errors import AnyclaudeError, ConfigError, Unavailable, UsageError
from anyclaude.events import EngineState, RequestFinished, Subscription, SystemEvent

if TYPE_CHECKING:
    from anyclaude.runtime import Runtime

STOP_WITHIN_S = 2.9
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

log = logging.getLogger(__name__)


@click.command()
@with_settings
@with_server_options
def serve(settings: Settings) -> None:
    """Serve the Messages API without the console.

    Prints 'anyclaude ready URL model=NAME' when the model answers. Ctrl-C or SIGTERM stops it.
    """
    log_to_stderr(settings.log.level)
    eventloop.run(_serve(settings))


def log_to_stderr(level: int) -> None:
    """What a program without a screen says while it runs, as far as ``log.level`` has it."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    set_level(level)


async def _serve(settings: Settings) -> None:
    from anyclaude.runtime import Runtime

    runtime = Runtime(settings)
    stop = stop_signal(STOP_WITHIN_S)
    try:
        await _until_stopped(runtime, stop)
    finally:
        await runtime.stop()
    leave(0)


def stop_signal(within: float, *more: signal.Signals) -> asyncio.Event:
    """Set by SIGINT, SIGTERM or one of ``more``; the process then has ``within`` seconds left."""
    stop = asyncio.Event()
    last_resort = threading.Timer(within, os._exit, (0,))
    last_resort.daemon = True

    def asked_to_stop() -> None:
        if not stop.is_set():
            last_resort.start()
            stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, *more):
        loop.add_signal_handler(number, asked_to_stop)
    return stop


def leave(code: int) -> NoReturn:
    """Ends the process at once, after everything of ours was closed.

    The usual way would wait for a model load on another thread, and MLX's static destructors
    now and then abort it (``terminate called without an active exception``).
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # A terminal that is gone keeps nobody here.
            stream.flush()
    os._exit(code)


async def _until_stopped(runtime: Runtime, stop: asyncio.Event) -> None:
    states = runtime.bus.subscribe(kinds=(EngineState,))
    try:
        await runtime.start()
    except (ConfigError, UsageError) as error:
        # The settings were valid: a busy port or a locked file is a failure, not a misuse.
        raise AnyclaudeError(error.message) from error
    progress = asyncio.create_task(_show(states))
    heard = () if log.isEnabledFor(logging.DEBUG) else (SystemEvent, RequestFinished)
    narrator = asyncio.create_task(narrate(runtime.bus.subscribe(kinds=heard)))
    stopped = asyncio.create_task(stop.wait())
    ready = asyncio.create_task(runtime.ready())
    try:
        await asyncio.wait({ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
        states.close()
        await progress
        if not stop.is_set():
            await _announce(runtime, ready)
            await stopped
    finally:
        tasks = (progress, narrator, stopped, ready)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _announce(runtime: Runtime, ready: asyncio.Task[None]) -> None:
    """The ready line, or why there will be none; raises what made the load fail."""
    try:
        ready.result()
    except Unavailable as error:
        click.echo(f"anyclaude: {runtime.address} is up, but {error.message}", err=True)
        return
    model = (await runtime.control.stats()).engine.model
    click.echo(f"anyclaude ready {runtime.address} model={model}")


async def narrate(events: Subscription) -> None:
    """Logs what happens; ``log.level`` decides what of it is printed."""
    async for event in events:
        match event:
            case SystemEvent():
                log.log(_LEVELS[event.level], "%s: %s", event.kind, event.message)
            case RequestFinished(record=row):
                log.info(
                    "%s %s %d: %d tokens in, %d read, %d out, %.0f ms",
                    row.id, row.role, row.status, row.input_tokens + row.cache_creation_tokens,
                    row.cache_read_tokens, row.output_tokens, row.duration_ms,
                )  # fmt: skip
            case _ if not event.droppable:
                log.debug("%s", event)


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
