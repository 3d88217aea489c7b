"""What happens, as values, and the bus that carries them.

Publishing is synchronous and never waits. Each subscriber owns a bounded queue: when it is
full, the oldest *droppable* event (token ticks, progress, vitals) makes room; lifecycle events
are never dropped. The bus belongs to the event loop; other threads hand events over with
``loop.call_soon_threadsafe(bus.publish, event)``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal, TypeAlias

from anyclaude.records import (
    McpCallRecord,
    PromptSection,
    RequestRecord,
    SearchRecord,
    ToolCallRecord,
    ToolFailure,
)
from anyclaude.types import PrefixMiss


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A request was parsed; it hasn't reached a backend yet."""

    droppable: ClassVar[bool] = False
    id: str
    at: float
    session_id: str
    role: str
    model_requested: str
    streaming: bool
    tool_count: int


@dataclass(frozen=True, slots=True)
class RequestAdmitted:
    """A backend took it: the prompt's true size and what of it is already in a cache.

    ``canonical`` has the rules that changed the request, with the number of places; ``echo`` is
    what became of the newest assistant message: put_back, changed, unknown, or empty. ``miss``
    says what the cause cost, ``from_disk`` how many of the cached tokens were loaded.
    """

    droppable: ClassVar[bool] = False
    id: str
    backend: str
    model: str
    route_reason: str
    prompt_tokens: int
    cache_read_tokens: int
    cache_tier: str | None
    break_cause: str
    canonical: tuple[tuple[str, int], ...] = ()
    echo: str = ""
    miss: PrefixMiss = field(default_factory=PrefixMiss)
    from_disk: int = 0


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """Prompt tokens done, reused ones included, of ``total``."""

    droppable: ClassVar[bool] = True
    id: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The first piece of the answer exists."""

    droppable: ClassVar[bool] = False
    id: str
    ttft_ms: float


@dataclass(frozen=True, slots=True)
class OutputDelta:
    """A piece of the answer; ``tokens`` is the running total of output tokens."""

    droppable: ClassVar[bool] = True
    id: str
    kind: Literal["text", "thinking", "tool_use"]
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ToolCallSeen:
    """A tool call ended: valid, repaired or not to be read."""

    droppable: ClassVar[bool] = False
    at: float
    call: ToolCallRecord


@dataclass(frozen=True, slots=True)
class ToolFailed:
    """The client answered an earlier call with an error."""

    droppable: ClassVar[bool] = False
    at: float
    failure: ToolFailure


@dataclass(frozen=True, slots=True)
class SearchMade:
    """A web search came to its end. ``inserted`` is whether its results were put into the prompt
    unasked, rather than given to a client that asked for them."""

    droppable: ClassVar[bool] = False
    at: float
    search: SearchRecord
    inserted: bool = False


@dataclass(frozen=True, slots=True)
class McpCall:
    """A call of an MCP server's tool begins here, with an empty status, or has ended."""

    droppable: ClassVar[bool] = False
    at: float
    call: McpCallRecord


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """The end of a request, however it ended."""

    droppable: ClassVar[bool] = False
    record: RequestRecord


SystemKind: TypeAlias = Literal[
    "error",
    "flush",
    "reset",
    "model",
    "memory",
    "cache",
    "canonical",
    "echo",
    "input",
    "log",
    "server",
    "tools",
    "breaker",
    "route",
    "search",
    "prompt",
    "mcp",
]


@dataclass(frozen=True, slots=True)
class SystemEvent:
    """One row of ``events``: something a person should be able to look up later."""

    droppable: ClassVar[bool] = False
    at: float
    level: Literal["info", "warning", "error"]
    kind: SystemKind
    message: str
    request_id: str | None = None
    detail: str = ""


EnginePhase: TypeAlias = Literal["unloaded", "loading", "ready", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class PromptShaped:
    """A prompt was shortened: its parts with their tokens before and after.

    Told once for each prompt, tier and model; ``prompt_id`` is the same for all its requests.
    """

    droppable: ClassVar[bool] = False
    at: float
    id: str
    prompt_id: str
    tier: str
    sections: tuple[PromptSection, ...]


@dataclass(frozen=True, slots=True)
class EngineState:
    """Where the engine stands. ``progress`` is 0..1 while loading, ``detail`` says of what."""

    droppable: ClassVar[bool] = False
    phase: EnginePhase
    model: str = ""
    progress: float = 0.0
    detail: str = ""
    context_limit: int = 0


PullPhase: TypeAlias = Literal["downloading", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class PullState:
    """Where the download of a model stands, in bytes; ``total_bytes`` 0 while it isn't known.

    ``detail`` says what is going on, and of a failure what to do.
    """

    droppable: ClassVar[bool] = False
    name: str
    phase: PullPhase
    done_bytes: int = 0
    total_bytes: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TierStats:
    """One cache tier. ``hits``/``misses`` count requests, sizes are bytes."""

    tier: str
    enabled: bool
    hits: int = 0
    misses: int = 0
    entries: int = 0
    bytes: int = 0
    limit_bytes: int = 0
    evictions: int = 0
    tokens_saved: int = 0
    seconds_saved: float = 0.0


@dataclass(frozen=True, slots=True)
class Vitals:
    """Once a second: rates over the last seconds (tokens/s), latencies (ms), memory (bytes).

    ``paused``: new requests wait until a person says otherwise.
    """

    droppable: ClassVar[bool] = True
    at: float
    running: int
    waiting: int
    decode_tps: float
    prefill_tps: float
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    memory_bytes: int
    memory_total_bytes: int
    mlx_active_bytes: int
    mlx_busy: float
    loop_lag_p99_ms: float
    tiers: tuple[TierStats, ...] = ()
    paused: bool = False


Event: TypeAlias = (
    RequestReceived
    | RequestAdmitted
    | PrefillProgress
    | FirstToken
    | OutputDelta
    | ToolCallSeen
    | ToolFailed
    | SearchMade
    | McpCall
    | RequestFinished
    | SystemEvent
    | PromptShaped
    | EngineState
    | PullState
    | Vitals
)


class Subscription:
    """One listener's queue. Iterate it, or :meth:`drain` it on a tick."""

    def __init__(self, bus: Bus, limit: int, kinds: tuple[type[Event], ...]) -> None:
        self._bus = bus
        self._limit = limit
        self._kinds = frozenset(kinds)
        self._queue: deque[Event] = deque()
        self._droppable = 0
        self._wake = asyncio.Event()
        self._closed = False
        self.dropped = 0

    def put(self, event: Event) -> None:
        """Queues the event; over the limit the oldest droppable one goes instead."""
        if self._kinds and type(event) not in self._kinds:
            return
        if len(self._queue) >= self._limit and not self._make_room(event):
            return
        self._queue.append(event)
        self._droppable += event.droppable
        self._wake.set()

    def _make_room(self, event: Event) -> bool:
        if not self._droppable:
            self.dropped += event.droppable
            return not event.droppable
        index = next(i for i, queued in enumerate(self._queue) if queued.droppable)
        del self._queue[index]
        self._droppable -= 1
        self.dropped += 1
        return True

    def drain(self) -> list[Event]:
        """Everything queued since the last call."""
        events = list(self._queue)
        self._queue.clear()
        self._droppable = 0
        self._wake.clear()
        return events

    def close(self) -> None:
        """Ends the iteration after what is queued; publishing to it stops."""
        self._closed = True
        self._bus.unsubscribe(self)
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._queue:
                event = self._queue.popleft()
                self._droppable -= event.droppable
                yield event
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()


class Bus:
    """Fan-out of events to listeners and subscribers, in order, without waiting for any."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self._listeners: list[Callable[[Event], None]] = []
        self._engine_state = EngineState("unloaded")

    @property
    def engine_state(self) -> EngineState:
        """The last :class:`EngineState` published, for those who come late."""
        return self._engine_state

    def publish(self, event: Event) -> None:
        if isinstance(event, EngineState):
            self._engine_state = event
        for listener in self._listeners:
            listener(event)
        for subscription in tuple(self._subscriptions):
            subscription.put(event)

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Has ``listener``, which neither waits nor raises, called with every event from now on.

        Gives what ends that.
        """
        self._listeners.append(listener)
        return partial(self._listeners.remove, listener)

    def subscribe(
        self, limit: int = 10_000, *, kinds: tuple[type[Event], ...] = ()
    ) -> Subscription:
        """What is published from now on: of ``kinds`` if any are named, else everything."""
        subscription = Subscription(self, limit, kinds)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
