"""Where the console's facts come from: the runtime in this process, or a server elsewhere."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

from anyclaude.control import Control
from anyclaude.events import Bus, EngineState, Event, Subscription, SystemEvent
from tui.format import size

_RECONNECT_S = 1.0


class Source(Protocol):
    """A running anyclaude as the console sees it."""

    @property
    def control(self) -> Control:
        """Steering and asking."""
        ...

    @property
    def address(self) -> str:
        """Where clients reach it, ``http://127.0.0.1:8082``; empty until it listens."""
        ...

    @property
    def env_lines(self) -> tuple[str, ...]:
        """What a person pastes into another terminal to use it."""
        ...

    @property
    def engine_state(self) -> EngineState:
        """The last known state of the engine."""
        ...

    @property
    def attached(self) -> bool:
        """True when it was running before this console and goes on after it."""
        ...

    def subscribe(self) -> Subscription: ...

    async def advice(self, model: str) -> tuple[str, ...]:
        """Better models for this machine than ``model``, a line each; often none."""
        ...

    async def close(self) -> None: ...


class LocalRuntime(Protocol):
    """The part of the runtime that the console uses."""

    bus: Bus

    @property
    def control(self) -> Control: ...

    @property
    def address(self) -> str: ...


class RemoteClient(Control, Protocol):
    """The admin client: steering over HTTP, and the server's events."""

    def events(self) -> AsyncIterator[Event]: ...

    async def aclose(self) -> None: ...


def paste_lines() -> tuple[str, ...]:
    """The two lines, with the full path of a command that is not on the PATH."""
    command = "anyclaude"
    if shutil.which(command) is None:
        beside = Path(sys.executable).with_name(command)
        if beside.exists():
            command = shlex.quote(str(beside))
    return f'eval "$({command} env)"', "claude"


def advice_lines(model: str) -> tuple[str, ...]:
    """What to load instead of the embedded model, if this machine can run it."""
    from anyclaude.config.advice import EMBEDDED_MODEL, recommend, this_machine

    if model != EMBEDDED_MODEL:
        return ()
    found = recommend(this_machine())[:3]
    if not found:
        return ()
    names = [
        f"{a.candidate.name}  {size(a.candidate.weight_bytes)}, {a.window // 1024}k context"
        for a in found
    ]
    return (*names, f"anyclaude models pull {found[0].candidate.name}")


class LocalSource:
    """The runtime of this very process."""

    attached = False

    def __init__(self, runtime: LocalRuntime) -> None:
        self._runtime = runtime

    @property
    def control(self) -> Control:
        return self._runtime.control

    @property
    def address(self) -> str:
        return self._runtime.address

    @property
    def env_lines(self) -> tuple[str, ...]:
        return paste_lines()

    @property
    def engine_state(self) -> EngineState:
        return self._runtime.bus.engine_state

    def subscribe(self) -> Subscription:
        return self._runtime.bus.subscribe()

    async def advice(self, model: str) -> tuple[str, ...]:
        return await asyncio.to_thread(advice_lines, model)

    async def close(self) -> None:
        """Nothing to give back: whoever made the runtime stops it."""


class RemoteSource:
    """A server at the other end of HTTP; its events arrive on a bus of our own.

    When the stream of events ends, that is said once and tried again every second.
    """

    attached = True

    def __init__(
        self, client: RemoteClient, address: str, *, retry_s: float = _RECONNECT_S
    ) -> None:
        self._client = client
        self._address = address
        self._retry_s = retry_s
        self._bus = Bus()
        self._reader: asyncio.Task[None] | None = None

    @property
    def control(self) -> Control:
        return self._client

    @property
    def address(self) -> str:
        return self._address

    @property
    def env_lines(self) -> tuple[str, ...]:
        return paste_lines()

    @property
    def engine_state(self) -> EngineState:
        return self._bus.engine_state

    def subscribe(self) -> Subscription:
        """Starts reading the server's events with the first listener."""
        subscription = self._bus.subscribe()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        return subscription

    async def advice(self, model: str) -> tuple[str, ...]:
        """None: the server may run on another machine."""
        return ()

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None
        await self._client.aclose()

    async def _read(self) -> None:
        connected = True
        while True:
            try:
                stats = await self._client.stats()
                self._bus.publish(stats.engine)
                self._bus.publish(stats.vitals)
                async for event in self._client.events():
                    if not connected:
                        connected = True
                        self._say("info", f"Connected to {self._address} again")
                    self._bus.publish(event)
                reason = "it closed the stream"
            except Exception as error:  # whatever ends the stream, the console stays
                reason = str(error) or type(error).__name__
            if connected:
                connected = False
                self._bus.publish(EngineState("stopped", detail="connection lost"))
                self._say("error", f"Lost {self._address} ({reason}); trying again")
            await asyncio.sleep(self._retry_s)

    def _say(self, level: Literal["info", "error"], message: str) -> None:
        self._bus.publish(SystemEvent(time.time(), level, "server", message))
