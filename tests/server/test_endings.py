"""How exchanges end: hang-ups, shutdown, and clients that don't read."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from anyclaude.bench.grammar import check_sse
from anyclaude.events import Bus
from anyclaude.server.limits import Limits
from anyclaude.stream import Emitter
from anyclaude.types import MessagesRequest
from tests.server.conftest import BODY
from tests.server.fakes import DONE, TOKEN, USAGE, FakePipeline, Script, Step, serving
from tests.server.raw import post, status, wire

STREAM = {**BODY, "stream": True}


def half_then(step: Step) -> Script:
    def script(emitter: Emitter, request: MessagesRequest) -> list[Step]:
        return [
            *emitter.start(USAGE),
            *emitter.text("half"),
            step,
            *emitter.finish("end_turn", None, DONE),
        ]

    return script


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_hang_up_stops_the_generation(stream: bool) -> None:
    started = asyncio.Event()

    async def wait() -> None:
        started.set()
        await forever()

    pipeline = FakePipeline(half_then(wait))
    async with serving(pipeline) as server, wire(server) as client:
        await client.send(post("/v1/messages", {**BODY, "stream": stream}))
        await started.wait()
        client.drop()
        await pipeline.until(lambda: len(pipeline.stopped) == 1)


async def test_a_hang_up_while_waiting_for_admission_ends_the_wait() -> None:
    pipeline = FakePipeline(gate=asyncio.Event())
    async with serving(pipeline) as server, wire(server) as client:
        await client.send(post("/v1/messages", STREAM))
        await pipeline.until(lambda: len(pipeline.arrivals) == 1)
        client.drop()
        await pipeline.until(lambda: len(pipeline.stopped) == 1)


async def test_a_hang_up_between_two_tokens_stops_the_generation() -> None:
    """The server finds out while it writes, not while it waits."""

    def script(emitter: Emitter, request: MessagesRequest) -> list[Step]:
        async def breathe() -> None:
            await asyncio.sleep(0)

        steps: list[Step] = [*emitter.start(USAGE)]
        for _ in range(20_000):
            steps += [*emitter.text("word " * 20), breathe]
        return [*steps, *emitter.finish("end_turn", None, DONE)]

    pipeline = FakePipeline(script)
    async with serving(pipeline) as server, wire(server) as client:
        await client.send(post("/v1/messages", STREAM))
        await client.until(b"content_block_delta")
        client.drop()
        await pipeline.until(lambda: len(pipeline.stopped) == 1)


async def test_the_connection_is_kept_after_a_stream() -> None:
    async with serving() as server, wire(server) as client:
        for _ in range(3):
            await client.send(post("/v1/messages", STREAM))
            assert (await client.until(b"0\r\n\r\n")).count(b"event: message_stop") == 1
        assert server.listener.connections == 1


async def test_shutdown_ends_streams_with_an_error_event_at_once() -> None:
    pipeline = FakePipeline(half_then(forever))
    async with serving(pipeline) as server, httpx.AsyncClient(base_url=server.url) as client:
        async with client.stream("POST", "/v1/messages", json=STREAM) as response:
            chunks = response.aiter_text()
            text = await anext(chunks)
            while "half" not in text:
                text += await anext(chunks)
            server.stop.set()
            async for chunk in chunks:
                text += chunk
        await server.task
        verdict = check_sse(text.split("\n"))
        assert verdict.ok, verdict.problems
        assert verdict.error == {"type": "overloaded_error", "message": "anyclaude is stopping"}
        assert len(pipeline.stopped) == 1
        with pytest.raises(httpx.ConnectError):
            await client.get("/")


@pytest.mark.parametrize("where", ["admission", "message", "count"])
async def test_shutdown_refuses_what_waits_without_a_stream(where: str) -> None:
    gate = None if where == "message" else asyncio.Event()
    pipeline = FakePipeline(half_then(forever), gate=gate)
    path = "/v1/messages/count_tokens" if where == "count" else "/v1/messages"
    async with serving(pipeline) as server, httpx.AsyncClient(base_url=server.url) as client:
        asking = asyncio.ensure_future(client.post(path, json=BODY))
        await pipeline.until(lambda: len(pipeline.arrivals) == 1)
        await server.shut()
        response = await asking
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        await pipeline.until(lambda: len(pipeline.stopped) == 1)


async def test_shutdown_ends_event_streams_and_idle_connections() -> None:
    async with serving() as server, httpx.AsyncClient(base_url=server.url) as client:
        await client.get("/")
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with client.stream("GET", "/anyclaude/events", headers=headers) as response:
            lines = response.aiter_lines()
            assert "EngineState" in await anext(lines)
            await server.shut()
            assert [line async for line in lines if line] == []


async def test_shutdown_does_not_wait_for_a_client_that_does_not_read() -> None:
    limits = Limits(drain_s=0.05, abort_s=5)
    pipeline = FakePipeline(endless)
    async with serving(pipeline, limits=limits) as server, wire(server, receive_buffer=4096) as c:
        await c.send(post("/v1/messages", STREAM))
        await pipeline.until(lambda: len(pipeline.arrivals) == 1)
        await server.shut()
        assert server.listener.connections == 0
        assert len(pipeline.stopped) == 1


async def test_cancelling_serve_ends_everything_too() -> None:
    pipeline = FakePipeline(half_then(forever))
    async with serving(pipeline) as server, wire(server) as client:
        await client.send(post("/v1/messages", STREAM))
        await client.until(b"half")
        server.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server.task
        assert server.listener.connections == 0
        assert len(pipeline.stopped) == 1


def endless(emitter: Emitter, request: MessagesRequest) -> list[Step]:
    steps: list[Step] = [*emitter.start(USAGE)]
    for _ in range(20):
        steps += emitter.text("x" * 1_000_000)
    return [*steps, *emitter.finish("end_turn", None, DONE)]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_reads_nothing_is_dropped(stream: bool) -> None:
    pipeline = FakePipeline(endless)
    limits = Limits(stall_s=0.2)
    async with serving(pipeline, limits=limits) as server, wire(server, receive_buffer=4096) as c:
        await c.send(post("/v1/messages", {**BODY, "stream": stream}))
        await pipeline.until(lambda: bool(pipeline.stopped or pipeline.finished))
        async with httpx.AsyncClient() as other:  # nobody else is disturbed
            assert (await other.get(f"{server.url}/health/live")).status_code == 200
        await server.closed()


async def test_a_client_that_reads_slowly_is_kept() -> None:
    limits = Limits(stall_s=1)
    async with (
        serving(FakePipeline(endless), limits=limits) as server,
        wire(server, receive_buffer=4096) as client,
    ):
        await client.send(post("/v1/messages", STREAM))
        received = 0
        tail = b""
        while b"message_stop" not in tail:
            chunk = await client.reader.read(1_000_000)
            assert chunk
            tail = tail[-100:] + chunk
            received += len(chunk)
        assert received > 20_000_000


async def test_a_refusal_leaves_the_connection_usable() -> None:
    async with serving() as server, wire(server) as client:
        await client.send(post("/v1/messages", {"model": "m"}))
        assert status(await client.response()) == 400
        await client.send(post("/v1/messages", BODY))
        assert b"Paris" in await client.response()


async def test_an_event_listener_that_leaves_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = asyncio.Event()
    forget = Bus.unsubscribe

    def unsubscribe(bus: Bus, subscription: Any) -> None:
        forget(bus, subscription)
        gone.set()

    monkeypatch.setattr(Bus, "unsubscribe", unsubscribe)
    async with serving() as server, wire(server) as client:
        request = (
            f"GET /anyclaude/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}"
        )
        await client.send(request.encode() + b"\r\n\r\n")
        await client.until(b"EngineState")
        client.drop()
        await gone.wait()
