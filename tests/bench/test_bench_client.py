"""The measuring clients against a real socket: what is sent, timed, counted and refused."""

from __future__ import annotations

import threading

import pytest

from anyclaude.bench.client import Answer, Anthropic, Client, OpenAI, fields_of
from anyclaude.bench.workload import Prompt
from anyclaude.errors import AnyclaudeError
from tests.bench.double import Reply, answer, completion, event, serving

PROMPT = Prompt("Be brief.", ("one", "two", "three"))


async def test_the_messages_api_is_asked_and_counted() -> None:
    with serving(Reply(answer("a", "b", "c\u2028", output=5))) as double:
        client = Client("x", double.url, Anthropic(), {"x-api-key": "k"})
        got = await client.ask(PROMPT, 8)
    path, headers, body = double.asked[0]
    assert (path, headers["x-api-key"]) == ("/v1/messages", "k")
    assert body["system"][0]["text"] == "Be brief."
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    assert (body["max_tokens"], body["temperature"], body["stream"]) == (8, 0.0, True)
    assert (got.text, got.prompt_tokens, got.output_tokens) == ("abc\u2028", 35, 5)
    assert got.cache["reused"] == "20"
    assert got.sent_at < got.pieces[0] <= got.pieces[-1] <= got.ended_at


async def test_chat_completions_are_asked_and_counted() -> None:
    with serving(Reply(completion("a", "b"))) as double:
        got = await Client("x", double.url, OpenAI(), {}).ask(PROMPT, 8)
    path, _, body = double.asked[0]
    assert path == "/v1/chat/completions"
    assert [m["content"] for m in body["messages"]] == ["Be brief.", "one", "two", "three"]
    assert (got.text, len(got.pieces)) == ("ab", 2)
    assert (got.prompt_tokens, got.output_tokens) == (35, 2)


async def test_a_stream_is_watched_and_hung_up_on() -> None:
    go = threading.Event()
    slow = Reply(answer(*"abcdef" * 20), before=lambda part: part > 4 and go.wait())
    with serving(slow) as double:
        client = Client("x", double.url, Anthropic(), {})
        async with client.stream(PROMPT, 200) as running:
            assert await running.pieces(3)
            assert len(running.answer.pieces) == 3
            assert not running.ended
        go.set()
        assert double.hung_up.wait(30)
    assert running.ended


async def test_a_short_stream_says_that_it_ended() -> None:
    with serving(Reply(answer("a", "b"))) as double:
        async with Client("x", double.url, Anthropic(), {}).stream(PROMPT, 8) as running:
            assert not await running.pieces(3)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(["no room"], status=529), "x: 529 no room"),
        (Reply([*answer("a")[:3], event("error", error={"type": "api_error"})]), "ended in"),
        (Reply(["data: {"]), "another form"),
        (Reply(answer("a", "b")[:4], cut=True), "broke off"),
    ],
)
async def test_what_is_no_answer_is_one_error(reply: Reply, message: str) -> None:
    with serving(reply) as double:
        client = Client("x", double.url, Anthropic(), {})
        with pytest.raises(AnyclaudeError, match=message):
            await client.ask(PROMPT, 8)
        with pytest.raises(AnyclaudeError, match=message):
            async with client.stream(PROMPT, 8) as running:
                await running.pieces(100)
                raise ValueError("what came of it")
        with pytest.raises(AnyclaudeError, match=message):
            await client.together([PROMPT, PROMPT], 8)


async def test_nobody_there() -> None:
    with serving(Reply()) as double:
        pass
    with pytest.raises(AnyclaudeError, match="broke off at"):
        await Client("x", double.url, Anthropic(), {}).ask(PROMPT, 1)


def test_times_of_an_answer() -> None:
    got = Answer(10.0, [11.0, 11.5, 12.0, 14.0], 15.0, output_tokens=7)
    assert got.ttft == 1.0
    assert got.rate == 2.0
    assert got.gaps() == [0.5, 0.5, 2.0]
    assert got.gaps(12.5, 13.0) == [2.0], "a gap that spans the whole time counts"
    assert got.gaps(0.0, 11.2) == [0.5]
    nothing = Answer(10.0, [], 12.5)
    assert (nothing.ttft, nothing.rate, nothing.gaps()) == (2.5, 0.0, [])


def test_fields_of_a_header() -> None:
    assert fields_of("tier=kv; reused=3;cause=none; odd") == {
        "tier": "kv",
        "reused": "3",
        "cause": "none",
    }
    assert fields_of("") == {}
