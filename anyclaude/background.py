"""What runs beside the requests as long as a process lives: one loop each, ended by cancelling."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
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
    from anyclaude.metrics.meter import Meter
    from anyclaude.steering import Steering
    from anyclaude.steering.backends import Backends

log = logging.getLogger(__name__)

VITALS_SECONDS = 1.0
DISCOVERY_SECONDS = 300.0


async def log_events(bus: Bus, requests: RequestLog) -> None:
    """Posts to the log what isn't part of a request's own row."""
    async for event in bus.subscribe():
        if isinstance(event, SystemEvent | ToolFailed | SearchMade | PromptShaped | McpCall):
            requests.post(event)


async def name_model(bus: Bus, write: Callable[[str], None]) -> None:
    """Calls ``write`` with the name of every model that begins to answer."""
    async for event in bus.subscribe():
        if isinstance(event, EngineState) and event.phase == "ready":
            write(event.model)
            gc.freeze()  # What is here now stays; walking it all would halt the loop 60 ms.


async def meter_events(bus: Bus, meter: Meter) -> None:
    """Counts what happens."""
    async for event in bus.subscribe():
        meter.observe(event)


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


async def finish(task: asyncio.Future[None], patience: float) -> None:
    """Lets a task end by itself for ``patience`` seconds, then cancels it."""
    if patience:
        await asyncio.wait({task}, timeout=patience)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, Exception):
        log.error("a background task ended badly", exc_info=result)
