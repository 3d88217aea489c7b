"""The admin routes: what they ask of control, what they answer, and whom they refuse."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx
import pytest

from anyclaude.cli.client import AdminClient
from anyclaude.errors import Conflict, NotFound, PermissionDenied
from anyclaude.event_json import from_json
from anyclaude.events import EngineState, OutputDelta, RequestFinished, SystemEvent, ToolCallSeen
from anyclaude.records import RequestRecord, SqlResult, ToolCallRecord, ToolIssue
from tests.server.conftest import BODY
from tests.server.fakes import CALL, MCP, SLOT, SWITCH, TOKEN, TOOL, TREE, Running, serving
from tests.server.raw import wire

AUTH = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def admin(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{server.url}/anyclaude", headers=AUTH) as client:
        yield client


async def test_every_answer_is_the_value_as_json(admin: httpx.AsyncClient) -> None:
    stats = (await admin.get("/stats")).json()
    assert stats["engine"]["phase"] == "ready"
    assert stats["vitals"]["ttft_p50_ms"] is None
    assert (await admin.get("/cache")).json()[0]["hits"] == 3
    assert (await admin.get("/models")).json()[0]["context_limit"] == 8192
    assert (await admin.get("/backends")).json()[0]["latency_ms"] == 12.0
    assert (await admin.get("/model")).json()["model"] == "smol"
    assert (await admin.get("/requests/req_1")).json()["body"] == "{}"
    (row,) = (await admin.get("/requests", params={"limit": 5, "before": 9.5})).json()
    assert RequestRecord(**row) == RequestRecord("req_1", 1.5, status=200)


async def test_every_action_reaches_control(admin: httpx.AsyncClient, server: Running) -> None:
    assert (await admin.put("/model", json={"name": "big"})).status_code == 202
    assert (await admin.delete("/model")).status_code == 202
    assert (await admin.post("/engine/restart")).status_code == 202
    flushed = await admin.delete("/cache", params={"tier": "kv"})
    assert flushed.json() == [{"tier": "kv", "entries": 2, "bytes": 4096}]
    await admin.delete("/cache")
    assert (await admin.post("/requests/req_1/cancel")).json() == {"cancelled": True}
    assert (await admin.post("/requests/req_2/cancel")).json() == {"cancelled": False}
    await admin.get("/requests")
    await admin.post("/sql", json={"query": "SELECT 1"})
    assert server.control.done == [
        ("load", "big"),
        ("unload",),
        ("restart",),
        ("flush", "kv"),
        ("flush", None),
        ("requests", 200, None),
        ("sql", "SELECT 1", 10_000),
    ]


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "message"),
    [
        ("GET", "/requests/req_9", {}, 404, "no request req_9"),
        ("PUT", "/model", {"json": {"name": "absent"}}, 404, "no model 'absent' here"),
        ("PUT", "/model", {"json": {"name": ""}}, 400, "name: String should have at least 1"),
        ("PUT", "/model", {"json": []}, 400, "Input should be an object"),
        ("PUT", "/model", {"data": {"name": "x"}}, 415, "content-type"),
        ("PUT", "/model", {}, 400, "the request body is empty"),
        ("DELETE", "/cache?tier=fast", {}, 400, "tier: unknown tier 'fast'"),
        ("POST", "/sql", {"json": {"query": 5}}, 400, "query: Input should be a valid string"),
        ("POST", "/sql", {"json": {"query": "x", "limit": 0}}, 400, "limit: Input should be"),
        ("GET", "/requests?limit=many", {}, 400, "limit: Input should be a valid integer"),
        ("GET", "/requests?limit=0", {}, 400, "limit: Input should be from 1"),
        ("GET", "/requests?before=noon", {}, 400, "before: Input should be a Unix time"),
        ("GET", "/cache/tree?limit=0", {}, 400, "limit: Input should be from 1"),
        ("PUT", "/cache/pins", {"json": {"session_id": "s"}}, 400, "pinned: Field required"),
        ("PUT", "/cache/pins", {"json": {"session_id": "", "pinned": True}}, 400, "session_id: "),
        (
            "PUT",
            "/cache/pins",
            {"json": {"session_id": "absent", "pinned": True}},
            404,
            "the prefix tree holds nothing of a session 'absent'",
        ),
        ("PUT", "/admission", {"json": {"paused": "yes"}}, 400, "paused: Input should be a valid"),
        ("PUT", "/slots", {"json": {"slot": "x", "target": ""}}, 400, "slot: there is no 'x'"),
        ("PUT", "/slots", {"json": {"slot": "haiku"}}, 400, "target: Field required"),
        ("PUT", "/switches", {"json": {"name": "x", "on": True}}, 404, "there is no switch 'x'"),
        ("PUT", "/switches", {"json": {"name": "x", "on": 1}}, 400, "on: Input should be a valid"),
        ("POST", "/models", {"json": {"name": "org/second"}}, 409, "org/first is being downloaded"),
        ("POST", "/models", {"json": {}}, 400, "name: Field required"),
        ("POST", "/requests/req_9/replay", {}, 404, "the body of req_9 is not kept"),
        ("POST", "/requests/req_1/replay", {"json": {"model": 3}}, 400, "model: Input should be"),
        ("POST", "/requests/req_9/reparse", {}, 404, "the body of req_9 is not kept"),
        ("POST", "/stats", {}, 405, "this path takes GET"),
        ("GET", "/nothing", {}, 404, "no such path"),
    ],
)
async def test_mistakes_are_named(
    admin: httpx.AsyncClient,
    method: str,
    path: str,
    options: dict[str, object],
    status: int,
    message: str,
) -> None:
    response = await admin.request(method, path, **options)  # type: ignore[arg-type]
    assert response.status_code == status
    assert response.json()["error"]["message"].startswith(message)


async def test_the_client_gets_what_control_says(server: Running) -> None:
    async with AdminClient.at(server.url, TOKEN) as client:
        assert await client.prefix_tree(7) == TREE
        assert await client.switches() == (SWITCH,)
        assert await client.slots() == (SLOT,)
        await client.set_slot("haiku", "studio/org/model")
        assert await client.reparse("req_1") == (CALL,)
        assert await client.mcp() == (MCP,)
        assert await client.tools() == (TOOL,)
        assert await client.running() == (RequestRecord("req_2", 2.5, duration_ms=40.0),)
        assert await client.replay("req_1") == "req_2"
        assert await client.replay("req_1", "other") == "req_2"
        await client.pause(True)
        await client.pin("a/b c", False)
        await client.set_switch("billing_line", False)
        await client.pull_model("org/name")
        with pytest.raises(Conflict, match="org/first is being downloaded"):
            await client.pull_model("org/second")
        with pytest.raises(NotFound, match="req_9 is not kept"):
            await client.replay("req_9")
    assert server.control.done == [
        ("tree", 7),
        ("slot", "haiku", "studio/org/model"),
        ("replay", "req_1", ""),
        ("replay", "req_1", "other"),
        ("pause", True),
        ("pin", "a/b c", False),
        ("switch", "billing_line", False),
        ("pull", "org/name"),
    ]


async def test_what_is_only_begun_is_accepted(admin: httpx.AsyncClient, server: Running) -> None:
    replayed = await admin.post("/requests/req_1/replay")
    assert (replayed.status_code, replayed.json()) == (202, {"id": "req_2"})
    pulled = await admin.post("/models", json={"name": "org/name"})
    assert (pulled.status_code, pulled.json()) == (202, {"name": "org/name"})
    assert (await admin.get("/admission")).json() == {"paused": False}
    await admin.get("/cache/tree")
    assert server.control.done[-1] == ("tree", 400)


async def test_sql_values_become_json(admin: httpx.AsyncClient, server: Running) -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5)
    row = (moment, decimal.Decimal("1.50"), decimal.Decimal("3"), b"\x01", float("nan"), [1], "é")
    server.control.rows = SqlResult(("a", "b", "c", "d", "e", "f", "g"), (row,), truncated=True)
    response = await admin.post("/sql", json={"query": "SELECT", "limit": 5})
    body = json.loads(response.content)
    assert body["rows"] == [["2026-01-02T03:04:05", 1.5, 3, "01", None, [1], "é"]]
    assert body["truncated"] is True


async def test_a_query_ends_with_its_caller(server: Running) -> None:
    server.control.sql_gate = asyncio.Event()
    body = b'{"query":"SELECT slow"}'
    head = f"POST /anyclaude/sql HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
    async with wire(server) as client:
        await client.send(head.encode() + b"content-length: %d\r\n\r\n%s" % (len(body), body))
        await server.control.sql_started.wait()
        client.drop()
        await server.control.sql_cancelled.wait()


async def test_events_arrive_as_they_were_published(
    admin: httpx.AsyncClient, server: Running
) -> None:
    call = ToolCallRecord(
        "req_1", "t", "Bash", "failed", (ToolIssue("", "parse", "a\u2028b"),), "{", ""
    )
    published = [
        OutputDelta("req_1", "text", "one\u2028two\x85three", 3),
        ToolCallSeen(1.0, call),
        SystemEvent(2.0, "info", "flush", "flushed"),
        RequestFinished(RequestRecord("req_1", 1.0)),
    ]
    async with admin.stream("GET", "/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = (line async for line in response.aiter_lines() if line)
        first = from_json(json.loads((await anext(lines)).removeprefix("data: ")))
        assert first == EngineState("ready", "smol", context_limit=8192)
        for event in published:
            server.bus.publish(event)
        received = [
            from_json(json.loads((await anext(lines)).removeprefix("data: "))) for _ in published
        ]
    assert received == published


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"authorization": "Bearer wrong"}, 403),
        ({"authorization": "Bearer"}, 403),
        ({"authorization": "Bearer é".encode("latin-1").decode("latin-1")}, 403),
        ({"authorization": TOKEN}, 403),
        ({"x-api-key": TOKEN}, 403),
        (AUTH, 200),
        ({**AUTH, "host": "localhost:9"}, 200),
        ({**AUTH, "host": "[::1]:8082"}, 200),
        ({**AUTH, "host": "127.0.0.2"}, 200),
        ({**AUTH, "host": "evil.example"}, 403),
        ({**AUTH, "host": "evil.example:8082"}, 403),
        ({**AUTH, "host": "localhost.evil.example"}, 403),
        ({**AUTH, "host": "192.168.1.5"}, 403),
        ({**AUTH, "host": "127.0.0.1@evil.example"}, 403),
        ({**AUTH, "host": ""}, 403),
        ({**AUTH, "host": "localhost:8082", "origin": "http://localhost:8082"}, 200),
        ({**AUTH, "host": "localhost:8082", "origin": "http://localhost:3000"}, 403),
        ({**AUTH, "origin": "https://evil.example"}, 403),
        ({**AUTH, "origin": "null"}, 403),
        ({**AUTH, "host": "evil.example", "origin": "http://evil.example"}, 403),
    ],
)
async def test_who_may_steer(server: Running, headers: dict[str, str], status: int) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    async with httpx.AsyncClient(base_url=server.url) as client:
        response = await client.get("/anyclaude/stats", headers=raw)
        unknown = await client.get("/anyclaude/nothing", headers=raw)
    assert response.status_code == status
    assert unknown.status_code == (404 if status == 200 else 403)
    if status == 403:
        assert response.json()["error"]["type"] == "permission_error"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"authorization": "Bearer wrong"}, 403),
        ({"authorization": "Bearer client-key"}, 403),
        ({"x-api-key": "admin-kéy"}, 403),
        ({"authorization": "Bearer admin-kéy"}, 200),
        (AUTH, 200),
        ({"authorization": "Bearer admin-kéy", "host": "evil.example"}, 403),
        ({"authorization": "Bearer admin-kéy", "origin": "https://evil.example"}, 403),
    ],
)
async def test_an_admin_key_steers_too(headers: dict[str, str], status: int) -> None:
    raw = {name: value.encode() for name, value in headers.items()}
    async with (
        serving(api_key="client-key", admin_key="admin-kéy") as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        steered = await client.put("/anyclaude/admission", json={"paused": True}, headers=raw)
        assert steered.status_code == status
        assert server.control.done == ([("pause", True)] if status == 200 else [])
        if status == 403:
            assert "kéy" not in steered.text


async def test_an_admin_key_is_an_api_key_too() -> None:
    async with (
        serving(api_key="client-key", admin_key="admin-key") as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        for key, status in (("admin-key", 200), ("client-key", 200), ("other", 401)):
            headers = {"authorization": f"Bearer {key}"}
            assert (await client.get("/health", headers=headers)).status_code == status


async def test_events_come_with_an_admin_key_and_not_without() -> None:
    async with serving(admin_key="admin-kéy") as server:
        async with AdminClient.at(server.url, "guess") as stranger:
            with pytest.raises(PermissionDenied, match=r"server\.admin_key"):
                await anext(stranger.events())
        async with (
            AdminClient.at(server.url, "admin-kéy") as client,
            aclosing(client.events()) as events,
        ):
            assert await anext(events) == server.bus.engine_state
            await client.pause(True)
        assert server.control.done == [("pause", True)]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"x-api-key": "wrong"}, 401),
        ({"x-api-key": "sécret"}, 200),
        ({"authorization": "Bearer sécret"}, 200),
        ({"authorization": "bearer sécret"}, 200),
        ({"x-api-key": "wrong", "authorization": "Bearer sécret"}, 200),
        ({"authorization": "Basic sécret"}, 401),
    ],
)
async def test_an_api_key_guards_the_api(headers: dict[str, str], status: int) -> None:
    raw = {name: value.encode() for name, value in headers.items()}
    async with (
        serving(api_key="sécret") as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        for response in (
            await client.post("/v1/messages", json=BODY, headers=raw),
            await client.post("/v1/messages/count_tokens", json=BODY, headers=raw),
            await client.get("/v1/models", headers=raw),
            await client.get("/metrics", headers=raw),
            await client.get("/health", headers=raw),
        ):
            assert response.status_code == status
            if status == 401:
                assert response.headers["x-should-retry"] == "false"
                message = response.json()["error"]["message"]
                assert message.startswith("anyclaude: ")
                assert "sécret" not in message
        for path in ("/", "/health/live", "/health/ready", "/api/hello"):
            assert (await client.get(path)).status_code == 200
        assert len(server.pipeline.arrivals) == (2 if status == 200 else 0)
        assert server.pipeline.rejected == []


async def test_a_web_page_elsewhere_can_not_use_the_model(server: Running) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        headers = {"origin": "https://evil.example"}
        response = await client.post("/v1/messages", json=BODY, headers=headers)
    assert response.status_code == 403
    assert server.pipeline.arrivals == []


async def test_without_a_key_any_key_will_do(client: httpx.AsyncClient) -> None:
    headers = {"authorization": "Bearer anything", "x-api-key": "else"}
    assert (await client.post("/v1/messages", json=BODY, headers=headers)).status_code == 200


async def test_health(client: httpx.AsyncClient) -> None:
    health = await client.get("/health")
    assert health.status_code == 200
    body = health.json()
    assert (body["status"], body["uptime_s"], body["memory"]["process_bytes"]) == (
        "ready",
        12.5,
        100,
    )
    assert body["backends"][0]["latency_ms"] == 12.0
    assert body["cache"][0]["tier"] == "kv"
    assert (await client.get("/health/live")).json() == {"status": "alive"}
    assert (await client.get("/health/ready")).status_code == 200
    assert (await client.get("/metrics")).text == "anyclaude_requests_total 1\n"
    for path in ("/", "/api/hello", "/health"):
        head = await client.head(path)
        assert (head.status_code, head.content) == (200, b"")
    assert (await client.get("/")).json()["service"] == "anyclaude"


@pytest.mark.parametrize(
    ("phase", "ready", "health"),
    [("loading", 503, 200), ("unloaded", 503, 200), ("failed", 503, 503), ("stopped", 503, 503)],
)
async def test_health_says_so_when_no_model_answers(phase: str, ready: int, health: int) -> None:
    state = EngineState(phase, "smol", 0.5, "weights")  # type: ignore[arg-type]
    async with (
        serving(phase=state) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        response = await client.get("/health/ready")
        assert response.status_code == ready
        assert response.json()["phase"] == phase
        assert ("retry-after" in response.headers) == (phase == "loading")
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health")).status_code == health
