"""Requests sent again: what is sent, what is read off the answer, what is found wrong with it."""

from __future__ import annotations

import json

import pytest

from anyclaude.bench.recording import COUNT, MESSAGES, Recorded
from anyclaude.bench.replay import Replayed, Summary, replay
from anyclaude.errors import Unavailable
from tests.bench.double import Reply, answer, serving
from tests.bench.test_grammar import MESSAGE

JSON = "application/json"


def recorded(path: str = MESSAGES) -> Recorded:
    return Recorded("r:1", path, (("user-agent", "claude"),), b'{"stream": true}')


async def one(reply: Reply, path: str = MESSAGES) -> Replayed:
    with serving(reply) as double:
        (fate,) = [fate async for fate in replay([recorded(path)], double.url, "key")]
        where, headers, body = double.asked[0]
    assert (where, body) == (path, {"stream": True})
    assert (headers["user-agent"], headers["x-api-key"]) == ("claude", "key")
    return fate


async def test_a_stream() -> None:
    fate = await one(Reply(answer("a", "b\u2028")))
    assert (fate.status, fate.problems, fate.stop_reason) == (200, [], "end_turn")
    assert (fate.prompt, fate.reused, fate.disk, fate.tier) == (35, 20, 4, "kv")
    assert fate.cause == "history_changed"
    assert fate.ttft is not None
    assert 0 < fate.ttft <= fate.duration


async def test_a_whole_answer_and_a_count() -> None:
    whole = await one(Reply([json.dumps(MESSAGE)], kind=JSON))
    assert (whole.problems, whole.stop_reason, whole.ttft) == ([], "end_turn", None)
    count = await one(Reply(['{"input_tokens": 12}'], kind=JSON), COUNT)
    assert (count.problems, count.prompt) == ([], 12)
    wrong = await one(Reply(['{"tokens": 12}'], kind=JSON), COUNT)
    assert wrong.problems == ["input_tokens is None"]


async def test_a_refusal_in_the_right_shape_is_no_problem() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "full"}}
    fate = await one(Reply([json.dumps(error)], status=529, kind=JSON))
    assert (fate.status, fate.problems, fate.stop_reason) == (529, [], "error")


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(answer("a")[:-1]), "neither message_stop nor error"),
        (Reply(answer("a")[:3], cut=True), "the connection broke"),
        (Reply(["<html>"], status=502, kind="text/html"), "not JSON"),
        (Reply(['{"error": "no"}'], status=500, kind=JSON), "not the shape of an error"),
        (Reply(['{"id": 1}'], kind=JSON), "not the shape of a message"),
        (Reply(["[]"], kind=JSON), "not the shape of a message"),
    ],
)
async def test_bad_answers(reply: Reply, problem: str) -> None:
    fate = await one(reply)
    assert any(problem in found for found in fate.problems)


async def test_nothing_answers() -> None:
    with serving(Reply()) as double:
        pass
    with pytest.raises(Unavailable, match="nothing answers at http://127"):
        [fate async for fate in replay([recorded()], double.url, "key")]


def test_the_sum() -> None:
    fates = [
        Replayed(1, "a", 200, prompt=100, reused=0, ttft=4.0),
        Replayed(2, "b", 200, prompt=200, reused=150, disk=50, ttft=1.0, problems=["bad"]),
        Replayed(3, "c", 529),
    ]
    assert Summary.of(fates).line() == (
        "3 requests, 1 refused, 1 not well-formed; 150 of 300 prompt tokens reused (50.0 %),"
        " 50 of them from disk; median TTFT 2.500 s"
    )
    assert Summary.of([Replayed(1, "a", 200)]).line() == (
        "1 request, 0 refused, all well-formed; 0 of 0 prompt tokens reused"
    )
