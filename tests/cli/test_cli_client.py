"""The admin client gives back the very values and errors of the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace

import cli_doubles as doubles
import httpx
import pytest
from cli_doubles import AdminServer, admin_server

from anyclaude.cli.client import AdminClient, decode
from anyclaude.control import Flushed, Stats
from anyclaude.errors import (
    ApiError,
    EngineFailed,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    Unavailable,
)


@pytest.fixture
def server() -> Iterator[AdminServer]:
    with admin_server() as server:
        yield server


async def test_every_question_comes_back_as_its_value(server: AdminServer) -> None:
    async with AdminClient(server.state()) as client:
        assert client.address == server.url
        assert await client.alive()
        assert await client.ready()
        assert await client.health() == {"status": "ok"}
        assert await client.stats() == server.stats()
        assert await client.cache() == (doubles.TIER,)
        assert await client.flush("kv") == (Flushed("kv", 2, 5_000_000),)
        assert await client.models() == (doubles.MODEL,)
        assert await client.backends() == (doubles.BACKEND,)
        assert await client.requests(5, before=1.5) == (doubles.RECORD,)
        assert await client.detail("req_1") == doubles.DETAIL
        assert await client.cancel("req_1") is True
        assert await client.sql("SELECT 1", 7) == doubles.RESULT
        assert await client.prefix_tree(5) == doubles.TREE
        assert await client.switches() == (doubles.SWITCH,)
        assert await client.slots() == (doubles.SLOT,)
        assert await client.replay("req_1", "other") == "req_2"
        assert await client.reparse("req_1") == (doubles.CALL,)
        await client.pause(True)
        await client.pin("s/a", True)
        await client.set_switch("billing_line", False)
        await client.set_slot("opus", "")
        await client.pull_model("org/name")
        await client.load_model("m")
        await client.unload_model()
        await client.restart_engine()
    assert ("GET", "/anyclaude/requests?limit=5&before=1.5", None) in server.asked
    assert ("POST", "/anyclaude/sql", {"query": "SELECT 1", "limit": 7}) in server.asked
    assert ("GET", "/anyclaude/cache/tree?limit=5", None) in server.asked
    assert server.asked[-9:] == [
        ("POST", "/anyclaude/requests/req_1/reparse", None),
        ("PUT", "/anyclaude/admission", {"paused": True}),
        ("PUT", "/anyclaude/cache/pins", {"session_id": "s/a", "pinned": True}),
        ("PUT", "/anyclaude/switches", {"name": "billing_line", "on": False}),
        ("PUT", "/anyclaude/slots", {"slot": "opus", "target": ""}),
        ("POST", "/anyclaude/models", {"name": "org/name"}),
        ("PUT", "/anyclaude/model", {"name": "m"}),
        ("DELETE", "/anyclaude/model", None),
        ("POST", "/anyclaude/engine/restart", None),
    ]


async def test_events_until_the_server_ends_them(server: AdminServer) -> None:
    async with AdminClient(server.state()) as client:
        assert [event async for event in client.events()] == list(doubles.EVENTS)


async def test_events_can_be_left_early(server: AdminServer) -> None:
    async with AdminClient(server.state()) as client, aclosing(client.events()) as events:
        assert await anext(events) == doubles.EVENTS[0]


async def test_errors_are_the_ones_the_server_raised(server: AdminServer) -> None:
    async with AdminClient(server.state()) as client:
        with pytest.raises(InvalidRequest, match=r"^query: Parser Error$"):
            await client.sql("bad")
        with pytest.raises(NotFound, match="no /anyclaude/requests/req_2"):
            await client.detail("req_2")
        with pytest.raises(Overloaded, match="the queue is full") as caught:
            await client.sql("busy")
        assert caught.value.retry_after == 3


async def test_a_wrong_token_is_refused(server: AdminServer) -> None:
    async with AdminClient.at(server.url + "/", "guess") as client:
        with pytest.raises(PermissionDenied, match="wrong token"):
            await client.stats()
        with pytest.raises(PermissionDenied, match="wrong token"):
            await anext(client.events())


async def test_nobody_there() -> None:
    with admin_server() as server:
        state = server.state()
    async with AdminClient(state) as client:
        assert not await client.alive()
        with pytest.raises(Unavailable, match=f"no anyclaude answers at {server.url}"):
            await client.stats()
        with pytest.raises(Unavailable, match="no anyclaude answers"):
            await anext(client.events())


async def test_request_ids_stay_one_path_segment(server: AdminServer) -> None:
    async with AdminClient(server.state()) as client:
        with pytest.raises(NotFound):
            await client.detail("../stats?x")
    assert server.asked[-1][1] == "/anyclaude/requests/..%2Fstats%3Fx"


async def test_proxies_of_the_environment_are_ignored(
    server: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with AdminClient(server.state()) as client:
        assert await client.alive()


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (503, {"error": {"message": "loading"}}, Unavailable, "loading"),
        (418, {"error": {"message": "tea"}}, ApiError, "tea"),
        (500, "<html>", EngineFailed, "HTTP 500"),
        (200, "<html>", EngineFailed, "answered with something else"),
        (200, {"version": 1}, EngineFailed, "do both run the same release"),
        (200, 3, EngineFailed, "do both run the same release"),
    ],
)
async def test_odd_answers(status: int, body: object, kind: type[ApiError], message: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    transport = httpx.MockTransport(lambda request: httpx.Response(status, text=text))
    async with AdminClient.at("http://x", "t", transport=transport) as client:
        with pytest.raises(ApiError, match=message) as caught:
            await client.stats()
    assert type(caught.value) is kind


def test_keys_of_a_later_release_are_left_out(server: AdminServer) -> None:
    from dataclasses import asdict

    stats = replace(server.stats(), uptime_s=3.0)
    raw = asdict(stats)
    raw["new"] = raw["engine"]["new"] = 1
    assert decode(Stats, raw) == stats
