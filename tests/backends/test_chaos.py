"""Each way in which a server can fail, and what exactly comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from anyclaude.backends.http import Timeouts
from anyclaude.backends.relay import AnthropicBackend, AnthropicOptions
from anyclaude.backends.tap import Tap
from anyclaude.errors import UpstreamError
from tests.backends.kit import QUICK, asked, leaving_nothing
from tests.doubles.anthropic_streams import recorded
from tests.doubles.chaos_upstream import (
    SSE_HEAD,
    Behaviour,
    Chaos,
    chaos,
    chunk,
    drip,
    free_port,
    garbage,
    raw,
    raw_then,
    raw_then_hang,
    raw_then_reset,
    reply,
)

EVENT = b'event: ping\ndata: {"type":"ping"}\n\n'
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n"
NOW = 1_780_000_000.0


@asynccontextmanager
async def relay(
    behaviour: Behaviour, timeouts: Timeouts = QUICK
) -> AsyncIterator[tuple[AnthropicBackend, Chaos]]:
    async with leaving_nothing(), chaos(behaviour) as there:
        options = AnthropicOptions("there", there.url, timeouts=timeouts)
        backend = AnthropicBackend(options, clock=lambda: NOW)
        try:
            yield backend, there
        finally:
            await backend.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is raised, and the bytes of the body before it; ``None`` before there is an answer."""

    message: str
    status: int
    type: str
    category: str
    retryable: bool
    body: bytes | None = None


def network(message: str, body: bytes | None = None) -> Outcome:
    return Outcome(message, 502, "api_error", "network", True, body)


def schema(message: str, body: bytes | None = None) -> Outcome:
    return Outcome(message, 502, "api_error", "schema", True, body)


def timeout(message: str, body: bytes | None = None) -> Outcome:
    return Outcome(message, 504, "timeout_error", "timeout", True, body)


BROKEN: dict[str, tuple[Behaviour, Outcome]] = {
    "closed before the status": (
        raw(),
        network("there can't be reached: * closed the connection without an answer"),
    ),
    "closed in the headers": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-ty"),
        network("there can't be reached: * closed the connection without an answer"),
    ),
    "half an event": (
        raw(SSE_HEAD, chunk(EVENT), chunk(EVENT[:20])),
        schema("there sent a body that ends too early or can't be read", EVENT + EVENT[:20]),
    ),
    "half a chunk": (
        raw(SSE_HEAD, chunk(EVENT), b"ff\r\nhalf"),
        schema("there sent a body that ends too early or can't be read", EVENT + b"half"),
    ),
    "a body shorter than declared": (
        raw(JSON_HEAD, b'{"id":'),
        schema("there sent a body that ends too early or can't be read", b'{"id":'),
    ),
    "a body longer than declared": (
        raw(JSON_HEAD.replace(b"50", b"2") + b"{}{}"),
        schema("there sent something that isn't HTTP"),
    ),
    "garbage": (garbage(), schema("there sent something that isn't HTTP")),
    "a status that is none": (
        raw(b"HTTP/1.1 okay fine\r\n\r\n"),
        schema("there sent something that isn't HTTP"),
    ),
    "two lengths": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
        schema("there sent something that isn't HTTP"),
    ),
    "a length that is none": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nabcd"),
        schema("there sent something that isn't HTTP"),
    ),
    "a huge header": (
        raw(b"HTTP/1.1 200 OK\r\nx-policy: " + b"p" * 100_000 + b"\r\n\r\n"),
        schema("there sent something that isn't HTTP"),
    ),
    "a page": (
        reply("200 OK", b"<html><title>Sign in</title></html>", "content-type: text/html"),
        schema("there sent text/html where JSON or an event stream belongs: Sign in"),
    ),
    "a picture": (
        reply("200 OK", b"\x89PNG", "content-type: image/png"),
        schema("there sent image/png where JSON or an event stream belongs"),
    ),
    "a redirect": (
        reply("307 Temporary Redirect", b"", "location: /elsewhere"),
        Outcome(
            "there sent status 307 to /elsewhere; base_url must be the final address",
            *(502, "api_error", "schema", False),
        ),
    ),
    "a 500": (
        reply("500 Internal Server Error", b"boom"),
        Outcome("boom", 500, "api_error", "unknown", True),
    ),
    "a 500 that breaks off": (
        raw(b"HTTP/1.1 500 Oh\r\ncontent-length: 50\r\n\r\nbo"),
        Outcome("bo", 500, "api_error", "unknown", True),
    ),
    "a page with a 502": (
        reply("502 Bad Gateway", b"<html><title>502</title>" + b"x" * 9000),
        Outcome("502", 502, "api_error", "network", True),
    ),
}


@pytest.mark.parametrize(("behaviour", "outcome"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_fault(behaviour: Behaviour, outcome: Outcome) -> None:
    async with relay(behaviour) as (backend, there):
        await expect(backend, outcome)
        assert len(there.requests) == 1


async def expect(backend: AnthropicBackend, outcome: Outcome) -> UpstreamError:
    body: bytes | None = None
    with pytest.raises(UpstreamError) as caught:
        answer = await backend.relay(asked())
        body = b""
        async for piece in answer:
            body += piece
    error = caught.value
    before, _, after = outcome.message.partition("*")
    assert error.message.startswith(before)
    assert error.message.endswith(after)
    assert (error.status, error.type, error.category, error.retryable) == (
        outcome.status,
        outcome.type,
        outcome.category,
        outcome.retryable,
    )
    assert error.backend == "there"
    if outcome.body is not None:
        assert body == outcome.body
    return error


async def test_refused() -> None:
    async with leaving_nothing():
        url = f"http://127.0.0.1:{free_port()}"
        backend = AnthropicBackend(AnthropicOptions("there", url, timeouts=QUICK))
        await expect(backend, network("there can't be reached: 127.0.0.1:*: connection refused"))
        await backend.close()


async def test_reset_before_the_status() -> None:
    when = asyncio.Event()
    when.set()
    async with relay(raw_then_reset(when)) as (backend, _):
        await expect(backend, network("there can't be reached: *connection reset by peer"))


async def test_reset_in_the_middle() -> None:
    when = asyncio.Event()
    async with relay(raw_then_reset(when, SSE_HEAD, chunk(EVENT))) as (backend, _):
        answer = await backend.relay(asked())
        pieces = aiter(answer)
        assert await anext(pieces) == EVENT
        when.set()
        with pytest.raises(UpstreamError, match="in the middle of the answer") as caught:
            await anext(pieces)
        assert (caught.value.category, caught.value.status) == ("network", 502)
        assert caught.value.retryable


async def test_silence_before_the_status() -> None:
    async with relay(raw_then_hang(), Timeouts(headers=0.03)) as (backend, there):
        await expect(backend, timeout("there gave no answer in 0.03 s"))
        await there.left.wait()


async def test_silence_in_the_headers() -> None:
    async with relay(raw_then_hang(b"HTTP/1.1 200"), Timeouts(headers=0.03)) as (backend, there):
        await expect(backend, timeout("there gave no answer in 0.03 s"))
        await there.left.wait()


async def test_silence_in_the_middle() -> None:
    behaviour = raw_then_hang(SSE_HEAD, chunk(EVENT), chunk(EVENT[:9]))
    async with relay(behaviour, Timeouts(idle=0.03)) as (backend, there):
        message = "there fell silent for 0.03 s in the middle of its answer"
        await expect(backend, timeout(message, EVENT + EVENT[:9]))
        await there.left.wait()


async def test_silence_in_an_error() -> None:
    behaviour = raw_then_hang(b"HTTP/1.1 529 Busy\r\ncontent-length: 50\r\n\r\nbusy")
    async with relay(behaviour, Timeouts(idle=0.03)) as (backend, there):
        outcome = Outcome("busy", 529, "overloaded_error", "resource", True)
        assert (await expect(backend, outcome)).raw == b""
        await there.left.wait()


async def test_silence_in_a_page() -> None:
    behaviour = raw_then_hang(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>")
    async with relay(behaviour, Timeouts(idle=0.03)) as (backend, there):
        await expect(backend, schema("there sent text/html where *"))
        await there.left.wait()


async def test_an_error_without_an_end_is_read_up_to_a_limit() -> None:
    behaviour = raw_then_hang(b"HTTP/1.1 500 Oh\r\n\r\n", b"x" * 1_100_000)
    async with relay(behaviour) as (backend, there):
        with pytest.raises(UpstreamError) as caught:
            await backend.relay(asked())
        assert caught.value.raw == b""
        await there.left.wait()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((), None),
        (("retry-after: 7",), 7.0),
        (("retry-after: 1.5",), 1.5),
        (("retry-after-ms: 250", "retry-after: 1"), 0.25),
        (("Retry-After: Thu, 28 May 2026 20:27:10 GMT",), 30.0),
        (("retry-after: Thu, 28 May 2026 20:26:10 GMT",), 0.0),
        (("retry-after: later",), None),
    ],
)
async def test_a_429(headers: tuple[str, ...], seconds: float | None) -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}'
    behaviour = reply("429 Too Many", body, "content-type: application/json", *headers)
    async with relay(behaviour) as (backend, _):
        outcome = Outcome("slow", 429, "rate_limit_error", "resource", True)
        error = await expect(backend, outcome)
    assert error.retry_after == seconds
    assert error.raw == body


async def test_a_storm_of_500s() -> None:
    async with relay(reply("500 Internal Server Error", b"boom")) as (backend, there):
        asking = [backend.relay(asked()) for _ in range(60)]
        errors = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(error) for error in errors} == {UpstreamError}
        assert len(there.requests) == 60


@pytest.mark.parametrize("seed", range(3))
async def test_a_slow_drip_is_an_answer(seed: int) -> None:
    body = recorded(seed).body[:3000]
    async with relay(drip(body)) as (backend, _):
        answer = await backend.relay(asked())
        assert b"".join([piece async for piece in answer]) == body


async def test_no_chunk_at_all() -> None:
    when = asyncio.Event()
    async with relay(raw_then(when, SSE_HEAD + chunk(EVENT), b"sixteen\r\n")) as (backend, _):
        pieces = aiter(await backend.relay(asked()))
        assert await anext(pieces) == EVENT
        when.set()
        with pytest.raises(UpstreamError, match="ends too early or can't be read") as caught:
            await anext(pieces)
        assert (caught.value.category, caught.value.retryable) == ("schema", True)


async def test_a_stream_cut_in_an_event_isnt_ended_for_the_tap() -> None:
    body = recorded(4).body[:-20]
    async with relay(raw(SSE_HEAD, chunk(body), b"0\r\n\r\n")) as (backend, _):
        answer = await backend.relay(asked())
        tap = Tap("text/event-stream")
        async for piece in answer:
            tap.feed(piece)
        tap.finish()
    assert tap.started
    assert not tap.ended


async def test_a_header_of_ten_kilobytes_is_no_fault() -> None:
    policy = "p" * 10_000
    behaviour = reply("200 OK", b"{}", "content-type: application/json", f"x-policy: {policy}")
    async with relay(behaviour) as (backend, _):
        answer = await backend.relay(asked())
        assert ("x-policy", policy) in answer.headers
        assert [piece async for piece in answer] == [b"{}"]


@pytest.mark.parametrize("when", ["before the status", "in the body"])
async def test_a_client_that_leaves_takes_upstream_along(when: str) -> None:
    parts = () if when == "before the status" else (SSE_HEAD, chunk(EVENT))
    async with relay(raw_then_hang(*parts)) as (backend, there):
        if parts:
            answer = await backend.relay(asked())
            assert await anext(aiter(answer)) == EVENT
            await answer.close()
            await answer.close()
        else:
            task = asyncio.create_task(backend.relay(asked()))
            await there.asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await there.left.wait()
