"""A pipeline and a control that do what a test tells them, behind the real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from anyclaude.arrival import Arrival
from anyclaude.backend import Admission
from anyclaude.config.settings import ServerSettings, Settings
from anyclaude.control import (
    BackendInfo,
    Flushed,
    McpServerInfo,
    ModelInfo,
    PrefixNode,
    PrefixTreePicture,
    SlotTarget,
    Stats,
    Switch,
)
from anyclaude.errors import ApiError, Conflict, InvalidRequest, NotFound
from anyclaude.events import Bus, EngineState, TierStats, Vitals
from anyclaude.records import (
    ExportFormat,
    RequestDetail,
    RequestRecord,
    SqlResult,
    ToolCallRecord,
    ToolIssue,
    ToolVersion,
)
from anyclaude.server.app import create_app
from anyclaude.server.auth import Keys
from anyclaude.server.limits import Limits
from anyclaude.server.listen import Listener
from anyclaude.stream import Emitter, StreamError, StreamEvent, message_of
from anyclaude.types import JsonValue, MessagesRequest, PrefixBreak, PrefixMiss, Role, Tier, Usage

USAGE = Usage(input_tokens=10, cache_read_tokens=20, cache_creation_tokens=5)
DONE = Usage(10, 20, 5, 7)
ADMISSION = Admission("mlx", "smol", USAGE, Tier.KV, PrefixMiss(PrefixBreak.HISTORY_CHANGED))
TOKEN = "admin-token"
TREE = PrefixTreePicture(
    "smol",
    (
        PrefixNode(0, None, 0, 900, 4096, True, True, 1, ("s1", "s2"), 1.5, "<|im_start|>system"),
        PrefixNode(1, 0, 900, 40, 0, True, False, 0, (), 1.25, "hello"),
    ),
    3,
)
CALL = ToolCallRecord("req_1", "t", "Bash", "failed", (ToolIssue("", "parse", "x"),), "{", "")
SLOT = SlotTarget("haiku", "mlx")
TOOL = ToolVersion("Bash", 2, "00ff", 1.0, 2.5, True)
MCP = McpServerInfo("files", "stdio", "ready", "fs 1", ("read",), (), ("x: no",))
SWITCH = Switch("billing_line", True, "Drops a line.", "Prompt")

Step = StreamEvent | Callable[[], Awaitable[None]]
Script = Callable[[Emitter, MessagesRequest], Sequence[Step]]


def says_paris(emitter: Emitter, request: MessagesRequest) -> list[Step]:
    return [
        *emitter.start(USAGE),
        *emitter.text("The capital of France "),
        *emitter.text("is Paris."),
        *emitter.finish("end_turn", None, DONE),
    ]


class FakeExchange:
    def __init__(self, pipeline: FakePipeline, id: str, request: MessagesRequest) -> None:
        self.id = id
        self.route_reason = "test"
        self.admission = pipeline.admission
        self.cache_note = ""
        self._pipeline = pipeline
        self._request = request

    async def events(self) -> AsyncIterator[StreamEvent]:
        finished = False
        try:
            emitter = Emitter(self.id, "smol")
            try:
                for step in self._pipeline.script(emitter, self._request):
                    if callable(step):
                        await step()
                    else:
                        yield step
            except ApiError as error:
                yield StreamError(error.type, error.message)
            finished = True
        finally:
            self._pipeline.end(self.id, finished)

    async def message(self) -> dict[str, JsonValue]:
        events = [event async for event in self.events()]
        for event in events:
            if isinstance(event, StreamError):
                raise self._pipeline.failure
        return message_of(events)


@dataclass
class FakePipeline:
    """``refuse`` is raised by open and count; ``gate`` holds admission back until it is set."""

    script: Script = says_paris
    admission: Admission = ADMISSION
    refuse: BaseException | None = None
    gate: asyncio.Event | None = None
    failure: ApiError = field(default_factory=lambda: ApiError("the model broke"))
    arrivals: list[tuple[Arrival, MessagesRequest]] = field(default_factory=list)
    rejected: list[tuple[Arrival, ApiError, bool, str]] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _notices: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self, arrival: Arrival, request: MessagesRequest) -> FakeExchange:
        await self._take(arrival, request)
        return FakeExchange(self, arrival.id, request)

    async def count(self, arrival: Arrival, request: MessagesRequest) -> int:
        await self._take(arrival, request)
        return USAGE.prompt_tokens

    async def reject(
        self,
        arrival: Arrival,
        error: ApiError,
        *,
        streaming: bool = False,
        model: str = "",
        role: Role = Role.MAIN,
    ) -> None:
        self.rejected.append((arrival, error, streaming, model))
        self.roles.append(role)

    async def _take(self, arrival: Arrival, request: MessagesRequest) -> None:
        self.arrivals.append((arrival, request))
        self._tell()
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.end(arrival.id, finished=False)
                raise
        if self.refuse is not None:
            raise self.refuse

    def end(self, id: str, finished: bool) -> None:
        (self.finished if finished else self.stopped).append(id)
        self._tell()

    def _tell(self) -> None:
        async def notify() -> None:
            async with self.changed:
                self.changed.notify_all()

        task = asyncio.ensure_future(notify())
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something the pipeline is told."""
        async with self.changed:
            await self.changed.wait_for(condition)


class FakeControl:
    """Answers with fixed values and remembers what it was asked to do."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.done: list[tuple[object, ...]] = []
        self.rows: SqlResult = SqlResult(("n",), ((1,),))
        self.exported = b"n\n1\n"
        self.sql_gate: asyncio.Event | None = None
        self.sql_started = asyncio.Event()
        self.sql_cancelled = asyncio.Event()

    async def stats(self) -> Stats:
        vitals = Vitals(0, 1, 2, 3.0, 4.0, None, None, 100, 1000, 50, 0.5, 0.1)
        return Stats("0.1.0", "http://x", 12.5, self.bus.engine_state, vitals, 1, 0, 7, 0, 0)

    async def cache(self) -> tuple[TierStats, ...]:
        return (TierStats("kv", True, hits=3),)

    async def flush(self, tier: str | None = None) -> tuple[Flushed, ...]:
        if tier not in (None, "kv"):
            raise InvalidRequest(f"unknown tier {tier!r}", field="tier")
        self.done.append(("flush", tier))
        return (Flushed("kv", 2, 4096),)

    async def models(self) -> tuple[ModelInfo, ...]:
        return (ModelInfo("smol", "/m", 1, "4bit", 8192, "fallback", True, True),)

    async def load_model(self, name: str) -> None:
        if name == "absent":
            raise NotFound("no model 'absent' here")
        self.done.append(("load", name))

    async def unload_model(self) -> None:
        self.done.append(("unload",))

    async def restart_engine(self) -> None:
        self.done.append(("restart",))

    async def reset_backend(self, name: str) -> None:
        if name not in {backend.name for backend in await self.backends()}:
            raise NotFound(f"there is no backend {name!r}")
        self.done.append(("reset", name))

    async def mcp(self) -> tuple[McpServerInfo, ...]:
        return (MCP,)

    async def tools(self) -> tuple[ToolVersion, ...]:
        return (TOOL,)

    async def slots(self) -> tuple[SlotTarget, ...]:
        return (SLOT,)

    async def set_slot(self, slot: str, target: str) -> None:
        if slot != SLOT.slot:
            raise InvalidRequest(f"there is no {slot!r}", field="slot")
        self.done.append(("slot", slot, target))

    async def backends(self) -> tuple[BackendInfo, ...]:
        return (BackendInfo("mlx", "mlx", True, 0, 12.0),)

    async def requests(
        self, limit: int = 200, before: float | None = None
    ) -> tuple[RequestRecord, ...]:
        self.done.append(("requests", limit, before))
        return (RequestRecord("req_1", 1.5, status=200),)

    async def running(self) -> tuple[RequestRecord, ...]:
        return (RequestRecord("req_2", 2.5, duration_ms=40.0),)

    async def detail(self, request_id: str) -> RequestDetail:
        if request_id != "req_1":
            raise NotFound(f"no request {request_id}")
        return RequestDetail("req_1", body="{}")

    async def cancel(self, request_id: str) -> bool:
        return request_id == "req_1"

    async def replay(self, request_id: str, model: str = "") -> str:
        if request_id != "req_1":
            raise NotFound(f"the body of {request_id} is not kept")
        self.done.append(("replay", request_id, model))
        return "req_2"

    async def reparse(self, request_id: str) -> tuple[ToolCallRecord, ...]:
        if request_id != "req_1":
            raise NotFound(f"the body of {request_id} is not kept")
        return (CALL,)

    async def prefix_tree(self, limit: int = 400) -> PrefixTreePicture:
        self.done.append(("tree", limit))
        return TREE

    async def pause(self, paused: bool) -> None:
        self.done.append(("pause", paused))

    async def pin(self, session_id: str, pinned: bool) -> None:
        if session_id == "absent":
            raise NotFound("the prefix tree holds nothing of a session 'absent'")
        self.done.append(("pin", session_id, pinned))

    async def switches(self) -> tuple[Switch, ...]:
        return (SWITCH,)

    async def set_switch(self, name: str, on: bool) -> None:
        if name != SWITCH.name:
            raise NotFound(f"there is no switch {name!r}")
        self.done.append(("switch", name, on))

    async def pull_model(self, name: str) -> None:
        if name == "org/second":
            raise Conflict("org/first is being downloaded")
        self.done.append(("pull", name))

    async def export_sql(
        self, query: str, path: Path, format: ExportFormat, replace: bool = False
    ) -> int:
        await self.sql(query, 1)
        return await asyncio.to_thread(path.write_bytes, self.exported)

    async def sql(self, query: str, limit: int = 10_000, longest: int | None = None) -> SqlResult:
        self.done.append(("sql", query, limit))
        self.sql_started.set()
        if self.sql_gate is not None:
            try:
                await self.sql_gate.wait()
            except asyncio.CancelledError:
                self.sql_cancelled.set()
                raise
        return self.rows


@dataclass
class Running:
    """A server on a free port and everything behind it."""

    pipeline: FakePipeline
    control: FakeControl
    bus: Bus
    listener: Listener
    stop: asyncio.Event
    task: asyncio.Task[None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.port}"

    async def closed(self) -> None:
        """Waits until no connection is open."""
        while self.listener.connections:
            await asyncio.wait(self.listener.tasks)

    async def shut(self) -> None:
        self.stop.set()
        await self.task


@asynccontextmanager
async def serving(
    pipeline: FakePipeline | None = None,
    *,
    api_key: str = "",
    admin_key: str = "",
    max_body_mb: int = 1,
    limits: Limits | None = None,
    keys: Keys | None = None,
    phase: EngineState | None = None,
    gzip: bool = True,
    gzip_streams: bool = False,
    names: Sequence[str] = ("smol",),
) -> AsyncIterator[Running]:
    pipeline = pipeline or FakePipeline()
    bus = Bus()
    bus.publish(phase or EngineState("ready", "smol", context_limit=8192))
    control = FakeControl(bus)
    limits = limits or Limits()
    server = ServerSettings(
        port=0,
        api_key=api_key,
        admin_key=admin_key,
        max_body_mb=max_body_mb,
        gzip=gzip,
        gzip_streams=gzip_streams,
    )

    async def metrics() -> str:
        return "anyclaude_requests_total 1\n"

    app = create_app(
        pipeline,
        control,
        bus,
        Settings(Path("."), Path("x.duckdb"), server=server),
        TOKEN,
        model_names=lambda: names,
        metrics=metrics,
        clock=lambda: 1_700_000_000.0,
        limits=limits,
        keys=keys,
    )
    listener = Listener.bind(server, limits)
    stop = asyncio.Event()
    task = asyncio.ensure_future(listener.serve(app, stop))
    try:
        yield Running(pipeline, control, bus, listener, stop, task)
    finally:
        stop.set()
        if not task.cancelled():
            await task
        assert listener.connections == 0
