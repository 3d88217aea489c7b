"""What the routes work with: the seams to the pipeline and to control, and their tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from quart import current_app, g

from anyclaude.arrival import Arrival
from anyclaude.backend import Admission
from anyclaude.control import Control
from anyclaude.errors import ApiError
from anyclaude.events import Bus
from anyclaude.relaying import Relay
from anyclaude.server.auth import Guard, Keys
from anyclaude.server.body import BodyReader
from anyclaude.server.stopping import Stopping
from anyclaude.stream import StreamEvent
from anyclaude.types import JsonValue, MessagesRequest, Role

EXTENSION = "anyclaude"


class Exchange(Protocol):
    """One admitted request, to be read as a stream or as one body."""

    @property
    def admission(self) -> Admission: ...

    @property
    def cache_note(self) -> str:
        """What ``x-anyclaude-cache`` says beyond that: fields of whole answers, or nothing."""
        ...

    def events(self) -> AsyncIterator[StreamEvent]: ...

    async def message(self) -> dict[str, JsonValue]: ...


class Messages(Protocol):
    """What of :class:`anyclaude.pipeline.Pipeline` the server needs."""

    async def open(self, arrival: Arrival, request: MessagesRequest) -> Exchange | Relay: ...

    async def count(self, arrival: Arrival, request: MessagesRequest) -> int: ...

    async def reject(
        self,
        arrival: Arrival,
        error: ApiError,
        *,
        streaming: bool = False,
        model: str = "",
        role: Role = Role.MAIN,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """Held by the app.

    ``model_names`` are the served models, the one that gets unknown names first; ``clock`` is
    Unix time; ``parsers`` bounds how many bodies are parsed at once. ``gzip_streams`` is whether
    event streams are compressed for clients that take it, ``needs_engine`` whether the engine in
    this process has to be ready for requests to be answered.
    """

    pipeline: Messages
    control: Control
    bus: Bus
    model_names: Callable[[], Sequence[str]]
    metrics: Callable[[], Awaitable[str]]
    clock: Callable[[], float]
    bodies: BodyReader
    parsers: asyncio.Semaphore
    stopping: Stopping
    guard: Guard
    keys: Keys | None
    gzip_streams: bool
    needs_engine: bool


def context() -> Context:
    """The context of the app that serves the current request."""
    return cast(Context, current_app.extensions[EXTENSION])


def request_id() -> str:
    """The id given to the current request, sent back as ``request-id``."""
    return cast(str, g.request_id)
