"""What no proper client sends. Each is refused or closed, and the next request is served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx
import pytest

from anyclaude.bench.grammar import check_sse
from anyclaude.server.limits import Limits
from tests.server.conftest import BODY
from tests.server.fakes import FakePipeline, Running, serving
from tests.server.raw import post, status, wire

QUICK = Limits(idle_s=0.2, body_s=0.2, linger_s=0.1)


@asynccontextmanager
async def unharmed(limits: Limits | None = None) -> AsyncIterator[Running]:
    """A server that must still answer afterwards."""
    async with serving(limits=limits) as server:
        yield server
        async with httpx.AsyncClient(base_url=server.url) as client:
            answer = await client.post("/v1/messages", json=BODY)
            assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"POST /v1/mess",
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-le",
    ],
)
async def test_half_a_head_then_silence_is_closed(data: bytes) -> None:
    async with unharmed(QUICK) as server, wire(server) as client:
        await client.send(data)
        assert await client.rest() == b""


@pytest.mark.parametrize("framing", [b"content-length: 100", b"transfer-encoding: chunked"])
async def test_half_a_body_then_silence_is_a_408(framing: bytes) -> None:
    async with unharmed(QUICK) as server, wire(server) as client:
        head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n"
        await client.send(head + (b'4\r\n{"mo\r\n' if b"chunked" in framing else b'{"mo'))
        response = await client.rest()
        assert status(response) == 408
        assert b'"timeout_error"' in response
        ((arrival, error, _, _),) = server.pipeline.rejected
        assert (error.status, arrival.body) == (408, "")


async def test_half_a_body_then_a_hang_up_is_nothing() -> None:
    async with unharmed() as server, wire(server) as client:
        await client.send(post("/v1/messages", BODY)[:-5])
        client.drop()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\nx-big: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"".join([b"GET / HTTP/1.1\r\nhost: x\r\n", b"x-n: 1\r\n" * 200_000, b"\r\n"]),
    ],
    ids=["value", "path", "count"],
)
async def test_a_megabyte_of_head_is_refused(data: bytes) -> None:
    async with unharmed() as server, wire(server) as client:
        with suppress(ConnectionError):
            await client.send(data)
        response = await client.rest()
        assert response == b"" or status(response) in (400, 431)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/one\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: nine\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
        b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
    ],
)
async def test_malformed_http_is_closed(data: bytes) -> None:
    async with unharmed(QUICK) as server, wire(server) as client:
        await client.send(data)
        response = await client.rest()
        assert response == b"" or 400 <= status(response) < 600


@pytest.mark.parametrize(
    "target",
    [
        "*",
        "?x=1",
        "http://[",
        "http://other/v1/nothing",
        "//v1/messages",
        "/%ff%00",
        "/../etc",
        "x",
    ],
)
async def test_odd_targets_lead_nowhere(target: str) -> None:
    async with unharmed() as server, wire(server) as client:
        request = f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        await client.send(request.encode())
        assert status(await client.rest()) in (200, 400, 404, 405)


@pytest.mark.parametrize("host", ["", "[", "a b", "é", "x" * 5000, "1:2:3", "x:99999", "[::1"])
async def test_odd_hosts_do_no_harm(host: str) -> None:
    async with unharmed() as server, wire(server) as client:
        request = f"GET /health/live HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        await client.send(request.encode("latin-1"))
        assert status(await client.rest()) in (200, 400)


async def test_a_websocket_is_refused() -> None:
    async with unharmed(QUICK) as server, wire(server) as client:
        await client.send(
            b"GET /v1/messages HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        response = await client.until(b"\r\n\r\n")
        assert status(response) >= 400


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_a_413(chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 65_536

    async with unharmed() as server, httpx.AsyncClient(base_url=server.url) as client:
        content = chunks() if chunked else b"x" * (64 * 65_536)
        headers = {"content-type": "application/json"}
        response = await client.post("/v1/messages", content=content, headers=headers)
        assert response.status_code == 413
        assert response.json()["error"]["type"] == "request_too_large"
        assert [error.status for _, error, _, _ in server.pipeline.rejected] == [413]


async def test_bodies_together_are_bounded() -> None:
    """Five almost full bodies are on their way; the budget is four."""
    body = post("/v1/messages", b"x" * 1_040_000)
    async with unharmed(Limits(linger_s=0.1)) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(wire(server)) for _ in range(5)]
        for client in clients:
            await client.send(body[:-10])
        answers = {asyncio.ensure_future(client.response()) for client in clients}
        done, waiting = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        assert [status(task.result()) for task in done] == [529]
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_two_hundred_connections_at_once() -> None:
    async with unharmed() as server:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as client:
            body = {**BODY, "stream": True}
            answers = await asyncio.gather(
                *(client.post("/v1/messages", json=body) for _ in range(200))
            )
        assert all("event: message_stop" in answer.text for answer in answers)
        assert len({answer.headers["request-id"] for answer in answers}) == 200


async def test_connections_over_the_bound_are_closed() -> None:
    async with unharmed(Limits(connections=2)) as server:
        async with wire(server) as one, wire(server) as two, wire(server) as three:
            assert await three.rest() == b""
            for client in (one, two):
                await client.send(post("/v1/messages", BODY))
                assert status(await client.until(b"\r\n\r\n")) == 200
        await server.closed()


async def test_pipelined_requests_are_answered_in_turn() -> None:
    async with unharmed() as server, wire(server) as client:
        await client.send(post("/v1/messages", BODY) * 3)
        for _ in range(3):
            assert b"Paris" in await client.response()


async def test_deep_nesting_and_strange_json_are_400s() -> None:
    async with unharmed() as server, httpx.AsyncClient(base_url=server.url) as client:
        for content in (b"[" * 200_000, b'{"a":' * 100_000, b"\xff", b"nul", b"1" * 10_000):
            headers = {"content-type": "application/json"}
            response = await client.post("/v1/messages", content=content, headers=headers)
            assert response.status_code == 400
            assert response.json()["error"]["type"] == "invalid_request_error"


async def test_a_schema_bomb_is_a_400() -> None:
    schema: dict[str, object] = {"type": "object"}
    for _ in range(100):
        schema = {"type": "object", "properties": {"a": schema}}
    tools = [{"name": "a", "input_schema": schema}]
    async with unharmed() as server, httpx.AsyncClient(base_url=server.url) as client:
        response = await client.post("/v1/messages", json={**BODY, "tools": tools})
        assert response.status_code == 400
        assert "tools.0.input_schema" in response.json()["error"]["message"]


async def test_wrong_methods_paths_and_types() -> None:
    async with unharmed() as server, httpx.AsyncClient(base_url=server.url) as client:
        wrong = await client.get("/v1/messages")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert (await client.options("/v1/models")).status_code == 405
        assert (await client.request("BREW", "/")).status_code == 405
        nowhere = await client.post("/v1/complete", json={})
        assert nowhere.status_code == 404
        assert nowhere.json() == {
            "type": "error",
            "error": {"type": "not_found_error", "message": "no such path"},
            "request_id": nowhere.headers["request-id"],
        }
        form = await client.post("/v1/messages", data={"a": "b"})
        assert form.status_code == 415
        bare = await client.post("/v1/messages", content=json.dumps(BODY))
        assert bare.status_code == 200


async def test_a_refused_upload_is_read_so_that_the_refusal_can_be() -> None:
    """The client is still sending when the answer is known."""
    async with serving(FakePipeline(), api_key="right") as server, wire(server) as client:
        data = post("/v1/messages", b"x" * 5_000_000)
        await client.send(data[:100_000])
        await asyncio.sleep(0)
        await client.send(data[100_000:])
        assert status(await client.until(b"\r\n\r\n")) == 401


async def test_http_1_0_gets_its_stream_up_to_the_close() -> None:
    body = json.dumps({**BODY, "stream": True}).encode()
    head = b"POST /v1/messages HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with unharmed() as server, wire(server) as client:
        await client.send(head + body)
        _, _, text = (await client.rest()).partition(b"\r\n\r\n")
    verdict = check_sse(text.decode().split("\n"))
    assert verdict.ok, verdict.problems


async def test_a_client_that_asks_first_is_told_to_continue() -> None:
    request = post("/v1/messages", BODY, {"expect": "100-continue"})
    head, _, body = request.partition(b"\r\n\r\n")
    async with unharmed() as server, wire(server) as client:
        await client.send(head + b"\r\n\r\n")
        assert status(await client.until(b"\r\n\r\n")) == 100
        await client.send(body)
        assert b"Paris" in await client.response()


async def test_an_offer_of_http_2_is_answered_in_1_1() -> None:
    async with unharmed() as server, wire(server) as client:
        await client.send(
            b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\n"
            b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
        )
        assert b"alive" in await client.response()
