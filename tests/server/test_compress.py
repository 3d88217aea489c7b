"""Compressed answers over real sockets: who gets them, and what is in them."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from anyclaude.errors import EngineFailed, UpstreamError
from anyclaude.records import SqlResult
from anyclaude.server.compress import ASIDE, SMALLEST
from anyclaude.stream import Emitter
from anyclaude.types import MessagesRequest
from tests.server.conftest import BODY
from tests.server.fakes import DONE, TOKEN, USAGE, FakePipeline, Running, Step, serving

ADMIN = {"authorization": f"Bearer {TOKEN}"}
LONG = "So it goes. " * 200


def says(text: str) -> FakePipeline:
    def script(emitter: Emitter, request: MessagesRequest) -> Sequence[Step]:
        return [
            *emitter.start(USAGE),
            *emitter.text(text),
            *emitter.finish("end_turn", None, DONE),
        ]

    return FakePipeline(script)


@asynccontextmanager
async def asking(server: Running, accept: str | None = "gzip") -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url) as client:
        del client.headers["accept-encoding"]
        if accept is not None:
            client.headers["accept-encoding"] = accept
        yield client


async def raw(
    client: httpx.AsyncClient, method: str, path: str, **options: object
) -> tuple[httpx.Headers, bytes]:
    """The body as it was sent."""
    async with client.stream(method, path, **options) as response:  # type: ignore[arg-type]
        return response.headers, b"".join([chunk async for chunk in response.aiter_raw()])


async def test_a_long_answer_is_compressed() -> None:
    async with serving(says(LONG)) as server, asking(server) as client:
        headers, body = await raw(client, "POST", "/v1/messages", json=BODY)
    assert headers["content-encoding"] == "gzip"
    assert headers["vary"] == "Accept-Encoding"
    assert headers["content-length"] == str(len(body))
    assert len(body) < SMALLEST
    assert json.loads(gzip.decompress(body))["content"] == [{"type": "text", "text": LONG}]


async def test_one_far_too_long_for_the_loop() -> None:
    text = LONG * (2 * ASIDE // len(LONG))
    async with serving(says(text)) as server, asking(server) as client:
        headers, body = await raw(client, "POST", "/v1/messages", json=BODY)
    assert headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(body))["content"][0]["text"] == text


async def test_a_short_answer_is_not() -> None:
    async with serving() as server, asking(server) as client:
        headers, body = await raw(client, "POST", "/v1/messages", json=BODY)
    assert "content-encoding" not in headers and "vary" not in headers
    assert json.loads(body)["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("gzip;q=0.001", True),
        (None, False),
        ("", False),
        ("identity", False),
        ("br, deflate", False),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("*;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("gzip;q=nonsense", False),
        (";,;=,q", False),
    ],
)
async def test_who_gets_it(accept: str | None, taken: bool) -> None:
    async with serving(says(LONG)) as server, asking(server, accept) as client:
        headers, body = await raw(client, "POST", "/v1/messages", json=BODY)
    assert headers.get("content-encoding") == ("gzip" if taken else None)
    # A cache in between has to know it either way.
    assert headers["vary"] == "Accept-Encoding"
    answer = json.loads(gzip.decompress(body) if taken else body)
    assert answer["content"][0]["text"] == LONG


async def test_the_admin_routes_too() -> None:
    async with serving() as server, asking(server) as client:
        server.control.rows = SqlResult(("n",), tuple((n,) for n in range(500)))
        headers, body = await raw(
            client, "POST", "/anyclaude/sql", json={"query": "FROM n"}, headers=ADMIN
        )
        assert headers["content-encoding"] == "gzip"
        assert len(json.loads(gzip.decompress(body))["rows"]) == 500
        # A file is handed over as it is.
        server.control.exported = b"n\n" * 5000
        headers, body = await raw(
            client,
            "POST",
            "/anyclaude/sql/export",
            json={"query": "FROM n", "format": "csv"},
            headers=ADMIN,
        )
        assert "content-encoding" not in headers and body == server.control.exported


async def test_the_list_of_models() -> None:
    names = tuple(f"model-{n}" for n in range(19))
    async with serving(names=names) as server, asking(server) as client:
        headers, body = await raw(client, "GET", "/v1/models")
    assert headers["content-encoding"] == "gzip"
    assert {one["id"] for one in json.loads(gzip.decompress(body))["data"]} >= set(names)


async def test_switched_off() -> None:
    async with serving(says(LONG), gzip=False) as server, asking(server) as client:
        headers, _ = await raw(client, "POST", "/v1/messages", json=BODY)
    assert "content-encoding" not in headers and "vary" not in headers


async def test_another_servers_error_stays_as_it_came() -> None:
    upstream = UpstreamError(
        LONG,
        backend="claude",
        status=400,
        type="invalid_request_error",
        category="invalid_input",
        retryable=False,
        answered=True,
    )
    upstream.raw, upstream.passable = json.dumps({"error": LONG}).encode(), True
    upstream.headers = (("content-type", "application/json"),)
    pipeline = FakePipeline(refuse=upstream)
    async with serving(pipeline) as server, asking(server) as client:
        headers, body = await raw(client, "POST", "/v1/messages", json=BODY)
        assert "content-encoding" not in headers and body == upstream.raw
        pipeline.refuse = EngineFailed(LONG)
        headers, body = await raw(client, "POST", "/v1/messages", json=BODY)
        assert headers["content-encoding"] == "gzip"
        assert json.loads(gzip.decompress(body))["error"]["message"] == LONG


# ---------------------------------------------------------------------------------- streams


def held(gate: asyncio.Event) -> FakePipeline:
    async def wait() -> None:
        await gate.wait()

    def script(emitter: Emitter, request: MessagesRequest) -> Sequence[Step]:
        return [
            *emitter.start(USAGE),
            *emitter.text("first"),
            wait,
            *emitter.text("second"),
            *emitter.finish("end_turn", None, DONE),
        ]

    return FakePipeline(script)


async def test_a_stream_is_left_alone_unless_asked_for() -> None:
    async with serving(says(LONG)) as server, asking(server) as client:
        headers, body = await raw(client, "POST", "/v1/messages", json={**BODY, "stream": True})
    assert "content-encoding" not in headers and "vary" not in headers
    assert body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


async def test_each_event_can_be_read_as_soon_as_it_is_sent() -> None:
    gate, unpacker = asyncio.Event(), zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    body = {**BODY, "stream": True}
    async with (
        serving(held(gate), gzip_streams=True) as server,
        asking(server) as client,
        client.stream("POST", "/v1/messages", json=body) as response,
    ):
        assert response.headers["content-encoding"] == "gzip"
        assert response.headers["vary"] == "Accept-Encoding"
        assert response.headers["cache-control"] == "no-cache"
        chunks, read = response.aiter_raw(), b""
        while b"first" not in read:  # The rest of the answer hasn't been made yet.
            read += unpacker.decompress(await anext(chunks))
        assert b"second" not in read
        gate.set()
        async for chunk in chunks:
            read += unpacker.decompress(chunk)
    assert b"second" in read and unpacker.eof
    assert read.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


async def test_a_client_that_takes_no_gzip_gets_a_plain_stream() -> None:
    async with serving(gzip_streams=True) as server, asking(server, "gzip;q=0") as client:
        headers, body = await raw(client, "POST", "/v1/messages", json={**BODY, "stream": True})
    assert "content-encoding" not in headers and headers["vary"] == "Accept-Encoding"
    assert body.startswith(b"event: message_start\n")


async def test_a_client_that_leaves_a_compressed_stream_ends_it() -> None:
    gate = asyncio.Event()
    async with serving(held(gate), gzip_streams=True) as server:
        async with (
            asking(server) as client,
            client.stream("POST", "/v1/messages", json={**BODY, "stream": True}) as response,
        ):
            await anext(response.aiter_raw())
        await server.pipeline.until(lambda: bool(server.pipeline.stopped))
    assert server.pipeline.finished == []


async def test_the_event_bus_is_a_stream_too() -> None:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    async with (
        serving(gzip_streams=True) as server,
        asking(server) as client,
        client.stream("GET", "/anyclaude/events", headers=ADMIN) as response,
    ):
        read, chunks = b"", response.aiter_raw()
        while not read.endswith(b"\n\n"):
            read += unpacker.decompress(await anext(chunks))
    assert json.loads(read.removeprefix(b"data: "))["phase"] == "ready"
