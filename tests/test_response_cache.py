"""Finished answers given again, by a whole runtime over real sockets and without any model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from anyclaude.backends.retold import retold
from anyclaude.bench.grammar import check_message, check_sse
from anyclaude.config.settings import (
    BackendSettings,
    CacheSettings,
    RouteSettings,
    ServerSettings,
    Settings,
)
from anyclaude.errors import InvalidRequest
from anyclaude.runtime import Runtime
from anyclaude.stream import StreamError
from anyclaude.types import Usage
from tests.caches.shared.test_shared_real import SERVER, Redis
from tests.doubles.anthropic_upstream import KEY, anthropic_double
from tests.doubles.openai_upstream import OpenAiUpstream
from tests.gateway.kit import Census

SCRIPT = """
[[answers]]
when = "capital"
says = "The capital of France is Paris."
[[answers]]
when = "list"
says = '''I look.
<tool_call>
{"name": "Bash", "arguments": {"command": "ls"}}
</tool_call>'''
"""
TOOL = {
    "name": "Bash",
    "description": "Runs a command",
    "input_schema": {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
    },
}
QUESTION = "What is the capital of France?"
OTHERWISE = "The script has nothing to say to that."


def body(text: str = QUESTION, **more: Any) -> dict[str, Any]:
    return {
        "model": "claude-x",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


@dataclass
class Stage:
    runtime: Runtime
    http: httpx.AsyncClient

    async def ask(self, asked: dict[str, Any], **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.http.post("/v1/messages", json=asked, headers=named)
        assert answer.status_code == 200, answer.text
        return answer

    async def kept(self) -> None:
        """Returns once what was kept has been written, to the disk and to Redis too."""
        await self.runtime.control._parts.pipeline._ledger.settle()  # type: ignore[attr-defined]

    async def row(self, answer: httpx.Response) -> dict[str, Any]:
        id = answer.headers["request-id"]
        found = await self.runtime.control.sql(f"select * from requests where id = '{id}'")
        (row,) = found.rows
        return dict(zip(found.columns, row, strict=True))

    async def hits(self) -> dict[str, int]:
        return {t.tier: t.hits for t in await self.runtime.control.cache() if t.hits}


def told(answer: httpx.Response) -> dict[str, str]:
    fields = (part.split("=", 1) for part in answer.headers["x-anyclaude-cache"].split("; "))
    return {name: value for name, value in fields}


def text_of(answer: httpx.Response) -> str:
    return "".join(block.get("text", "") for block in answer.json()["content"])


def settings_for(folder: Path, **cache: Any) -> Settings:
    folder.mkdir(exist_ok=True)
    script = folder / "script.toml"
    script.write_text(SCRIPT, "utf-8")
    return Settings(
        folder,
        folder / "log.duckdb",
        server=ServerSettings(port=0),
        cache=replace(CacheSettings(), **cache),
        backends=(("said", BackendSettings(type="scripted", script=str(script))),),
        routes=(RouteSettings("*", ("said",)),),
    )


@asynccontextmanager
async def staged(settings: Settings) -> AsyncIterator[Stage]:
    runtime = Runtime(settings)
    await runtime.start()
    try:
        async with httpx.AsyncClient(base_url=runtime.address, timeout=60, trust_env=False) as http:
            yield Stage(runtime, http)
    finally:
        await runtime.stop()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(settings_for(tmp_path / "data")) as stage:
        yield stage


# ------------------------------------------------------------------------------ from memory


async def test_a_repeated_request_is_answered_from_memory(stage: Stage) -> None:
    first = await stage.ask(body())
    streamed = await stage.ask(body(stream=True, metadata={"user_id": "x"}))
    whole = await stage.ask(body(model="claude-other"))
    made, read = told(first), check_sse(streamed.text.split("\n"))
    assert (made["tier"], len(made["key"])) == ("none", 16)
    assert read.problems == []
    assert [b["text"] for b in read.content] == ["The capital of France is Paris."]
    assert check_message(whole.json()) == []
    assert text_of(whole) == text_of(first)
    assert whole.json()["id"] != first.json()["id"]
    assert whole.json()["model"] == "claude-other"
    prompt = first.json()["usage"]["input_tokens"]
    for answer in (streamed, whole):
        fields = told(answer)
        assert (fields["tier"], fields["cause"], fields["key"]) == ("response", "none", made["key"])
        assert int(fields["reused"]) == int(fields["prompt"]) == prompt
        assert int(fields["age"]) >= 0
        assert answer.headers["x-anyclaude-backend"] == "cache"
        row = await stage.row(answer)
        assert (row["status"], row["cache_level"], row["cache_tier"]) == (200, "L2", "response")
        assert (row["cache_read_tokens"], row["input_tokens"]) == (prompt, 0)
        assert row["output_tokens"] == first.json()["usage"]["output_tokens"]
        assert row["time_saved_ms"] > 0
        assert row["route_reason"].startswith("answered from memory")
        assert row["ttft_ms"] is not None
    detail = await stage.runtime.control.detail(whole.headers["request-id"])
    assert json.loads(detail.response) == whole.json()
    assert detail.output == "The capital of France is Paris."
    assert await stage.hits() == {"response": 2}
    page = (await stage.http.get("/metrics")).text
    assert 'anyclaude_cache_hits_total{tier="response"} 2' in page


async def test_the_sdk_takes_what_comes_from_the_cache(stage: Stage) -> None:
    async with anthropic.AsyncAnthropic(
        base_url=stage.runtime.address, api_key="local", max_retries=0
    ) as client:
        asked: dict[str, Any] = body("list the files", tools=[TOOL])
        ids = set()
        for _ in range(3):
            async with client.messages.stream(**asked) as stream:
                message = await stream.get_final_message()
            call = message.content[-1]
            assert message.stop_reason == "tool_use"
            assert isinstance(call, anthropic.types.ToolUseBlock)
            assert call.input == {"command": "ls"}
            ids.add(call.id)
    assert len(ids) == 3, "a call that comes again is another call"
    rows = (await stage.runtime.control.sql("select tool_use_id, verdict from tool_calls")).rows
    assert {id for id, _ in rows} == ids
    assert {verdict for _, verdict in rows} == {"valid"}
    assert await stage.hits() == {"response": 2}


async def test_whatever_changes_the_answer_asks_anew(stage: Stage) -> None:
    await stage.ask(body())
    for other in (
        body("What is the capital of Spain?"),
        body(max_tokens=50),
        body(system="Be brief."),
        body(tools=[TOOL]),
        body(stop_sequences=["x"]),
    ):
        assert told(await stage.ask(other))["tier"] == "none"
    assert await stage.hits() == {}


async def test_errors_and_counts_stay_out(stage: Stage) -> None:
    for _ in range(2):
        refused = await stage.http.post("/v1/messages", json=body(max_tokens=0))
        assert refused.status_code == 400
        counted = await stage.http.post("/v1/messages/count_tokens", json=body())
        assert counted.status_code == 200
    tiers = {t.tier: t for t in await stage.runtime.control.cache()}
    assert (tiers["response"].hits, tiers["response"].entries) == (0, 0)
    for _ in range(2):
        probe = await stage.ask(body(max_tokens=1))
    assert told(probe)["tier"] == "response", "probes may be answered"


async def test_what_a_request_says_of_caches_is_honoured(stage: Stage) -> None:
    ask = stage.ask
    assert told(await ask(body(), cache_control="no-store"))["tier"] == "none"
    assert told(await ask(body()))["tier"] == "none", "nothing was stored"
    assert told(await ask(body(), cache_control="no-cache"))["tier"] == "none"
    assert told(await ask(body(), x_anyclaude_cache_control="max-age=600"))["tier"] == "response"
    missed = await stage.http.post(
        "/v1/messages", json=body("unknown"), headers={"cache-control": "only-if-cached"}
    )
    assert missed.status_code == 504
    assert missed.json()["error"]["type"] == "not_found_error"
    assert told(await ask(body(), cache_control="only-if-cached"))["tier"] == "response"
    rows = (await stage.runtime.control.sql("select status from requests order by rowid")).rows
    assert rows[-2:] == ((504,), (200,))


async def test_a_request_that_is_sampled_gets_an_answer_of_its_own(stage: Stage) -> None:
    for _ in range(2):
        assert told(await stage.ask(body(temperature=0.7)))["tier"] == "none"
    for tier in ("none", "response"):
        assert told(await stage.ask(body(temperature=0.0)))["tier"] == tier


async def test_a_replay_from_the_console_neither_reads_nor_writes(stage: Stage) -> None:
    first = await stage.ask(body(), cache_control="no-store")
    events = stage.runtime.bus.subscribe()
    for _ in range(2):
        again = await stage.runtime.control.replay(first.headers["request-id"])
        async with asyncio.timeout(60):
            async for event in events:
                record = getattr(event, "record", None)
                if record is not None and record.id == again:
                    assert record.backend == "said"
                    break
    events.close()
    assert told(await stage.ask(body()))["tier"] == "none"


async def test_switched_off_it_says_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    async with staged(settings_for(tmp_path / "data", l2=False)) as stage:
        for _ in range(2):
            answer = await stage.ask(body())
            assert (told(answer)["tier"], told(answer).get("key")) == ("none", None)
        missed = await stage.http.post(
            "/v1/messages", json=body(), headers={"cache-control": "only-if-cached"}
        )
        assert missed.status_code == 504
        tiers = {t.tier: t.enabled for t in await stage.runtime.control.cache()}
        assert not any(tiers[t] for t in ("response", "response-disk", "shared", "semantic"))
        with pytest.raises(InvalidRequest, match="switched off"):
            await stage.runtime.control.flush("response")
        assert not (tmp_path / "data" / "responses.sqlite").exists()


# ------------------------------------------------------------------------- disk and flushes


async def test_a_restarted_server_answers_from_disk(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data", response_disk=True)
    async with staged(settings) as stage:
        await stage.ask(body())
    async with staged(settings) as stage:
        answer = await stage.ask(body())
        assert told(answer)["tier"] == "response-disk"
        row = await stage.row(answer)
        assert (row["cache_level"], row["cache_tier"]) == ("L3", "response-disk")
        assert told(await stage.ask(body()))["tier"] == "response", "it was put into memory"
        assert await stage.hits() == {"response": 1, "response-disk": 1}


async def test_a_flush_really_empties(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data", response_disk=True)
    async with staged(settings) as stage:
        await stage.ask(body())
        await stage.kept()
        control = stage.runtime.control
        (memory,) = await control.flush("response")
        assert (memory.tier, memory.entries) == ("response", 1)
        assert told(await stage.ask(body()))["tier"] == "response-disk"
        (disk,) = await control.flush("response-disk")
        assert disk.entries == 1
        assert disk.bytes > 0
        everything = await control.flush("all")
        assert [f.tier for f in everything] == ["response", "response-disk", "search"]
        assert told(await stage.ask(body()))["tier"] == "none"
        await control.flush()
        assert {t.tier: t.entries for t in await control.cache()}["response-disk"] == 0
        with pytest.raises(InvalidRequest, match="there is no tier 'l9' here"):
            await control.flush("l9")
    files = (tmp_path / "data").glob("responses.sqlite*")
    assert not any(b"Paris" in file.read_bytes() for file in files)


async def test_private_answers_stay_in_memory(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data", response_disk=True)
    async with staged(settings) as stage:
        await stage.ask(body(), cache_control="private")
        assert told(await stage.ask(body()))["tier"] == "response"
    async with staged(settings) as stage:
        assert told(await stage.ask(body()))["tier"] == "none"


# ------------------------------------------------------------------------------------ shared


@pytest.mark.skipif(SERVER is None, reason="no redis-server is installed")
async def test_two_servers_share_their_answers(tmp_path: Path) -> None:
    redis = Redis(tmp_path)
    await redis.start()
    # The same script for both: an answer of another one is another's.
    one = settings_for(tmp_path / "one", redis_url=f"unix://{redis.socket}")
    two = replace(one, data_dir=tmp_path / "two", db=tmp_path / "two.duckdb")
    try:
        async with staged(one) as first, staged(two) as second:
            await first.ask(body())
            await first.kept()
            answer = await second.ask(body())
            assert told(answer)["tier"] == "shared"
            row = await second.row(answer)
            assert (row["cache_level"], row["cache_tier"]) == ("L2", "shared")
            await second.runtime.control.flush("response")
            (gone,) = await first.runtime.control.flush("shared")
            assert gone.entries == 1
            assert told(await second.ask(body()))["tier"] == "none"
    finally:
        await redis.stop()


@pytest.mark.skipif(SERVER is None, reason="no redis-server is installed")
async def test_a_private_redis_gets_no_answers(tmp_path: Path) -> None:
    redis = Redis(tmp_path)
    await redis.start()
    url = f"unix://{redis.socket}"
    settings = settings_for(tmp_path / "data", redis_url=url, redis_private=True)
    try:
        async with staged(settings) as stage:
            await stage.ask(body())
            await stage.kept()
            assert told(await stage.ask(body()))["tier"] == "response"
            tiers = {t.tier: t.enabled for t in await stage.runtime.control.cache()}
            assert tiers["shared"] is False
        from redis.asyncio import Redis as Client

        client = Client.from_url(url)
        assert await client.keys("*answer*") == []
        await client.aclose()
    finally:
        await redis.stop()


async def test_a_redis_that_is_away_costs_its_tier_alone(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data", redis_url=f"unix://{tmp_path}/nobody.sock")
    async with staged(settings) as stage:
        assert told(await stage.ask(body()))["tier"] == "none"
        assert told(await stage.ask(body()))["tier"] == "response"


@pytest.mark.skipif(SERVER is None, reason="no redis-server is installed")
async def test_a_redis_that_dies_costs_no_answer_and_leaves_nothing(tmp_path: Path) -> None:
    redis = Redis(tmp_path)
    await redis.start()
    settings = settings_for(tmp_path / "data", redis_url=f"unix://{redis.socket}")
    async with staged(settings) as stage:
        await stage.ask(body())
        await stage.kept()
        await redis.stop()
        await stage.ask(body("What now?"))
        await stage.kept()
        census = Census.now()
        for number in range(5):
            for tier in ("none", "response"):
                answer = await stage.ask(body(f"Question {number}"))
                assert (text_of(answer), told(answer)["tier"]) == (OTHERWISE, tier)
        await stage.kept()
        await census.again()


# --------------------------------------------------------------------------------- by meaning

PARAPHRASE = "what's the capital of France please"


@pytest.mark.parametrize("on", [True, False])
async def test_by_meaning_only_when_it_is_switched_on(tmp_path: Path, on: bool) -> None:
    pytest.importorskip("wordllama")
    async with staged(settings_for(tmp_path / "data", semantic=on)) as stage:
        await stage.ask(body())
        await stage.kept()
        answer = await stage.ask(body(PARAPHRASE))
        assert told(answer)["tier"] == ("semantic" if on else "none")
        if on:
            assert float(told(answer)["similarity"]) >= 0.97
            assert (await stage.row(answer))["cache_level"] == "L2"
        with_tools = body(tools=[TOOL])
        await stage.ask(with_tools)
        await stage.kept()
        asked = {**with_tools, "messages": [{"role": "user", "content": PARAPHRASE}]}
        assert told(await stage.ask(asked))["tier"] == "none"


async def test_vectors_come_from_a_backend_and_outlive_the_process(tmp_path: Path) -> None:
    async with OpenAiUpstream() as upstream:
        upstream.vector = lambda text: [1.0, 0.0, 0.5]
        settings = settings_for(
            tmp_path / "data", semantic=True, embeddings="lm/e5/small", response_disk=True
        )
        lm = BackendSettings(type="openai", base_url=upstream.base_url, profile="generic")
        settings = replace(settings, backends=(*settings.backends, ("lm", lm)))
        async with staged(settings) as stage:
            await stage.ask(body())
            await stage.kept()
        async with staged(settings) as stage:
            assert told(await stage.ask(body(PARAPHRASE)))["tier"] == "semantic"
            assert told(await stage.ask(body("What is the capital of Spain?")))["tier"] == "none"
            await stage.kept()
            (gone,) = await stage.runtime.control.flush("semantic")
            assert gone.entries == 2
        assert {asked["model"] for asked in upstream.embedded} == {"e5/small"}


# ----------------------------------------------------------------------- passed on, fallbacks


def sse(*events: dict[str, Any]) -> list[bytes]:
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


USAGE = {"input_tokens": 12, "output_tokens": 1}
START = {
    "type": "message_start",
    "message": {
        "id": "msg_up", "type": "message", "role": "assistant", "model": "claude-opus-5",
        "content": [], "stop_reason": None, "stop_sequence": None, "usage": USAGE,
    },
}  # fmt: skip
TEXT: Sequence[dict[str, Any]] = (
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "From afar."},
    },
    {"type": "content_block_stop", "index": 0},
)
END: Sequence[dict[str, Any]] = (
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 3},
    },
    {"type": "message_stop"},
)


def passing(folder: Path, url: str) -> Settings:
    up = BackendSettings(type="anthropic", base_url=url)
    settings = settings_for(folder)
    return replace(settings, backends=(("up", up),), routes=(RouteSettings("*", ("up",)),))


async def test_answers_that_are_passed_on_are_kept(tmp_path: Path) -> None:
    headers = {"x_api_key": KEY, "anthropic_version": "2023-06-01"}
    asked = body(model="claude-opus-5")
    async with anthropic_double() as double:
        double.streams = lambda: sse(START, *TEXT, *END)
        double.message = {
            **START["message"],
            "content": [{"type": "text", "text": "At once."}],
            "stop_reason": "end_turn",
            "usage": {**USAGE, "output_tokens": 4},
        }
        async with staged(passing(tmp_path / "data", double.url)) as stage:
            first = await stage.ask({**asked, "stream": True}, **headers)
            assert len(told(first)["key"]) == 16
            again = await stage.ask(asked, **headers)
            assert (told(again)["tier"], text_of(again)) == ("response", "From afar.")
            assert again.json()["usage"] == {
                "input_tokens": 0,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 12,
                "output_tokens": 3,
            }
            other = {**asked, "service_tier": "standard_only"}
            assert text_of(await stage.ask(other, **headers)) == "At once."
            assert told(await stage.ask(other, **headers))["tier"] == "response"
            beta = {**headers, "anthropic_beta": "context-1m-2025-08-07"}
            assert told(await stage.ask(asked, **beta))["tier"] == "none"
        assert len(double.requests) == 3


async def test_half_an_answer_is_not_kept(tmp_path: Path) -> None:
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
    asked = body(model="claude-opus-5", stream=True)
    async with anthropic_double() as double:
        double.streams = lambda: sse(START, *TEXT)
        async with staged(passing(tmp_path / "data", double.url)) as stage:
            for _ in range(2):
                await stage.http.post("/v1/messages", json=asked, headers=headers)
        assert len(double.requests) == 2


async def test_what_a_fallback_says_is_not_kept(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")
    gone = BackendSettings(type="openai", base_url="http://127.0.0.1:9/v1", profile="generic")
    settings = replace(
        settings,
        backends=(*settings.backends, ("gone", gone)),
        routes=(RouteSettings("*", ("gone/m",), fallback=("said",)),),
    )
    async with staged(settings) as stage:
        for _ in range(2):
            answer = await stage.ask(body())
            assert (told(answer)["tier"], answer.headers["x-anyclaude-backend"]) == ("none", "said")


@pytest.mark.parametrize(
    ("whole", "streams"),
    [(b"data: {}\n\n", True), (b"{", False), (b'{"type":"error"}', False), (b"[]", False)],
)
def test_what_cannot_be_read_is_no_answer(whole: bytes, streams: bool) -> None:
    assert isinstance(retold(whole, streams=streams, usage=Usage())[-1], StreamError)
