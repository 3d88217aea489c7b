"""What a server offers and what a call of it comes to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from anyclaude.records import McpStatus
from anyclaude.types import JsonObject

ConnectionState: TypeAlias = Literal["starting", "ready", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class FoundTool:
    """A tool as its server lists it. ``read_only`` is the server's own word."""

    name: str
    description: str
    schema: JsonObject
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """What a server, or its silence, came to: text for the model, and how it ended."""

    text: str
    status: McpStatus


class Server(Protocol):
    """One server, kept running and reached again when it goes away."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> ConnectionState: ...

    @property
    def detail(self) -> str:
        """Why it failed, or what it said of itself."""
        ...

    @property
    def tools(self) -> tuple[FoundTool, ...]:
        """Those it listed last, in its own order."""
        ...

    async def run(self) -> None:
        """Connects, and again after every failure, until :meth:`stop`."""
        ...

    def stop(self) -> None: ...

    async def settled(self) -> None:
        """Returns when it is ready, or its time to start is over."""
        ...

    async def call(self, tool: str, arguments: JsonObject) -> Answered:
        """Never raises but for cancellation, which the server is told of."""
        ...


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told: ``report`` of what a person should know, ``changed`` of a list that may have
    changed, before anybody hears of a start."""

    report: Callable[[Literal["info", "warning"], str], None]
    changed: Callable[[], Awaitable[None]]


Sleep: TypeAlias = Callable[[float], Awaitable[None]]
