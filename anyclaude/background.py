"""What runs beside the requests as long as a process lives: one loop each, ended by cancelling."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from anyclaude.events import (
    Bus,
    EngineState,
    McpCall,
    PromptShaped,
    SearchMade,
    SystemEvent,
    ToolFailed,
)

if TYPE_CHECKING:
    from anyclaude.logs.log import RequestLog
    from anyclaude.steering import Steering
    from anyclaude.steering.backends import Backends

log = logging.getLogger(__name__)

LOGGED = (SystemEvent, ToolFailed, SearchMade, PromptShaped, McpCall)
"""Events that have rows of their own."""
YOUNG_OBJECTS = 20_000
"""How many may come before the collector looks, where no model is held."""
VITALS_SECONDS = 1.0
DISCOVERY_SECONDS = 300.0


async def warm() -> None:
    """Imports on a thread what first requests need and no start should wait for: jsonschema for
    those with tools, aiohttp for pages of a search and for models elsewhere."""
    await asyncio.to_thread(_import_for_requests)


def _import_for_requests() -> None:
    import anyclaude.backends.web
    import anyclaude.tools.bounded  # noqa: F401


async def log_events(bus: Bus, requests: RequestLog) -> None:
    """Posts to the log what isn't part of a request's own row."""
    async for event in bus.subscribe(kinds=LOGGED):
        if isinstance(event, LOGGED):
            requests.post(event)


async def name_model(bus: Bus, write: Callable[[str], None]) -> None:
    """Calls ``write`` with the name of every model that begins to answer."""
    async for event in bus.subscribe(kinds=(EngineState,)):
        if isinstance(event, EngineState) and event.phase == "ready":
            write(event.model)
            gc.freeze()  # What is here now stays; walking it all would halt the loop 60 ms.


async def publish_vitals(bus: Bus, steering: Steering) -> None:
    """Tells once a second how the process is."""
    while True:
        await asyncio.sleep(VITALS_SECONDS)
        bus.publish(steering.measure())


async def discover(backends: Backends, interval: float) -> None:
    """Looks for the models of backends elsewhere, now and as often as their health is checked."""
    while True:
        await backends.discover()
        if interval <= 0:
            return
        await asyncio.sleep(max(interval, DISCOVERY_SECONDS))


def collect_less() -> Callable[[], None]:
    """Has the collector leave alone what is here now, and look less often; gives what undoes that.

    Walking it all took longer than what a request allocates. Without a model nothing large hangs
    in cycles.
    """
    usual = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS)
    gc.freeze()
    return partial(gc.set_threshold, *usual)


async def finish(task: asyncio.Future[None], patience: float) -> None:
    """Lets a task end by itself for ``patience`` seconds, then cancels it."""
    if patience:
        await asyncio.wait({task}, timeout=patience)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, Exception):
        log.error("a background task ended badly", exc_info=result)
