"""What a client sees of a backend's failures, and what they leave behind: nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from anyclaude.config.settings import BackendSettings, RouteSettings
from anyclaude.events import FirstToken
from tests.doubles.anthropic_streams import recorded
from tests.doubles.chaos_upstream import (
    SSE_HEAD,
    Behaviour,
    Chaos,
    Connection,
    chaos,
    chunk,
    drip,
    free_port,
    garbage,
    raw,
    raw_then,
    raw_then_hang,
    reply,
)
from tests.gateway.kit import CALM, Answered, Census, Gate, anthropic, gate, openai, until

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n"
TIMES: dict[str, Any] = {"headers_timeout": 0.2, "idle_timeout": 0.2}


def sse(name: str, **data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 9},
}
START = sse("message_start", message=MESSAGE)
BLOCK = sse("content_block_start", index=0, content_block={"type": "text", "text": ""})
WORD = sse("content_block_delta", index=0, delta={"type": "text_delta", "text": "Par"})
END = (
    sse("content_block_stop", index=0)
    + sse("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3})
    + sse("message_stop")
)
BEGUN = START + BLOCK + WORD
ERROR = sse("error", error={"type": "overloaded_error", "message": "Overloaded"})

OPENAI_WORD = b'data: {"choices":[{"index":0,"delta":{"content":"Par"}}]}\n\n'


async def reset(connection: Connection) -> None:
    connection.reset()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client is to see: a status and a type, after these whole events if it is a 200."""

    status: int
    type: str
    category: str
    before: bytes | None = None


@asynccontextmanager
async def behind(
    tmp_path: Path, make: Callable[[str], BackendSettings]
) -> AsyncIterator[tuple[Gate, Chaos]]:
    """The server and its misbehaving backend, which has been through one request."""
    async with chaos(reply("500 Oh", b"{}")) as there, gate(tmp_path, {"b": make(there.url)}) as at:
        await at.ask()
        await until(lambda: not there.open)
        there.requests.clear()
        yield at, there


@pytest.fixture
async def claude(tmp_path: Path) -> AsyncIterator[tuple[Gate, Chaos]]:
    async with behind(tmp_path, lambda url: anthropic(url, **TIMES)) as both:
        yield both


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[tuple[Gate, Chaos]]:
    async with behind(tmp_path, lambda url: openai(f"{url}/v1", **TIMES)) as both:
        yield both


@pytest.fixture(params=["anthropic", "openai"])
async def either(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Gate, Chaos]]:
    path, make = {"anthropic": ("", anthropic), "openai": ("/v1", openai)}[request.param]
    async with behind(tmp_path, lambda url: make(url + path, **TIMES)) as both:
        yield both


BEFORE: dict[str, tuple[Behaviour, Seen]] = {
    "closed before the status": (raw(), Seen(502, "api_error", "network")),
    "closed in the headers": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-ty"),
        Seen(502, "api_error", "network"),
    ),
    "reset": (reset, Seen(502, "api_error", "network")),
    "garbage": (garbage(), Seen(502, "api_error", "schema")),
    "a page": (
        reply("200 OK", b"<html><title>Sign in</title></html>", "content-type: text/html"),
        Seen(502, "api_error", "schema"),
    ),
    "a redirect": (
        reply("307 Temporary Redirect", b"", "location: /elsewhere"),
        Seen(502, "api_error", "schema"),
    ),
    "a 500": (reply("500 Oh", b"boom"), Seen(500, "api_error", "unknown")),
    "a 503": (reply("503 Busy", b"busy"), Seen(503, "overloaded_error", "resource")),
    "silence before the status": (raw_then_hang(), Seen(504, "timeout_error", "timeout")),
    "silence in the headers": (
        raw_then_hang(b"HTTP/1.1 200"),
        Seen(504, "timeout_error", "timeout"),
    ),
    "silence before content": (
        raw_then_hang(SSE_HEAD, chunk(b": hi\n\n")),
        Seen(504, "timeout_error", "timeout"),
    ),
    "a stream of nothing": (
        raw(SSE_HEAD, b"0\r\n\r\n"),
        Seen(502, "api_error", "schema"),
    ),
    "a body shorter than declared": (
        raw(JSON_HEAD, b'{"id":'),
        Seen(502, "api_error", "schema"),
    ),
    "a body that is no answer": (
        reply("200 OK", b"[1]", "content-type: application/json"),
        Seen(502, "api_error", "schema"),
    ),
}


@pytest.mark.parametrize("name", BEFORE)
async def test_before_any_content_it_is_a_status(name: str, either: tuple[Gate, Chaos]) -> None:
    at, there = either
    there.behaviour, seen = BEFORE[name]
    census = Census.now()
    for stream in (False, True):
        got = await at.ask(stream=stream)
        assert (got.status, error_of(got)["type"]) == (seen.status, seen.type)
    assert len(there.requests) == 2
    await census.again()
    for row in (await at.rows("status, error_category, retries"))[-2:]:
        assert row == (seen.status, seen.category, 0)


def error_of(got: Answered) -> dict[str, str]:
    try:
        error: dict[str, str] = got.json["error"]
    except ValueError:  # Not of the client's API, passed on all the same.
        return {"type": "api_error" if got.status != 503 else "overloaded_error"}
    return error


async def test_refused(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    async with gate(tmp_path, {"claude": anthropic(address)}) as at:
        await at.ask()
        census = Census.now()
        got = await at.stream()
        assert (got.status, error_of(got)["type"]) == (502, "api_error")
        assert "connection refused" in error_of(got)["message"]
        await census.again()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((), None),
        (("retry-after: 7",), "7"),
        (("retry-after: Thu, 28 May 2026 20:27:10 GMT",), "Thu, 28 May 2026 20:27:10 GMT"),
        (("retry-after-ms: 250",), None),
    ],
)
async def test_a_429_keeps_its_own_words(
    claude: tuple[Gate, Chaos], headers: tuple[str, ...], seconds: str | None
) -> None:
    at, there = claude
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}'
    there.behaviour = reply("429 Slow", body, "content-type: application/json", *headers)
    got = await at.stream()
    assert (got.status, got.body) == (429, body)
    assert got.headers.get("retry-after") == seconds


async def test_a_429_of_another_api_is_told_in_the_clients_own(other: tuple[Gate, Chaos]) -> None:
    """Its client knows seconds alone."""
    at, there = other
    late = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    for headers, least, most in (
        ((), None, None),
        (("retry-after: 7",), 7, 7),
        ((f"retry-after: {late}",), 1, 40),
        (("retry-after-ms: 2500",), 3, 3),
    ):
        body = b'{"error":{"message":"slow","type":"requests","code":"rate_limit_exceeded"}}'
        there.behaviour = reply("429 Slow", body, "content-type: application/json", *headers)
        got = await at.stream()
        assert (got.status, error_of(got)["type"]) == (429, "rate_limit_error")
        told = got.headers.get("retry-after")
        assert told is None if least is None else least <= int(told or 0) <= (most or 0)


async def test_a_storm_of_500s(claude: tuple[Gate, Chaos]) -> None:
    at, there = claude
    there.behaviour = reply("500 Oh", b"boom")
    census = Census.now()
    answers = await asyncio.gather(*(at.ask(stream=bool(n % 2)) for n in range(40)))
    assert {got.status for got in answers} == {500}
    await census.again()
    assert len(await at.rows("id")) == 41


MIDDLE: dict[str, tuple[Behaviour, Seen]] = {
    "half an event": (
        raw(SSE_HEAD, chunk(BEGUN), chunk(WORD[:40])),
        Seen(200, "api_error", "schema", BEGUN),
    ),
    "an early end": (
        raw(SSE_HEAD, chunk(BEGUN), b"0\r\n\r\n"),
        Seen(200, "api_error", "schema", BEGUN),
    ),
    "an early end in an event": (
        raw(SSE_HEAD, chunk(BEGUN + WORD[:40]), b"0\r\n\r\n"),
        Seen(200, "api_error", "schema", BEGUN),
    ),
    "silence": (
        raw_then_hang(SSE_HEAD, chunk(BEGUN)),
        Seen(200, "timeout_error", "timeout", BEGUN),
    ),
    "silence in an event": (
        raw_then_hang(SSE_HEAD, chunk(BEGUN + WORD), chunk(WORD[:9])),
        Seen(200, "timeout_error", "timeout", BEGUN + WORD),
    ),
    "an error of its own": (
        raw(SSE_HEAD, chunk(BEGUN + ERROR), b"0\r\n\r\n"),
        Seen(200, "overloaded_error", "resource", BEGUN),
    ),
    "an error of its own, then silence": (
        raw_then_hang(SSE_HEAD, chunk(BEGUN + ERROR)),
        Seen(200, "overloaded_error", "resource", BEGUN),
    ),
    "an error of its own that is cut off": (
        raw(SSE_HEAD, chunk(BEGUN + ERROR), b"ff\r\nhal"),
        Seen(200, "overloaded_error", "resource", BEGUN),
    ),
}


@pytest.mark.parametrize("name", MIDDLE)
async def test_after_content_it_is_one_error_event(name: str, claude: tuple[Gate, Chaos]) -> None:
    at, there = claude
    there.behaviour, seen = MIDDLE[name]
    census = Census.now()
    got = await at.stream()
    assert got.status == seen.status
    assert not got.broken
    assert seen.before is not None
    assert got.body.startswith(seen.before + b"event: error\n")
    assert got.kinds.count("error") == 1
    assert got.events[-1]["error"]["type"] == seen.type
    assert len(there.requests) == 1
    await census.again()
    assert (await at.row("error_category, retries"))[:2] == (seen.category, 0)


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(raw_then_hang(SSE_HEAD, chunk(BEGUN + END)), id="silence"),
        pytest.param(raw(SSE_HEAD, chunk(BEGUN + END)), id="closed"),
    ],
)
async def test_after_the_end_nothing_is_added(claude: tuple[Gate, Chaos], then: Behaviour) -> None:
    at, there = claude
    there.behaviour = then
    census = Census.now()
    got = await at.stream()
    assert got.body == BEGUN + END
    assert not got.broken
    await census.again()
    assert (await at.row("status, stop_reason, output_tokens")) == (200, "end_turn", 3)


OPENAI_MIDDLE: dict[str, tuple[bytes, str]] = {
    "half an event": (chunk(b"data: {"), "api_error"),
    "an early end": (b"0\r\n\r\n", "api_error"),
    "no chunk": (b"nonsense\r\n", "api_error"),
    "no JSON": (chunk(b"data: nope\n\n"), "api_error"),
    "an error of its own": (
        chunk(b'data: {"error":{"message":"out of memory","code":503}}\n\n'),
        "overloaded_error",
    ),
}


@pytest.mark.parametrize("name", OPENAI_MIDDLE)
async def test_the_same_where_answers_are_translated(name: str, other: tuple[Gate, Chaos]) -> None:
    at, there = other
    then, kind = OPENAI_MIDDLE[name]
    seen = asyncio.Event()
    there.behaviour = raw_then(seen, SSE_HEAD + chunk(OPENAI_WORD), then)
    census = Census.now()
    subscription = at.runtime.bus.subscribe()
    asking = asyncio.create_task(at.stream())
    async for event in subscription:
        if isinstance(event, FirstToken):
            break
    subscription.close()
    seen.set()
    got = await asking
    assert got.status == 200
    assert got.text == "Par"
    assert got.kinds.count("error") == 1
    assert got.events[-1]["error"]["type"] == kind
    assert len(there.requests) == 1
    await census.again()


async def test_a_stall_where_answers_are_translated(other: tuple[Gate, Chaos]) -> None:
    at, there = other
    there.behaviour = raw_then_hang(SSE_HEAD, chunk(OPENAI_WORD))
    got = await at.stream()
    assert (got.text, got.kinds.count("error")) == ("Par", 1)
    assert got.events[-1]["error"]["type"] == "timeout_error"
    await asyncio.wait_for(there.left.wait(), 5)


@pytest.mark.parametrize("seed", [1, 8])
async def test_a_slow_drip_is_an_answer(claude: tuple[Gate, Chaos], seed: int) -> None:
    at, there = claude
    body = BEGUN + WORD * seed + END
    there.behaviour = drip(body)
    got = await at.stream()
    assert got.body == body


@pytest.mark.parametrize("when", ["before the status", "before content", "in the middle"])
async def test_a_client_that_leaves_takes_the_backend_along(
    when: str, either: tuple[Gate, Chaos]
) -> None:
    at, there = either
    word = BEGUN if (await at.runtime.control.backends())[0].type == "anthropic" else OPENAI_WORD
    parts = {
        "before the status": (),
        "before content": (SSE_HEAD,),
        "in the middle": (SSE_HEAD, chunk(word)),
    }[when]
    quiet = asyncio.Event()

    async def hang(connection: Connection) -> None:
        await connection.send(*parts)
        quiet.set()
        await connection.hang()

    there.behaviour = hang
    there.asked.clear()
    there.left.clear()
    census = Census.now()
    task = asyncio.create_task(at.stream())
    await quiet.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(there.left.wait(), 5)
    await census.again()
    assert (await at.row("status, error_category")) == (499, "network")


async def test_nothing_is_tried_again_after_content(tmp_path: Path) -> None:
    async with (
        chaos(raw(SSE_HEAD, chunk(BEGUN))) as first,
        chaos(raw(SSE_HEAD, chunk(BEGUN + END), b"0\r\n\r\n")) as second,
    ):
        backends = {"a": anthropic(first.url), "b": anthropic(second.url, priority=1)}
        route = RouteSettings("*", ("a", "b"), "priority", fallback=("b",))
        resilience = replace(CALM, retries=2)
        async with gate(tmp_path, backends, route, resilience=resilience) as at:
            got = await at.stream()
            assert got.body.startswith(BEGUN + b"event: error\n")
            assert (len(first.requests), len(second.requests)) == (1, 0)


async def test_streams_of_every_kind_are_whole_or_end_in_one_error(
    claude: tuple[Gate, Chaos],
) -> None:
    """Cut anywhere, a stream is passed on up to an event's end, and said to be broken."""
    at, there = claude
    answer = next(a for a in map(recorded, range(100)) if a.whole and a.calls and a.text)
    for cut in range(len(answer.body) - 300, len(answer.body), 37):
        there.behaviour = raw(SSE_HEAD, chunk(answer.body[:cut]))
        got = await at.stream()
        sent, _, error = got.body.partition(b"event: error\n")
        assert answer.body.startswith(sent)
        assert got.kinds.count("error") == (1 if error else 0)
        assert bool(error) != sent.endswith(b'"message_stop"}\n\n')
