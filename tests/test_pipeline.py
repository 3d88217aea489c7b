"""One request through the pipeline over a scripted backend: events, rows, endings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from anyclaude.arrival import Arrival
from anyclaude.backend import Admission, BackendEvent, BackendRequest, Delta, Finish, Prefill
from anyclaude.errors import ApiError, EngineFailed, Overloaded
from anyclaude.events import Bus, RequestAdmitted, RequestFinished, ToolCallSeen
from anyclaude.exchange import ExchangeOptions, StreamSink
from anyclaude.gateway import Gateway
from anyclaude.keepalive import KeepAliveTimes
from anyclaude.ledger import Ledger, TraceSink
from anyclaude.pipeline import Pipeline, PipelineOptions
from anyclaude.prompt.echo import EchoStore
from anyclaude.recent import RecentDetails
from anyclaude.records import RequestDetail, RequestRecord, StoredMessage, ToolCallRecord
from anyclaude.stream import (
    BlockDelta,
    BlockStart,
    Comment,
    MessageStart,
    Ping,
    StreamError,
    StreamEvent,
    message_of,
)
from anyclaude.tools.desk import ToolOptions
from anyclaude.tools.families.hermes import DIALECT as HERMES
from anyclaude.types import (
    ClientInfo,
    Message,
    MessagesRequest,
    PrefixBreak,
    PrefixMiss,
    TextBlock,
    Thinking,
    ThinkingMarkers,
    Tier,
    ToolDefinition,
    Usage,
)

BASH = ToolDefinition(
    "Bash",
    "Runs a command",
    {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
)
PLAIN = ToolOptions(stream=False, regenerate=False)
ADMISSION = Admission("fake", "model", Usage(10, 20, 5), None, dialect=HERMES)
CALL = '<tool_call>\n{"name": "Bash", "arguments": {"command": "ls"}}\n</tool_call>'


class FakeGeneration:
    def __init__(self, events: Sequence[BackendEvent | BaseException], admission: Admission):
        self.admission = admission
        self.cancelled = asyncio.Event()
        self.more: asyncio.Queue[BackendEvent | BaseException] = asyncio.Queue()
        for event in events:
            self.more.put_nowait(event)

    async def __aiter__(self) -> AsyncIterator[BackendEvent]:
        while True:
            event = await self.more.get()
            if isinstance(event, BaseException):
                raise event
            yield event

    async def cancel(self) -> None:
        self.cancelled.set()


@dataclass
class FakeBackend:
    """Answers every request with the same events."""

    events: Sequence[BackendEvent | BaseException]
    admission: Admission = ADMISSION
    refuse: ApiError | None = None
    name: str = "fake"
    fingerprint: str = "fake"
    requests: list[BackendRequest] = field(default_factory=list)
    generations: list[FakeGeneration] = field(default_factory=list)

    async def open(self, request: BackendRequest) -> FakeGeneration:
        self.requests.append(request)
        if self.refuse is not None:
            raise self.refuse
        self.generations.append(FakeGeneration(self.events, self.admission))
        return self.generations[-1]

    async def count(self, request: BackendRequest) -> int:
        return 35


@dataclass
class Sink:
    rows: list[RequestRecord] = field(default_factory=list)
    calls: list[ToolCallRecord] = field(default_factory=list)
    messages: list[StoredMessage] = field(default_factory=list)

    async def record(
        self,
        record: RequestRecord,
        calls: Sequence[ToolCallRecord] = (),
        messages: Sequence[StoredMessage] = (),
        *,
        hurry: bool = True,
    ) -> None:
        self.rows.append(record)
        self.calls.extend(calls)
        self.messages.extend(messages)


class Clock:
    """Moves on by itself, a step a reading."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@dataclass
class Rig:
    pipeline: Pipeline
    backend: FakeBackend
    sink: Sink
    bus: Bus
    ledger: Ledger


@pytest.fixture
async def build() -> AsyncGenerator[Callable[..., Rig], None]:
    stores: list[EchoStore] = []

    def make(
        *events: BackendEvent | BaseException,
        admission: Admission = ADMISSION,
        refuse: ApiError | None = None,
        times: KeepAliveTimes | None = None,
        clock: Callable[[], float] | None = None,
        traces: TraceSink | None = None,
        streams: StreamSink | None = None,
        tools: ToolOptions = PLAIN,
        backend: FakeBackend | None = None,
    ) -> Rig:
        backend = backend or FakeBackend(events, admission, refuse)
        sink, bus = Sink(), Bus()
        echo = EchoStore(None)
        stores.append(echo)
        numbers = iter(range(1000))
        ledger = Ledger(
            sink, bus, RecentDetails(), traces=traces, clock=clock or Clock(), wall=lambda: 1000.0
        )
        options = ExchangeOptions(True, True, times or KeepAliveTimes(), streams)
        pipeline = Pipeline(
            Gateway.of(backend),
            echo,
            ledger,
            PipelineOptions(frozenset(), options, tools),
            lambda prefix: f"{prefix}{next(numbers)}",
        )
        return Rig(pipeline, backend, sink, bus, ledger)

    yield make
    for store in stores:
        await store.close()


def arrival(number: int = 1) -> Arrival:
    return Arrival(f"req_{number}", 1000.0, ClientInfo("session"), "{}")


def request(*texts: str, tools: tuple[ToolDefinition, ...] = ()) -> MessagesRequest:
    messages = tuple(
        Message("user" if i % 2 == 0 else "assistant", (TextBlock(text),))
        for i, text in enumerate(texts)
    )
    return MessagesRequest("claude-x", 100, messages, tools=tools)


def done(reason: str = "stop", output: int = 3) -> Finish:
    return Finish(reason, Usage(10, 20, 5, output), tokens=(7, 8, 9), decode_ms=100.0)  # type: ignore[arg-type]


def shape(events: list[StreamEvent]) -> list[str]:
    return [type(e).__name__ for e in events if not isinstance(e, Ping | Comment)]


async def run(rig: Rig, asked: MessagesRequest) -> list[StreamEvent]:
    exchange = await rig.pipeline.open(arrival(), asked)
    return [event async for event in exchange.events()]


@pytest.mark.parametrize("length", [10, 100_000])
async def test_the_conversation_is_logged_however_long_it_is(
    build: Callable[..., Rig], length: int
) -> None:
    """A long one is written down on another thread."""
    rig = build(Delta("Hello", 1), done())
    asked = "x" * length
    come = Arrival("req_1", 1000.0, ClientInfo("session"), asked)
    exchange = await rig.pipeline.open(come, request(asked))
    assert message_of([event async for event in exchange.events()])["stop_reason"] == "end_turn"
    bodies = [json.loads(message.body) for message in rig.sink.messages]
    assert bodies == [[{"type": "TextBlock", "text": text}] for text in (asked, "Hello")]
    detail = rig.ledger.recent.get("req_1")
    assert detail is not None
    assert json.loads(detail.response)["content"] == [{"type": "text", "text": "Hello"}]


async def test_text_becomes_one_block_and_one_row(build: Callable[..., Rig]) -> None:
    rig = build(Delta("Hel", 1), Delta("lo", 2), done())
    events = await run(rig, request("hi"))
    assert shape(events) == [
        "MessageStart", "BlockStart", "BlockDelta", "BlockDelta", "BlockStop",
        "MessageDelta", "MessageStop",
    ]  # fmt: skip
    assert isinstance(events[1], Ping), "the first keep-alive comes at once"
    body = message_of(events)
    assert body["content"] == [{"type": "text", "text": "Hello"}]
    assert body["stop_reason"] == "end_turn"
    (row,) = rig.sink.rows
    assert (row.status, row.stop_reason, row.output_tokens) == (200, "end_turn", 3)
    assert (row.input_tokens, row.cache_read_tokens, row.cache_creation_tokens) == (10, 20, 5)
    assert row.cache_level == "L1"
    assert row.tokens_per_second == pytest.approx(20.0)
    assert [m.role for m in rig.sink.messages] == ["user", "assistant"]


async def test_what_was_missed_is_in_the_row_and_on_the_bus(build: Callable[..., Rig]) -> None:
    miss = PrefixMiss(PrefixBreak.TOOLS_CHANGED, 4, -1, "then", "now", 900, 1.5)
    admission = replace(
        ADMISSION, tier=Tier.KV_DISK, miss=miss, from_disk=15, system_tokens=30, system_id="abcd"
    )
    rig = build(Delta("ok", 1), done(), admission=admission)
    heard = rig.bus.subscribe()
    await run(rig, request("hi"))
    (row,) = rig.sink.rows
    assert (row.prefix_break_cause, row.prefix_break_at) == ("tools_changed", 4)
    assert (row.prefix_break_message, row.tokens_lost, row.prefix_lost_ms) == (-1, 900, 1500.0)
    assert (row.prefix_break_before, row.prefix_break_after) == ("then", "now")
    assert (row.cache_tier, row.tokens_from_disk, row.system_id) == ("kv-disk", 15, "abcd")
    (admitted,) = (e for e in heard.drain() if isinstance(e, RequestAdmitted))
    assert (admitted.break_cause, admitted.miss, admitted.from_disk) == ("tools_changed", miss, 15)


async def test_what_was_reused_after_all_has_a_tier(build: Callable[..., Rig]) -> None:
    for read, tier in ((20, "kv"), (0, None)):
        finish = replace(done(), usage=Usage(35 - read, read, 0, 3))
        rig = build(Delta("ok", 1), finish)
        await run(rig, request("hi"))
        assert rig.sink.rows[0].cache_tier == tier


async def test_calls_text_and_thinking_keep_their_order(build: Callable[..., Rig]) -> None:
    text = f"<think>hm</think>I look.\n{CALL}\n{CALL}"
    admission = replace(ADMISSION, thinking=ThinkingMarkers("<think>", "</think>"))
    rig = build(*(Delta(c, 1) for c in text), done(), admission=admission)
    seen = rig.bus.subscribe()
    body = message_of(await run(rig, request("hi", tools=(BASH,))))
    content = body["content"]
    assert isinstance(content, list)
    kinds = [block["type"] for block in content]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]
    assert content[0]["thinking"] == "hm"
    assert content[0]["signature"]
    assert content[2]["input"] == {"command": "ls"}
    assert content[2]["id"] != content[3]["id"]
    assert body["stop_reason"] == "tool_use"
    assert [c.verdict for c in rig.sink.calls] == ["valid", "valid"]
    assert sum(isinstance(e, ToolCallSeen) for e in seen.drain()) == 2


async def test_a_call_that_cannot_be_read_is_shown_and_logged(build: Callable[..., Rig]) -> None:
    rig = build(Delta("<tool_call>{oops</tool_call>", 9), done())
    body = message_of(await run(rig, request("hi", tools=(BASH,))))
    content = body["content"]
    assert isinstance(content, list)
    assert "{oops" in json.dumps(content)
    assert body["stop_reason"] == "end_turn"
    assert [c.verdict for c in rig.sink.calls] == ["unparsed"]


async def test_markup_is_text_when_no_tool_was_offered(build: Callable[..., Rig]) -> None:
    rig = build(Delta(CALL, 9), done())
    body = message_of(await run(rig, request("hi")))
    assert CALL in json.dumps(body["content"]).replace('\\"', '"').replace("\\n", "\n")
    assert rig.sink.calls == []


@pytest.mark.parametrize(
    ("reason", "stop_reason"), [("length", "max_tokens"), ("stop_sequence", "stop_sequence")]
)
async def test_stop_reasons(build: Callable[..., Rig], reason: str, stop_reason: str) -> None:
    finish = replace(done(reason), stop_sequence="END" if reason == "stop_sequence" else None)
    rig = build(Delta("x", 1), finish)
    body = message_of(await run(rig, request("hi")))
    assert body["stop_reason"] == stop_reason
    assert body["stop_sequence"] == finish.stop_sequence


async def test_refusals_raise_before_the_first_byte(build: Callable[..., Rig]) -> None:
    rig = build(refuse=Overloaded("full", retry_after=5))
    with pytest.raises(Overloaded):
        await rig.pipeline.open(arrival(), request("hi"))
    (row,) = rig.sink.rows
    assert (row.status, row.error_category, row.error_message) == (529, "resource", "full")


async def test_a_failing_backend_ends_the_stream_with_one_error(build: Callable[..., Rig]) -> None:
    rig = build(Delta("par", 1), EngineFailed("no memory"))
    events = await run(rig, request("hi"))
    assert events[-1] == StreamError("api_error", "no memory")
    assert shape(events).count("StreamError") == 1
    assert rig.sink.rows[0].status == 500
    exchange = await rig.pipeline.open(arrival(2), request("hi"))
    with pytest.raises(EngineFailed):
        await exchange.message()


async def test_hanging_up_cancels_and_leaves_a_row(build: Callable[..., Rig]) -> None:
    rig = build(Prefill(1, 2))
    finished = rig.bus.subscribe()
    exchange = await rig.pipeline.open(arrival(), request("hi"))
    events = exchange.events()
    assert isinstance(await anext(events), MessageStart)
    await events.aclose()
    await rig.ledger.settle()
    assert rig.backend.generations[0].cancelled.is_set()
    assert [(r.status, r.error_message) for r in rig.sink.rows] == [(499, "the client hung up")]
    assert any(isinstance(e, RequestFinished) for e in finished.drain())


async def test_cancel_from_the_console_ends_in_an_error_event(build: Callable[..., Rig]) -> None:
    rig = build(Prefill(1, 2))
    exchange = await rig.pipeline.open(arrival(), request("hi"))
    events = exchange.events()
    await anext(events)
    assert await rig.pipeline.cancel("req_1")
    rest = [event async for event in events]
    assert isinstance(rest[-1], StreamError)
    assert rig.backend.generations[0].cancelled.is_set()
    assert not await rig.pipeline.cancel("req_1")


async def test_keepalive_pings_then_progress_then_empty_deltas(build: Callable[..., Rig]) -> None:
    # Every look at the clock is a second later, so that nothing has to be waited for.
    times = KeepAliveTimes(ping=0.5, progress=0.3, empty_delta=240)
    rig = build(Prefill(4096, 13210), times=times, clock=Clock(step=1.0))
    exchange = await rig.pipeline.open(arrival(), request("hi"))
    seen: list[StreamEvent] = []
    events = exchange.events()
    async for event in events:
        seen.append(event)
        if isinstance(event, BlockDelta):
            break
    comments = [e.text for e in seen if isinstance(e, Comment)]
    assert set(comments) == {"prefill 4096/13210"}
    pings = sum(isinstance(e, Ping) for e in seen)
    assert pings > 20, "four minutes of pings come first"
    assert seen[-2:] == [
        BlockStart(0, {"type": "text", "text": ""}),
        BlockDelta(0, {"type": "text_delta", "text": ""}),
    ]
    rig.backend.generations[0].more.put_nowait(Delta("answer", 1))
    rig.backend.generations[0].more.put_nowait(done())
    seen += [event async for event in events]
    assert message_of(seen)["content"] == [{"type": "text", "text": "answer"}]


async def test_the_next_turn_gets_its_tokens_back(build: Callable[..., Rig]) -> None:
    rig = build(Delta("Hello", 3), done())
    await run(rig, request("hi"))
    await rig.pipeline.open(arrival(2), request("hi", "Hello", "again"))
    assert [e.tokens for e in rig.backend.requests[1].echoes] == [(7, 8, 9)]
    await rig.pipeline.open(arrival(3), request("hi", "Hallo", "again"))
    assert rig.backend.requests[2].echoes == ()


async def test_a_turn_is_remembered_with_its_own_requests_thinking(
    build: Callable[..., Rig],
) -> None:
    rig = build(Delta("Hello", 3), done())
    await run(rig, replace(request("hi"), thinking=Thinking(enabled=True)))
    await run(rig, replace(request("ho"), thinking=Thinking(enabled=False)))
    await rig.pipeline.open(arrival(3), request("hi", "Hello", "again"))
    await rig.pipeline.open(
        arrival(4), replace(request("ho", "Hello", "again"), thinking=Thinking(enabled=True))
    )
    fates = [[e.thinking for e in asked.echoes] for asked in rig.backend.requests[2:]]
    assert fates == [[True], [False]]


async def test_count_writes_a_row_of_its_role(build: Callable[..., Rig]) -> None:
    rig = build()
    assert await rig.pipeline.count(arrival(), request("hi")) == 35
    assert [(r.role, r.input_tokens, r.status) for r in rig.sink.rows] == [("count", 35, 200)]


async def test_the_answer_is_kept_as_it_was_sent(build: Callable[..., Rig]) -> None:
    text = f"<think>hm</think>I look.\n{CALL}"
    admission = replace(ADMISSION, thinking=ThinkingMarkers("<think>", "</think>"))
    rig = build(*(Delta(c, 1) for c in text), done(), admission=admission)
    asked = request("hi", tools=(BASH,))
    sent = message_of(await run(rig, asked))
    kept = rig.ledger.recent.get("req_1")
    assert kept is not None
    assert json.loads(kept.response) == sent
    exchange = await rig.pipeline.open(arrival(2), asked)
    whole = await exchange.message()
    kept = rig.ledger.recent.get("req_2")
    assert kept is not None
    assert json.loads(kept.response) == whole
    assert whole["usage"] == sent["usage"]


class Kept:
    """Takes traces and streams as they are handed over."""

    def __init__(self) -> None:
        self.traces: list[tuple[RequestRecord, RequestDetail]] = []
        self.streams: dict[str, list[tuple[float, StreamEvent]]] = {}
        self.closed: list[str] = []

    def put(self, record: RequestRecord, detail: RequestDetail) -> None:
        self.traces.append((record, detail))

    def begin(self, request_id: str, elapsed_ms: Callable[[], float]) -> Notes:
        self.streams[request_id] = []
        return Notes(self, request_id, elapsed_ms)


@dataclass
class Notes:
    kept: Kept
    id: str
    elapsed_ms: Callable[[], float]

    def add(self, event: StreamEvent) -> None:
        self.kept.streams[self.id].append((self.elapsed_ms(), event))

    def close(self) -> None:
        self.kept.closed.append(self.id)


async def test_every_finished_request_is_traced_whole(build: Callable[..., Rig]) -> None:
    kept = Kept()
    rig = build(Delta("Hello", 3), done(), traces=kept)
    await run(rig, request("hi"))
    await rig.pipeline.count(arrival(2), request("hi"))
    await rig.pipeline.reject(arrival(3), ApiError("odd"))
    assert [(r.id, r.status) for r, _ in kept.traces] == [
        ("req_1", 200), ("req_2", 200), ("req_3", 500),
    ]  # fmt: skip
    detail = kept.traces[0][1]
    assert (detail.body, detail.output) == ("{}", "Hello")
    assert json.loads(detail.response)["content"] == [{"type": "text", "text": "Hello"}]


async def test_streams_are_taken_down_as_sent(build: Callable[..., Rig]) -> None:
    kept = Kept()
    rig = build(Delta("par", 1), EngineFailed("no memory"), streams=kept, clock=Clock(0.25))
    events = await run(rig, request("hi"))
    assert [event for _, event in kept.streams["req_1"]] == events
    assert isinstance(events[-1], StreamError)
    times = [ms for ms, _ in kept.streams["req_1"]]
    assert times == sorted(times)
    assert times[0] > 0
    exchange = await rig.pipeline.open(arrival(2), request("hi"))
    stream = exchange.events()
    await anext(stream)
    await stream.aclose()
    await rig.ledger.settle()
    assert kept.closed == ["req_1", "req_2"]
