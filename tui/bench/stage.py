"""The console on a server that is not there, kept busy: what :mod:`tui.bench` measures.

``python -m tui.bench.stage PHASE SECONDS FILE`` needs a terminal and writes what it found to
FILE as JSON: for ``append`` the CPU milliseconds of each tick with its paint, for ``memory`` the
resident bytes at the end of each minute. ``keys`` goes on until it is stopped.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import cast

import psutil

from anyclaude.config.settings import UiSettings
from anyclaude.control import Control
from anyclaude.errors import Unavailable
from anyclaude.events import Bus, EngineState, Event, Subscription
from anyclaude.records import RequestDetail, SqlResult
from tui.app import Console
from tui.bench.traffic import MODEL, RATE, logged, traffic
from tui.desk import TICK_S, Surroundings
from tui.launch import Failure, explain
from tui.misses import HEADS_SQL
from tui.source import Source
from tui.themes import load_themes, theme_folder

LOGGED = 10_000
WARM_TICKS = 20
_MINUTE = 60


class _Control:
    """Answers what the console asks by itself; nobody steers here."""

    async def detail(self, request_id: str) -> RequestDetail:
        text = "A line of the prompt, of the length that such lines have.\n" * 400
        return RequestDetail(request_id, prompt=text, body=json.dumps({"system": text}))

    async def sql(self, query: str, limit: int = 10_000) -> SqlResult:
        names = HEADS_SQL.removeprefix("SELECT ").partition(" FROM")[0].split(", ")
        return SqlResult(tuple(names), ())

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        async def refuse(*_: object, **__: object) -> None:
            raise Unavailable(f"the benchmark has no {name}")

        return refuse


class _Server:
    """Source and launch at once, with the events it is given; ``play`` runs when it is up."""

    address = "http://127.0.0.1:8082"
    env_lines = ('eval "$(anyclaude env)"', "claude")
    attached = False

    def __init__(self) -> None:
        self.bus = Bus()
        self.control = cast(Control, _Control())
        self.play: Callable[[], object] = lambda: None

    @property
    def engine_state(self) -> EngineState:
        return EngineState("ready", MODEL, 1.0, "", 262_144)

    def subscribe(self) -> Subscription:
        return self.bus.subscribe()

    async def advice(self, model: str) -> tuple[str, ...]:
        return ()

    async def close(self) -> None:
        """Nothing was opened."""

    async def start(self, found: Callable[[Source], None]) -> None:
        found(self)
        self.play()

    async def explain(self, error: Exception) -> Failure:
        return Failure(explain(error))

    async def stop(self) -> None:
        """Nothing was started."""


class Stage:
    """A console, its events, and a clock that goes on with them."""

    def __init__(self, tick_s: float | None) -> None:
        self.at = time.time()
        self.server = _Server()
        self.app = Console(
            self.server,
            UiSettings(),
            load_themes([theme_folder()]),
            Surroundings(now=lambda: self.at, tick_s=tick_s),
        )
        self.events: Iterator[Event] = traffic(self.at)

    def send(self, count: int) -> None:
        """The next ``count`` events, the clock going on as they come."""
        for event in islice(self.events, count):
            self.server.bus.publish(event)
        self.at += count / RATE

    async def until_up(self) -> None:
        """Returns with the logged requests in the list."""
        for event in logged(LOGGED, self.at):
            self.server.bus.publish(event)
        self.app.tick()
        await self.painted()

    async def painted(self) -> None:
        """Returns when everything asked for so far is on the screen."""
        seen = asyncio.Event()
        self.app.screen.call_after_refresh(seen.set)
        await seen.wait()


async def append(stage: Stage, seconds: int) -> list[float]:
    """The CPU milliseconds of each tick that takes in what came, and of painting it."""
    per_tick = round(RATE * TICK_S)
    found: list[float] = []
    for tick in range(WARM_TICKS + round(seconds / TICK_S)):
        before = time.process_time()
        stage.send(per_tick)
        stage.app.tick()
        await stage.painted()
        if tick >= WARM_TICKS:
            found.append((time.process_time() - before) * 1000)
    return found


async def memory(stage: Stage, seconds: int) -> list[float]:
    """The resident bytes after each minute; a second of traffic is painted at a time."""
    process = psutil.Process()
    found: list[float] = []
    for second in range(seconds):
        stage.send(RATE)
        stage.app.tick()
        await stage.painted()
        if second % _MINUTE == _MINUTE - 1:
            found.append(process.memory_info().rss)
    return found


async def keys(stage: Stage, seconds: int) -> list[float]:
    """Traffic as it would come, for a person to press keys in."""
    for _ in range(round(seconds * RATE)):
        stage.send(1)
        await asyncio.sleep(1 / RATE)
    return []


_PHASES: dict[str, tuple[Callable[[Stage, int], Awaitable[list[float]]], float | None]] = {
    "append": (append, None),
    "memory": (memory, None),
    "keys": (keys, TICK_S),
}


async def _run(phase: str, seconds: int, file: Path) -> None:
    work, tick_s = _PHASES[phase]
    stage = Stage(tick_s)

    async def play() -> None:
        await stage.until_up()
        file.write_text("[]")
        file.write_text(json.dumps(await work(stage, seconds)))
        stage.app.exit()

    # A worker of the app's own, so that it ends with the app and its errors end the app.
    stage.server.play = lambda: stage.app.run_worker(play())
    await stage.app.run_async()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
