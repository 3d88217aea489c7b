"""A source and a launch whose every event is scripted, with a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from anyclaude.control import (
    BackendInfo,
    Control,
    Flushed,
    McpServerInfo,
    ModelInfo,
    PrefixTreePicture,
    SlotTarget,
    Stats,
    Switch,
)
from anyclaude.errors import NotFound
from anyclaude.events import (
    Bus,
    EngineState,
    Event,
    FirstToken,
    OutputDelta,
    PrefillProgress,
    PullState,
    RequestAdmitted,
    RequestFinished,
    RequestReceived,
    Subscription,
    SystemEvent,
    TierStats,
    ToolCallSeen,
    Vitals,
)
from anyclaude.records import (
    ExportFormat,
    Repair,
    RequestDetail,
    RequestRecord,
    SqlResult,
    ToolCallRecord,
    ToolIssue,
    ToolVersion,
)
from anyclaude.types import PrefixBreak, PrefixMiss
from tui.launch import Failure, Offer, explain
from tui.source import Source

NOON = 1_760_011_200.0 + 9 * 60  # 2025-10-09 12:09:00 UTC
MODEL = "SmolLM2-135M-Instruct"
LOADING = EngineState("loading", MODEL, 0.62, "converting weights")
READY = EngineState("ready", MODEL, 1.0, "", 8192)
CHANGED = PrefixMiss(
    PrefixBreak.HISTORY_CHANGED,
    9_200,
    12,
    "<tool_response>\n     1\tdef [bold]parse[/bold](text):\n     2\t    return text.split()",
    "<tool_response>\n[Old tool result content cleared]\n</tool_response>",
    10_600,
    5.58,
)
HEADS = (
    ("3f2a90c1", MODEL, "compact, main", 13_240, 41, 40, 8_420.0, 380.0, 512_000),
    ("b07d11aa", MODEL, "subagent", 6_120, 9, 6, 3_900.0, 290.0, 36_720),
    ("09c4e2f7", MODEL, "title", 812, 3, 0, 610.0, None, 0),
)


class Clock:
    """Unix time that moves only when told to."""

    def __init__(self, at: float = NOON) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


class Asked(Protocol):
    """A log that answers queries, for the rooms that put them; a RequestLog is one."""

    async def query(self, sql: str, limit: int, longest: int | None = None) -> SqlResult: ...

    async def export_query(
        self, sql: str, path: Path, format: ExportFormat, replace: bool = False
    ) -> int: ...


@dataclass
class FakeControl:
    """Writes down what it is asked to do."""

    bus: Bus
    calls: list[tuple[str, ...]] = field(default_factory=list)
    details: dict[str, RequestDetail] = field(default_factory=dict)
    local: tuple[ModelInfo, ...] = ()
    recorded: tuple[RequestRecord, ...] = ()
    heads: tuple[tuple[object, ...], ...] = ()
    failure: Exception | None = None
    tree: PrefixTreePicture = PrefixTreePicture(MODEL, (), 0)
    parsed: tuple[ToolCallRecord, ...] = ()
    switched: tuple[Switch, ...] = (
        Switch("cache_control", True, "Drop cache marks, which move every turn.", "Prompt"),
        Switch("token_budget", True, "Drop counters that the client appends.", "Prompt"),
        Switch("billing_line", False, "Drop the billing line.", "Prompt"),
    )
    asked: list[str] = field(default_factory=list)
    log: Asked | None = None
    neighbours: tuple[tuple[object, ...], ...] = ()
    sought: list[str] = field(default_factory=list)
    served: tuple[BackendInfo, ...] = ()
    given: tuple[SlotTarget, ...] = tuple(map(SlotTarget, ("opus", "sonnet", "haiku", "subagent")))

    def _note(self, *call: str) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure

    async def stats(self) -> Stats:
        return Stats("0", "http://127.0.0.1:8082", 1.0, READY, vitals(), 0, 0, 0, 0, 0)

    async def cache(self) -> tuple[TierStats, ...]:
        return vitals().tiers

    async def flush(self, tier: str | None = None) -> tuple[Flushed, ...]:
        self._note("flush", tier or "all")
        return (Flushed("kv", 12, 6_871_947_674),)

    async def models(self) -> tuple[ModelInfo, ...]:
        return self.local

    async def load_model(self, name: str) -> None:
        self._note("load", name)
        self.bus.publish(EngineState("loading", name, 0.4, "reading weights"))

    async def unload_model(self) -> None:
        self._note("unload")

    async def restart_engine(self) -> None:
        self._note("restart")

    async def reset_backend(self, name: str) -> None:
        self._note("reset_backend", name)

    async def mcp(self) -> tuple[McpServerInfo, ...]:
        return ()

    async def tools(self) -> tuple[ToolVersion, ...]:
        return ()

    async def slots(self) -> tuple[SlotTarget, ...]:
        self._note("slots")
        return self.given

    async def set_slot(self, slot: str, target: str) -> None:
        self._note("set_slot", slot, target)
        self.given = tuple(
            SlotTarget(slot, target) if one.slot == slot else one for one in self.given
        )

    async def backends(self) -> tuple[BackendInfo, ...]:
        self._note("backends")
        return self.served

    async def requests(
        self, limit: int = 200, before: float | None = None
    ) -> tuple[RequestRecord, ...]:
        return self.recorded

    async def running(self) -> tuple[RequestRecord, ...]:
        return ()

    async def detail(self, request_id: str) -> RequestDetail:
        if request_id not in self.details:
            raise NotFound(f"no request {request_id}")
        return self.details[request_id]

    async def cancel(self, request_id: str) -> bool:
        self._note("cancel", request_id)
        return True

    async def prefix_tree(self, limit: int = 400) -> PrefixTreePicture:
        self._note("prefix_tree", str(limit))
        return self.tree

    async def pause(self, paused: bool) -> None:
        self._note("pause", str(paused))
        self.bus.publish(vitals(paused=paused))

    async def pin(self, session_id: str, pinned: bool) -> None:
        self._note("pin", session_id, str(pinned))

    async def replay(self, request_id: str, model: str = "") -> str:
        self._note("replay", request_id, model)
        return "req_0000000000000000b001"

    async def reparse(self, request_id: str) -> tuple[ToolCallRecord, ...]:
        self._note("reparse", request_id)
        return self.parsed

    async def switches(self) -> tuple[Switch, ...]:
        return self.switched

    async def set_switch(self, name: str, on: bool) -> None:
        self._note("set_switch", name, str(on))
        self.switched = tuple(replace(s, on=on) if s.name == name else s for s in self.switched)

    async def pull_model(self, name: str) -> None:
        self._note("pull", name)
        self.bus.publish(PullState(name, "downloading", 0, 0, f"asking Hugging Face for {name}"))

    async def export_sql(
        self, query: str, path: Path, format: ExportFormat, replace: bool = False
    ) -> int:
        self._note("export_sql", query, str(path), format, str(replace))
        return await self.log.export_query(query, path, format, replace) if self.log else 0

    async def sql(self, query: str, limit: int = 10_000, longest: int | None = None) -> SqlResult:
        if self.log is not None and "FROM system_prompts LIMIT" not in query:
            if self.failure is not None:
                raise self.failure
            return await self.log.query(query, limit, longest)
        if query.startswith("SELECT id FROM requests"):
            self.sought.append(query)
            return SqlResult(("id",), self.neighbours)
        assert "FROM system_prompts" in query
        assert limit >= len(self.heads)
        self.asked.append(query)
        if self.failure is not None:
            raise self.failure
        names = query.removeprefix("SELECT ").partition(" FROM")[0].split(", ")
        return SqlResult(tuple(names), self.heads)


class FakeSource:
    """A server that exists only as far as the test says."""

    address = "http://127.0.0.1:8082"
    env_lines = ('eval "$(anyclaude env)"', "claude")

    def __init__(self) -> None:
        self.bus = Bus()
        self.fake = FakeControl(self.bus)
        self.attached = False
        self.advised: tuple[str, ...] = ()

    @property
    def control(self) -> Control:
        return self.fake

    @property
    def engine_state(self) -> EngineState:
        return self.bus.engine_state

    def subscribe(self) -> Subscription:
        return self.bus.subscribe()

    async def advice(self, model: str) -> tuple[str, ...]:
        return self.advised

    async def close(self) -> None:
        """Nothing was opened."""

    def send(self, *events: Event) -> None:
        for event in events:
            self.bus.publish(event)


class FakeLaunch:
    """Starts at once, or fails with what it is given."""

    def __init__(
        self,
        source: FakeSource,
        failure: Exception | None = None,
        offers: tuple[Offer, ...] = (),
    ) -> None:
        self.source = source
        self.failure = failure
        self.offers = offers
        self.stops = 0
        self.hold: asyncio.Event | None = None

    async def start(self, found: Callable[[Source], None]) -> None:
        if self.failure is not None:
            raise self.failure
        found(self.source)
        if self.hold is not None:
            await self.hold.wait()

    async def explain(self, error: Exception) -> Failure:
        return Failure(explain(error), self.offers)

    async def stop(self) -> None:
        self.stops += 1


def vitals(**changes: object) -> Vitals:
    base = Vitals(
        at=NOON,
        running=1,
        waiting=1,
        decode_tps=41.8,
        prefill_tps=1900.0,
        ttft_p50_ms=400.0,
        ttft_p95_ms=950.0,
        memory_bytes=22_870_841_753,
        memory_total_bytes=38_654_705_664,
        mlx_active_bytes=20_000_000_000,
        mlx_busy=0.71,
        loop_lag_p99_ms=1.2,
        tiers=(
            TierStats(
                "kv",
                True,
                hits=44,
                misses=6,
                entries=12,
                bytes=6_871_947_674,
                limit_bytes=9_663_676_416,
                evictions=3,
                tokens_saved=1_420_000,
                seconds_saved=1180.0,
            ),
        ),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def request(
    suffix: str,
    at: float,
    *,
    model: str = "claude-sonnet-4-5-20250929",
    role: str = "main",
    prompt: int = 18_400,
    read: int = 17_850,
    out: int = 612,
    ttft: float = 380.0,
    tps: float = 42.1,
    stop: str | None = "end_turn",
    status: int = 200,
    error: str | None = None,
    cause: str = "none",
    miss: PrefixMiss | None = None,
    from_disk: int = 0,
) -> list[Event]:
    """A request that came and ended; ``suffix`` is what the list shows of its id."""
    request_id = f"req_0000000000000000{suffix}"
    decode = out / tps * 1000 if out else 0.0
    miss = miss or PrefixMiss(PrefixBreak(cause), read if cause != "none" else None)
    record = RequestRecord(
        id=request_id,
        started_at=at,
        session_id="5f0c9a52-3d1e-4f6b-9a57-c0ffee000001",
        role=role,
        model_requested=model,
        model=MODEL if status < 400 else "",
        backend="mlx" if status < 400 else "",
        route_reason="no routes: the local engine",
        streaming=True,
        status=status,
        stop_reason=stop,
        error_category="resource" if error else None,
        error_message=error,
        input_tokens=prompt - read if status < 400 else 0,
        output_tokens=out,
        cache_level="L1" if read else "MISS",
        cache_tier="kv" if read else None,
        cache_read_tokens=read if status < 400 else 0,
        tokens_reused=read if status < 400 else 0,
        time_saved_ms=read * 0.5,
        queue_ms=12.0,
        prefill_ms=ttft - 12.0,
        ttft_ms=ttft if out else None,
        decode_ms=decode,
        duration_ms=ttft + decode,
        tokens_per_second=tps if out else None,
        tool_count=18,
        prefix_break_cause=miss.cause.value,
        prefix_break_at=miss.at,
        prefix_break_message=miss.message,
        prefix_break_before=miss.before or None,
        prefix_break_after=miss.after or None,
        tokens_lost=miss.tokens_lost,
        prefix_lost_ms=miss.seconds_lost * 1000,
        tokens_from_disk=from_disk,
    )
    events = received(suffix, at, model=model, role=role)
    if status < 400:
        events += admitted(suffix, prompt, read, miss=miss, from_disk=from_disk)
    return [*events, RequestFinished(record)]


def received(
    suffix: str, at: float, *, model: str = "claude-sonnet-4-5-20250929", role: str = "main"
) -> list[Event]:
    request_id = f"req_0000000000000000{suffix}"
    return [
        RequestReceived(
            request_id, at, "5f0c9a52-3d1e-4f6b-9a57-c0ffee000001", role, model, True, 18
        )
    ]


def admitted(
    suffix: str,
    prompt: int,
    read: int,
    *,
    miss: PrefixMiss = PrefixMiss(),  # noqa: B008 frozen
    from_disk: int = 0,
) -> list[Event]:
    request_id = f"req_0000000000000000{suffix}"
    tier = "kv" if read else None
    reason = "no routes: the local engine"
    cause = miss.cause.value
    return [
        RequestAdmitted(
            request_id, "mlx", MODEL, reason, prompt, read, tier, cause, (), "", miss, from_disk
        )
    ]


MISSING = ToolIssue("old_string", "required", "nothing", "string")
NOT_JSON = ToolIssue(
    "", "parse", "'e.py\" \"new_' at character 118 (expecting ',' delimiter)", "JSON"
)


def call(
    suffix: str, at: float, name: str, verdict: str, issues: tuple[ToolIssue, ...]
) -> ToolCallSeen:
    raw = '<tool_call>\n{"name": "%s", "arguments": {"file_path": "parser.py"}}\n</tool_call>'
    record = ToolCallRecord(
        request_id=f"req_0000000000000000{suffix}",
        tool_use_id="toolu_01J9",
        name=name,
        verdict=verdict,  # type: ignore[arg-type]
        issues=issues,
        raw=raw % name,
        final='{"file_path": "parser.py"}' if verdict != "unparsed" else "",
    )
    return ToolCallSeen(at, record)


REPAIRED = ToolCallRecord(
    "req_0000000000000000a3f1",
    "toolu_1",
    "Bash",
    "repaired",
    (ToolIssue("", "exists", "bash", "one of the tools Bash"), ToolIssue("", "unchecked", "odd")),
    '<tool_call>{"name": "bash", "arguments": {"command": "ls"}}</tool_call>',
    '{"command": "ls"}',
    version=2,
    repaired=True,
    repairs=(Repair("alias", "", "bash", "Bash"), Repair("coerced", "a.0", '"5"', "5")),
)


def session() -> list[Event]:
    """Eight requests as on the style page: ended, failed, running and waiting."""
    t = NOON - 298
    live = "req_0000000000000000a3f8"
    return [
        READY,
        SystemEvent(t - 20, "info", "model", f"{MODEL} loaded in 4.1 s"),
        *request("a3f1", t),
        *request(
            "a3f2",
            t + 7,
            model="claude-haiku-4-5",
            role="title",
            prompt=1200,
            read=0,
            out=44,
            ttft=610.0,
            tps=43.0,
            cause="new_session",
        ),
        *received("a3f3", t + 9),
        call("a3f3", t + 11, "Edit", "failed", (MISSING,)),
        *request(
            "a3f3",
            t + 9,
            prompt=18_900,
            read=18_140,
            out=231,
            ttft=410.0,
            tps=41.7,
            stop="tool_use",
        ),
        *request(
            "a3f4",
            t + 17,
            prompt=19_200,
            read=18_900,
            out=418,
            ttft=360.0,
            tps=41.9,
            stop="tool_use",
        ),
        *received("a3f5", t + 24),
        call("a3f5", t + 26, "Bash", "unparsed", (NOT_JSON,)),
        *request(
            "a3f5",
            t + 24,
            prompt=21_000,
            read=9_200,
            out=540,
            ttft=1920.0,
            tps=40.3,
            stop="tool_use",
            miss=CHANGED,
            from_disk=2_200,
        ),
        *request(
            "a3f6",
            t + 38,
            prompt=21_400,
            read=0,
            out=0,
            status=400,
            stop=None,
            error="messages.3.content.0.type: unknown block type 'vidéo'",
        ),
        *request(
            "a3f7",
            t + 50,
            prompt=21_900,
            read=0,
            out=0,
            status=529,
            stop=None,
            error="the queue is full (64 waiting); try again in 2 s",
        ),
        SystemEvent(t + 50, "warning", "input", "529 busy: the queue is full", "a3f7"),
        *received("a3f8", NOON - 6.5),
        *admitted("a3f8", 22_300, 21_640),
        PrefillProgress(live, 22_000, 22_300),
        FirstToken(live, 400.0),
        OutputDelta(live, "thinking", "The test wants a lazy parser. ", 9),
        OutputDelta(live, "text", "I'll read the failing test, ", 30),
        OutputDelta(live, "text", "then change the parser.\n", 40),
        OutputDelta(live, "tool_use", '{"name": "Read", "arguments": {', 60),
        call("a3f8", NOON - 2, "Read", "valid", ()),
        OutputDelta(live, "tool_use", '<tool_call>\n{"name": "Edit", "argu', 187),
        *received("a3f9", NOON - 3, model="claude-haiku-4-5", role="title"),
        vitals(),
    ]


def detail(suffix: str) -> RequestDetail:
    """What the log adds: headers, body, prompt, response."""
    return RequestDetail(
        id=f"req_0000000000000000{suffix}",
        headers=(("authorization", "Bearer ****"), ("user-agent", "claude-cli/2.1")),
        body='{"model": "claude-sonnet-4-5", "max_tokens": 32000, "messages": ['
        '{"role": "user", "content": "Fix the [bold]parser[/bold]"}]}',
        prompt="<|im_start|>system\nYou are Claude Code.<|im_end|>\n<|im_start|>user\n"
        "Fix the [bold]parser[/bold]<|im_end|>\n<|im_start|>assistant\n",
        output="I'll read the failing test.",
        response='{"type": "message", "content": [{"type": "text", "text": "Done."}]}',
        canonical=(("billing_line", 1), ("cache_control", 3)),
    )


def models() -> tuple[ModelInfo, ...]:
    home = "/home/ada/models"
    return (
        ModelInfo(MODEL, f"{home}/smol", 538_000_000, "float32", 8192, "fallback", True, True),
        ModelInfo(
            "mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit",
            f"{home}/q",
            17_200_000_000,
            "4-bit",
            262_144,
            "template",
            True,
        ),
        ModelInfo(
            "mlx-community/GLM-4.5-Air-4bit",
            f"{home}/glm",
            60_200_000_000,
            "4-bit",
            131_072,
            "template",
            False,
        ),
    )
