"""anyclaude as an MCP server, asked by the official client in process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult, ListToolsResult, TextContent

from anyclaude.control import BackendInfo, Control, ModelInfo, Stats
from anyclaude.errors import Overloaded, UsageError
from anyclaude.events import Bus, EngineState, TierStats, Vitals
from anyclaude.mcp.server import stdio
from anyclaude.mcp.server.source import Ask, LogQuestion, Said
from anyclaude.mcp.server.stdio import server_of
from anyclaude.records import RequestRecord, SqlResult
from tests.mcp.test_mcp_slow import SLOW
from tests.server.fakes import FakeControl

TIER = TierStats("kv", True, 3, 1, 2, 5 * 2**20, 2**30, 4, 9_000, 12.5)
VITALS = Vitals(0.0, 1, 2, 33.0, 400.0, None, None, 2**20, 2**31, 0, 0.0, 1.0, (TIER,), True)
MODELS = (
    ModelInfo("smol", "/m/smol", 98 * 2**20, "4-bit", 8192, "template", True, True),
    ModelInfo("huge", "/m/huge", 2**40, "", 0, "unknown", False),
)


class Asked(FakeControl):
    """A control whose log has one slow turn."""

    async def requests(
        self, limit: int = 200, before: float | None = None
    ) -> tuple[RequestRecord, ...]:
        return (replace(SLOW, id="req_2", duration_ms=5.0, stop_reason="tool_use"), SLOW)

    async def running(self) -> tuple[RequestRecord, ...]:
        return (RequestRecord("req_3", 2.5, model="smol", backend="mlx", duration_ms=1_500.0),)

    async def sql(self, query: str, limit: int = 10_000, longest: int | None = None) -> SqlResult:
        self.done.append(("sql", query, limit))
        if "median" in query:
            return SqlResult(("n", "a", "b", "c"), ((5, 800.0, 900.0, 10.0),))
        if "FROM mcp_calls" in query:
            return SqlResult(("a", "b", "n", "ms"), (("files", "read", 2, 40.0),))
        if "FROM requests WHERE id = 'req_1'" in query:
            columns = ("id", "started_at", "model", "duration_ms", "of_a_newer_release")
            return SqlResult(columns, (("req_1", 1.0, "smol", 77_000.0, 1),))
        if "WHERE id" in query:
            return SqlResult(("id",), ())
        return SqlResult(("n",), ((1,), (2,)), truncated=True)

    async def stats(self) -> Stats:
        return Stats("1", "http://x", 1.0, EngineState("ready", "smol"), VITALS, 1, 0, 1, 0, 0)

    async def cache(self) -> tuple[TierStats, ...]:
        return (TIER, TierStats("semantic", False))

    async def models(self) -> tuple[ModelInfo, ...]:
        return MODELS

    async def backends(self) -> tuple[BackendInfo, ...]:
        away = BackendInfo("lm", "openai", False, 0, None, "refused", breaker="open")
        return (BackendInfo("mlx", "mlx", True, 1, 12.0), away)


@dataclass
class FakeSource:
    """Answers from :class:`Asked`; the model says ``said`` once ``gate`` is open."""

    asked: Asked = field(default_factory=lambda: Asked(Bus()))
    runs: bool = True
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asks: list[Ask] = field(default_factory=list)
    busy: bool = False

    @asynccontextmanager
    async def control(self) -> AsyncIterator[Control]:
        if not self.runs:
            raise UsageError("no anyclaude runs for /data; start 'anyclaude serve' and ask again")
        yield self.asked

    async def ask(self, ask: Ask) -> Said:
        self.asks.append(ask)
        if self.busy:
            raise Overloaded("the queue is full")
        await self.gate.wait()
        return Said("Paris.", "smol", 1_200, 3, True)

    def questions(self) -> tuple[LogQuestion, ...]:
        return (LogQuestion("latency", "How fast?", "SELECT * FROM latency"),)

    def render(self, result: SqlResult) -> str:
        return f"{len(result.rows)} rows"


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


class Asking:
    """A connection for each question: it must end in the task that began it."""

    def __init__(self, source: FakeSource) -> None:
        self._source = source

    async def list_tools(self) -> ListToolsResult:
        async with Client(server_of(self._source), mode="legacy") as client:
            return await client.list_tools()

    async def call_tool(
        self, name: str, arguments: dict[str, object] | None = None, **options: Any
    ) -> CallToolResult:
        async with Client(server_of(self._source), mode="legacy") as client:
            return await client.call_tool(name, arguments, **options)


@pytest.fixture
def client(source: FakeSource) -> Asking:
    return Asking(source)


def text_of(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def test_its_tools_are_listed_with_what_they_may_do(client: Asking) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == [
        "why_was_it_slow",
        "log_report",
        "log_sql",
        "cache_status",
        "models",
        "running_requests",
        "ask_local_model",
    ]
    changing = [n for n, t in tools.items() if not (t.annotations and t.annotations.read_only_hint)]
    assert changing == ["ask_local_model"]
    assert tools["log_report"].input_schema["properties"]["question"]["enum"] == ["latency"]
    assert all(tool.input_schema["additionalProperties"] is False for tool in tools.values())


async def test_the_last_finished_turn_is_explained_from_the_log(client: Asking) -> None:
    text = text_of(await client.call_tool("why_was_it_slow"))
    assert "reading the prompt: 9,000 of its 10,000 tokens were new" in text
    assert "system_changed" in text
    assert "5 requests before it" in text
    assert "read of the MCP server files, up to 0.04 s each" in text
    assert "slowest of that turn's 1 request" in text
    assert "Of the turn that is under way:\n- " in text


async def test_a_named_request_is_explained(client: Asking) -> None:
    text = text_of(await client.call_tool("why_was_it_slow", {"request_id": "req_1"}))
    assert text.startswith("Request req_1 (main, smol at no backend,")
    assert "took 77.0 s" in text


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        ("why_was_it_slow", {"request_id": "req_9"}, "the log has no request req_9"),
        ("why_was_it_slow", {"request_id": "' OR 1=1"}, "it is no request-id"),
        ("why_was_it_slow", {"id": "x"}, "'id' was unexpected"),
        ("log_report", {}, "'question' is a required property"),
        ("log_report", {"question": "gossip"}, "question: 'gossip' is not one of ['latency']"),
        ("log_sql", {"query": "SELECT 1", "limit": 10_000}, "limit: 10000 is greater than"),
        ("ask_local_model", {"prompt": ""}, "prompt: '' should be non-empty"),
        ("rm", {}, "there is no tool rm; there are: why_was_it_slow"),
    ],
)
async def test_mistakes_are_named(
    client: Asking, name: str, arguments: dict[str, object], complaint: str
) -> None:
    result = await client.call_tool(name, arguments)
    assert result.is_error
    assert complaint in text_of(result)


async def test_questions_and_sql_go_to_the_log_with_a_limit(
    client: Asking, source: FakeSource
) -> None:
    report = await client.call_tool("log_report", {"question": "latency", "limit": 7})
    assert text_of(report) == "How fast?\n\n2 rows\nThere are more than these 7 rows."
    await client.call_tool("log_sql", {"query": "SELECT 1"})
    assert source.asked.done == [("sql", "SELECT * FROM latency", 7), ("sql", "SELECT 1", 50)]


async def test_what_there_is_and_runs_is_told(client: Asking) -> None:
    caches = text_of(await client.call_tool("cache_status"))
    assert caches.splitlines() == [
        "- kv: 3 of 4 requests hit (75%); 5 MiB in 2 entries, at most 1.0 GiB; 4 evicted;"
        " saved 9,000 tokens and 12.5 s",
        "- semantic: off",
    ]
    models = text_of(await client.call_tool("models"))
    assert "- smol: loaded, 98 MiB, window 8,192, 4-bit" in models
    assert "- huge: too large for the memory, 1024.0 GiB, window unknown" in models
    assert "- lm (openai): not healthy (refused), 0 in flight, breaker open" in models
    running = text_of(await client.call_tool("running_requests"))
    assert running.startswith("1 answer under way, 2 waiting for the model, admission is paused")
    assert "- req_3 main, smol at mlx: for 1.5 s, no token yet" in running


async def test_the_local_model_gets_the_work(client: Asking, source: FakeSource) -> None:
    source.gate.set()
    result = await client.call_tool("ask_local_model", {"prompt": "Capital?", "system": "Brief."})
    assert source.asks == [Ask("Capital?", "Brief.", 1024, "")]
    assert text_of(result) == (
        "Paris.\n\n[smol: 1,200 prompt tokens, 3 written; cut off at max_tokens]"
    )


async def test_a_busy_model_and_a_stopped_server_are_errors_with_what_to_do(
    client: Asking, source: FakeSource
) -> None:
    source.busy = True
    busy = await client.call_tool("ask_local_model", {"prompt": "x"})
    assert (busy.is_error, text_of(busy)) == (True, "the queue is full")
    source.runs = False
    gone = await client.call_tool("cache_status")
    assert gone.is_error
    assert "start 'anyclaude serve'" in text_of(gone)


async def test_a_long_call_gives_signs_of_life(
    client: Asking, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio, "PROGRESS_S", 0.01)
    seen: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append(message)
        source.gate.set()

    await client.call_tool("ask_local_model", {"prompt": "x"}, progress_callback=progress)
    assert seen[0] is not None
    assert seen[0].startswith("Ask the local model")
