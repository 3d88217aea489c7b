"""Fallbacks, siblings and breakers, as a client and a person at the console see them."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from anyclaude.config.settings import BackendSettings, ResilienceSettings, RouteSettings
from anyclaude.errors import InvalidRequest, NotFound
from tests.doubles.chaos_upstream import (
    SSE_HEAD,
    Behaviour,
    Chaos,
    chaos,
    chunk,
    free_port,
    raw_then_hang,
    reply,
)
from tests.gateway.kit import CALM, SECONDS, Answered, Gate, anthropic, gate
from tests.gateway.test_faults import BEGUN, END

JSON = "content-type: application/json"
TRYING = replace(CALM, retries=2)


def says(name: str) -> Behaviour:
    """A whole answer of the model of that name, streamed or not."""
    body = (BEGUN + END).replace(b'"model": "m"', b'"model": "%b"' % name.encode())
    return reply("200 OK", body, "content-type: text/event-stream")


def refuses(status: int, kind: str, message: str, *headers: str) -> Behaviour:
    error = {"type": "error", "error": {"type": kind, "message": message}}
    return reply(f"{status} No", json.dumps(error).encode(), JSON, *headers)


OVERLOADED = refuses(529, "overloaded_error", "Overloaded")
BROKEN = refuses(500, "api_error", "boom")
TOO_LONG = refuses(400, "invalid_request_error", "prompt is too long: 300 tokens > 200 maximum")
INVALID = refuses(400, "invalid_request_error", "messages: roles must alternate")


@dataclass
class Fleet:
    """Backends by their names, each with the behaviour that it was given."""

    there: dict[str, Chaos]

    @property
    def asked(self) -> dict[str, int]:
        return {name: len(one.requests) for name, one in self.there.items()}

    def backends(self) -> dict[str, BackendSettings]:
        return {name: anthropic(one.url) for name, one in self.there.items()}


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        names = ("first", "second", "third")
        yield Fleet({n: await stack.enter_async_context(chaos(says(n))) for n in names})


def model(got: Answered) -> str:
    name: str = got.events[0]["message"]["model"]
    return name


LISTS = {"fallback": ("second",), "fallback_context": ("third",)}


@pytest.mark.parametrize(
    ("behaviour", "lists", "answers", "asked"),
    [
        pytest.param(BROKEN, LISTS, "second", (2, 1, 0), id="general"),
        pytest.param(TOO_LONG, LISTS, "third", (1, 0, 1), id="context"),
        pytest.param(
            OVERLOADED,
            {"fallback": ("second",), "fallback_overloaded": ("third",)},
            "third",
            (1, 0, 1),
            id="overloaded",
        ),
    ],
)
async def test_a_fallback_answers(
    tmp_path: Path,
    fleet: Fleet,
    behaviour: Behaviour,
    lists: dict[str, tuple[str, ...]],
    answers: str,
    asked: tuple[int, ...],
) -> None:
    fleet.there["first"].behaviour = behaviour
    route = RouteSettings("*", ("first",), **lists)  # type: ignore[arg-type]
    resilience = replace(CALM, retries=1)
    async with gate(tmp_path, fleet.backends(), route, resilience=resilience) as at:
        got = await at.stream()
        assert (got.status, model(got)) == (200, answers)
        assert got.headers["x-anyclaude-backend"] == answers
        assert tuple(fleet.asked.values()) == asked
        backend, reason, retries = await at.row("backend, route_reason, retries")
        assert backend == answers
        assert reason.startswith("fallback, first/claude-opus-5 answered: ")
        assert retries == asked[0] - 1


async def test_another_healthy_target_comes_before_waiting_and_fallbacks(
    tmp_path: Path, fleet: Fleet
) -> None:
    fleet.there["first"].behaviour = OVERLOADED
    route = RouteSettings("*", ("first", "second"), "priority", fallback_overloaded=("third",))
    async with gate(tmp_path, fleet.backends(), route, resilience=TRYING) as at:
        assert model(await at.stream()) == "second"
        assert fleet.asked == {"first": 1, "second": 1, "third": 0}
        assert (await at.row("retries, backend")) == (1, "second")


async def test_what_the_client_did_wrong_is_tried_nowhere_else(
    tmp_path: Path, fleet: Fleet
) -> None:
    fleet.there["first"].behaviour = INVALID
    route = RouteSettings("*", ("first", "second"), "priority", fallback=("third",))
    async with gate(tmp_path, fleet.backends(), route, resilience=TRYING) as at:
        got = await at.stream()
        assert got.status == 400
        assert got.json["error"]["message"] == "messages: roles must alternate"
        assert fleet.asked == {"first": 1, "second": 0, "third": 0}


async def test_the_truest_error_reaches_the_client(tmp_path: Path, fleet: Fleet) -> None:
    fleet.there["first"].behaviour = refuses(429, "rate_limit_error", "slow down", "retry-after: 9")
    backends = fleet.backends() | {"gone": anthropic(f"http://127.0.0.1:{free_port()}")}
    route = RouteSettings("*", ("first", "gone"), "priority")
    async with gate(tmp_path, backends, route, resilience=replace(TRYING, budget_s=5)) as at:
        got = await at.stream()
        assert got.status == 429
        assert got.headers["retry-after"] == "9"
        assert got.json["error"]["message"] == "slow down"
        (message,) = await events(at, 1, "route")
    assert "first/claude-opus-5: 429 slow down; gone/claude-opus-5: 502" in message


async def test_silence_before_content_is_answered_elsewhere(tmp_path: Path, fleet: Fleet) -> None:
    fleet.there["first"].behaviour = raw_then_hang(SSE_HEAD, chunk(b": hi\n\n"))
    backends = fleet.backends()
    backends["first"] = replace(backends["first"], idle_timeout=0.1)
    route = RouteSettings("*", ("first", "second"), "priority")
    async with gate(tmp_path, backends, route, resilience=TRYING) as at:
        assert model(await at.stream()) == "second"


async def test_a_session_stays_where_it_was_answered(tmp_path: Path, fleet: Fleet) -> None:
    route = RouteSettings("*", ("first", "second", "third"), "round-robin")
    async with gate(tmp_path, fleet.backends(), route) as at:
        session = {"x-claude-code-session-id": "session-1"}
        names = {model(await at.stream(headers=session)) for _ in range(6)}
        assert len(names) == 1
        others = {model(await at.stream()) for _ in range(6)}
        assert others == {"first", "second", "third"}


async def test_a_slot_sent_by_hand_goes_there_at_once(tmp_path: Path, fleet: Fleet) -> None:
    route = RouteSettings("*", ("first", "second"), "priority")
    async with gate(tmp_path, fleet.backends(), route) as at:
        control = at.runtime.control
        assert model(await at.stream(model="claude-opus-5")) == "first"
        await control.set_slot("opus", "second/big")
        assert model(await at.stream(model="claude-opus-5")) == "second"
        assert json.loads(fleet.there["second"].requests[-1][1])["model"] == "big"
        assert await at.row("backend, model_requested") == ("second", "claude-opus-5")
        assert model(await at.stream(model="claude-haiku-5")) == "first"
        given = {one.slot: one.target for one in await control.slots()}
        assert given == {"opus": "second/big", "sonnet": "", "haiku": "", "subagent": ""}
        with pytest.raises(NotFound, match="no backend 'third'"):
            await control.set_slot("opus", "third")
        with pytest.raises(InvalidRequest, match="target: '/x' is no target"):
            await control.set_slot("opus", "/x")
        with pytest.raises(InvalidRequest, match="slot: there is no 'gemma'"):
            await control.set_slot("gemma", "first")
        await control.set_slot("opus", "")
        assert model(await at.stream(model="claude-opus-5")) == "first"
        assert await events(at, 2, "route") == [
            "opus goes to second/big now",
            "opus goes where the routes say now",
        ]


# ------------------------------------------------------------------------------- breakers

TRIPPING = ResilienceSettings(
    retries=0, breaker_failures=2, breaker_ratio=0.0, breaker_successes=1, health_interval_s=0.0
)
TWO = RouteSettings("*", ("first", "second"), "priority")


async def events(at: Gate, count: int, kind: str = "breaker") -> list[str]:
    """What the log has of that kind, once it is so much."""
    sql = f"SELECT message FROM events WHERE kind = '{kind}' ORDER BY happened_at, rowid"
    async with asyncio.timeout(SECONDS):
        for _ in itertools.count():
            rows = (await at.runtime.control.sql(sql)).rows
            if len(rows) >= count:
                break
    return [str(row[0]) for row in rows]


async def test_a_breaker_opens_is_seen_and_is_reset(tmp_path: Path, fleet: Fleet) -> None:
    fleet.there["first"].behaviour = BROKEN
    resilience = replace(TRIPPING, retries=1, cooldown_s=0.0)
    async with gate(tmp_path, fleet.backends(), TWO, resilience=resilience) as at:
        for _ in range(4):
            assert model(await at.stream()) == "second"
        assert fleet.asked["first"] == 2
        info = await at.backend("first")
        assert (info.breaker, info.healthy) == ("open", False)
        assert 0 < (info.open_for_s or 0) <= 30
        assert (await at.backend("second")).breaker == "closed"
        fleet.there["first"].behaviour = says("first")
        told = await at.reset("first")
        assert (told.status_code, told.json()) == (200, {"backend": "first", "breaker": "closed"})
        assert (await at.backend("first")).breaker == "closed"
        assert model(await at.stream()) == "first"
        assert (await at.reset("nobody")).status_code == 404
        assert await events(at, 3) == [
            "first: closed to open, 2 failures in a row, the last: 500 boom",
            "first: open to closed, reset by hand",
            "the breaker of first was reset by hand",
        ]


async def test_a_breaker_closes_by_itself_once_a_probe_is_answered(
    tmp_path: Path, fleet: Fleet
) -> None:
    first = fleet.there["first"]
    first.behaviour = refuses(529, "overloaded_error", "busy", "retry-after: 0")
    resilience = replace(TRIPPING, breaker_open_s=1e-9, breaker_successes=2, cooldown_s=0.0)
    route = RouteSettings("*", ("first",), fallback=("second",))
    async with gate(tmp_path, fleet.backends(), route, resilience=resilience) as at:
        for _ in range(2):
            assert model(await at.stream()) == "second"
        opened = await at.backend("first")
        assert opened.breaker == "open"
        first.behaviour = says("first")
        while (await at.backend("first")).open_for_s:
            pass
        assert model(await at.stream()) == "first"
        assert (await at.backend("first")).breaker == "half-open"
        assert model(await at.stream()) == "first"
        assert (await at.backend("first")).breaker == "closed"
        assert [message.partition(",")[0] for message in await events(at, 3)] == [
            "first: closed to open",
            "first: open to half-open",
            "first: half-open to closed",
        ]


async def test_the_only_backend_is_never_locked_out(tmp_path: Path, fleet: Fleet) -> None:
    first = fleet.there["first"]
    first.behaviour = BROKEN
    route = RouteSettings("*", ("first",))
    async with gate(tmp_path, fleet.backends(), route, resilience=TRIPPING) as at:
        for _ in range(4):
            assert (await at.stream()).json["error"]["message"] == "boom"
        assert (await at.backend("first")).breaker == "open"
        assert fleet.asked["first"] == 4
        first.behaviour = says("first")
        assert model(await at.stream()) == "first"
        assert (await at.backend("first")).breaker == "closed"


@pytest.mark.parametrize("behaviour", [INVALID, TOO_LONG])
async def test_what_says_nothing_of_the_backend_opens_nothing(
    tmp_path: Path, fleet: Fleet, behaviour: Behaviour
) -> None:
    fleet.there["first"].behaviour = behaviour
    route = RouteSettings("*", ("first",))
    async with gate(tmp_path, fleet.backends(), route, resilience=TRIPPING) as at:
        for _ in range(4):
            assert (await at.stream()).status == 400
        assert (await at.backend("first")).breaker == "closed"
        assert await events(at, 0) == []


async def test_what_breaks_in_the_middle_opens_it_too(tmp_path: Path, fleet: Fleet) -> None:
    error = b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"x"}}\n\n'
    fleet.there["first"].behaviour = reply(
        "200 OK", BEGUN + error, "content-type: text/event-stream"
    )
    async with gate(tmp_path, fleet.backends(), TWO, resilience=TRIPPING) as at:
        for _ in range(2):
            assert (await at.stream()).kinds[-1] == "error"
        assert (await at.backend("first")).breaker == "open"
        assert model(await at.stream()) == "second"
