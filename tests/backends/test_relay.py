"""Anthropic pass-through against the strict double: bytes, headers, errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from anyclaude.backend import RelayBackend, RelayRequest
from anyclaude.backends.cache_marks import CacheMarks
from anyclaude.backends.relay import AnthropicBackend, AnthropicOptions
from anyclaude.errors import UpstreamError
from tests.backends.kit import HEADERS, QUICK, asked, leaving_nothing
from tests.doubles.anthropic_streams import recorded
from tests.doubles.anthropic_upstream import KEY, AnthropicDouble, anthropic_double

STREAM = json.dumps(
    {
        "model": "claude-opus-5",
        "max_tokens": 8,
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
    }
).encode()
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5",
    "content": [{"type": "text", "text": "büro \u2028"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 2},
}


@asynccontextmanager
async def relaying(**options: Any) -> AsyncIterator[tuple[AnthropicBackend, AnthropicDouble]]:
    async with leaving_nothing(), anthropic_double() as double:
        options = {"name": "claude", "base_url": double.url, "timeouts": QUICK, **options}
        backend = AnthropicBackend(AnthropicOptions(**options))
        try:
            yield backend, double
        finally:
            await backend.close()


async def body_of(backend: RelayBackend, request: RelayRequest) -> bytes:
    answer = await backend.relay(request)
    return b"".join([piece async for piece in answer])


# ------------------------------------------------------------------------------------ bytes


@pytest.mark.parametrize("block", range(10))
async def test_200_streams_pass_byte_for_byte(block: int) -> None:
    async with relaying() as (backend, double):
        for seed in range(block * 20, block * 20 + 20):
            answer = recorded(seed)
            pieces = list(answer.chunks(seed))
            double.streams = lambda pieces=pieces: pieces
            passed = await backend.relay(asked(STREAM, query="beta=true"))
            assert passed.status == 200
            assert b"".join([piece async for piece in passed]) == answer.body


async def test_a_body_passes_byte_for_byte() -> None:
    async with relaying() as (backend, double):
        double.message = MESSAGE
        answer = await backend.relay(asked())
        assert (answer.status, dict(answer.headers)["content-type"]) == (
            200,
            "application/json; charset=utf-8",
        )
        assert b"".join([piece async for piece in answer]) == json.dumps(MESSAGE).encode()


async def test_tokens_are_counted() -> None:
    body = b'{"model":"claude-opus-5","messages":[{"role":"user","content":"hi"}]}'
    async with relaying() as (backend, double):
        request = asked(body, path="/v1/messages/count_tokens", query="beta=true")
        assert json.loads(await body_of(backend, request)) == {"input_tokens": len(body) // 4}
        assert double.requests[0].target == "/v1/messages/count_tokens?beta=true"


async def test_chunks_are_passed_as_they_come() -> None:
    async with relaying() as (backend, double):
        double.streams = lambda: [b"event: a\n", b"data: 1\n\n"]
        double.hold[1] = asyncio.Event()
        answer = await backend.relay(asked(STREAM))
        pieces = aiter(answer)
        assert await anext(pieces) == b"event: a\n"
        double.hold[1].set()
        assert await anext(pieces) == b"data: 1\n\n"
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)


async def test_a_client_that_leaves_stops_the_stream_upstream() -> None:
    async with relaying() as (backend, double):
        double.streams = lambda: [b"data: 1\n\n", b"data: 2\n\n"]
        double.hold[1] = asyncio.Event()
        answer = await backend.relay(asked(STREAM))
        assert await anext(aiter(answer)) == b"data: 1\n\n"
        await answer.close()
        await double.left.wait()


# ---------------------------------------------------------------------------------- request


async def test_the_body_arrives_as_it_was_sent() -> None:
    body = STREAM.replace(b'"max_tokens": 8', b' "max_tokens" :\t8 ')
    async with relaying() as (backend, double):
        await body_of(backend, asked(body))
        await body_of(backend, asked(body, model="claude-haiku-4-5"))
        assert double.requests[0].body == body
        assert double.requests[1].body == body.replace(b"claude-opus-5", b"claude-haiku-4-5")


async def test_the_clients_headers_arrive() -> None:
    sent = (
        *HEADERS,
        ("Anthropic-Beta", "claude-code-20250219,interleaved-thinking-2025-05-14"),
        ("Anthropic-Beta", " context-1m-2025-08-07 , effort-2025-11-24"),
        ("User-Agent", "claude-cli/2.1.330 (external, cli)"),
        ("X-App", "cli"),
        ("X-Claude-Code-Session-Id", "0b1c"),
        ("X-Stainless-Timeout", "600"),
        ("Accept", "application/json"),
        ("X-Empty", ""),
        ("X-User", "JosÃ©"),  # UTF-8, as our server reads it
        ("X-Latin", "Jos\xe9"),
    )
    dropped = (
        ("Host", "127.0.0.1:1"),
        ("Content-Length", "9999"),
        ("Accept-Encoding", "gzip, br"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic eA=="),
        ("TE", "trailers"),
        ("Trailer", "x"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
        ("Expect", "100-continue"),
    )
    async with relaying() as (backend, double):
        await body_of(backend, asked(STREAM, (*sent, *dropped), query="beta=true&x=%2F"))
        received = double.requests[0]
    assert received.target == "/v1/messages?beta=true&x=%2F"
    assert received.all("anthropic-beta") == [
        "claude-code-20250219,interleaved-thinking-2025-05-14",
        "context-1m-2025-08-07 , effort-2025-11-24",
    ]
    expected = [(n.lower(), v.strip()) for n, v in sent if n != "X-Latin"]
    got = [(n.lower(), v) for n, v in received.headers]
    assert [pair for pair in got if pair[0] != "x-latin"] == [
        ("host", double.url.removeprefix("http://")),
        *expected,
        ("accept-encoding", "identity"),
        ("content-length", str(len(STREAM))),
    ]
    assert received.all("x-latin") == ["Jos\xe9".encode().decode("latin-1")]


async def test_the_clients_own_key_goes_through() -> None:
    bearer = (("Content-Type", "application/json"), ("anthropic-version", "2023-06-01"))
    async with relaying() as (backend, double):
        await body_of(backend, asked(STREAM))
        await body_of(backend, asked(STREAM, (*bearer, ("Authorization", f"Bearer {KEY}"))))
        assert double.requests[0].all("x-api-key") == [KEY]
        assert double.requests[1].all("x-api-key") == []
        assert double.requests[1].all("authorization") == [f"Bearer {KEY}"]


async def test_the_configured_key_takes_the_place_of_the_clients() -> None:
    theirs = (
        ("Content-Type", "application/json"),
        ("anthropic-version", "2023-06-01"),
        ("Authorization", "Bearer local-secret"),
        ("x-api-key", "local-secret"),
    )
    async with relaying(api_key=KEY) as (backend, double):
        await body_of(backend, asked(STREAM, theirs))
        assert double.requests[0].all("x-api-key") == [KEY]
        assert "local-secret" not in repr(double.requests[0])


async def test_configured_headers() -> None:
    added = (("X-App", "ours"), ("anthropic-beta", "more-2026-01-01"))
    client = (*HEADERS, ("x-app", "cli"), ("anthropic-beta", "some-2025-01-01"))
    async with relaying(headers=added) as (backend, double):
        await body_of(backend, asked(STREAM, client))
        assert double.requests[0].all("x-app") == ["ours"]
        assert double.requests[0].all("anthropic-beta") == ["some-2025-01-01", "more-2026-01-01"]


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
async def test_an_address_with_or_without_the_version(tail: str) -> None:
    async with relaying() as (_, double):
        options = AnthropicOptions("claude", double.url + tail, timeouts=QUICK)
        backend = AnthropicBackend(options)
        await body_of(backend, asked(STREAM))
        assert double.requests[0].target == "/v1/messages"
        await backend.close()


async def test_marks_are_set_where_the_client_set_none() -> None:
    async with relaying(cache_marks=CacheMarks(system=True, user_turns=1)) as (backend, double):
        await body_of(backend, asked(STREAM, model="claude-sonnet-5"))
        own = json.loads(STREAM)
        own["messages"][0]["content"] = [
            {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}
        ]
        marked = json.dumps(own, indent=1).encode()
        await body_of(backend, asked(marked))
        sent = json.loads(double.requests[0].body)
        assert sent["model"] == "claude-sonnet-5"
        assert sent["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
        assert double.requests[1].body == marked


# --------------------------------------------------------------------------------- answers


async def test_the_answers_headers() -> None:
    async with relaying() as (backend, double):
        double.headers = {
            "anthropic-ratelimit-requests-remaining": "9",
            "anthropic-organization-id": "org",
            "retry-after": "1",
            "set-cookie": "__cf_bm=1",
            "strict-transport-security": "max-age=1",
            "alt-svc": 'h3=":443"',
            "x-hop": "1",
            "connection": "keep-alive, x-hop",
        }
        answer = await backend.relay(asked(STREAM))
        assert b"".join([piece async for piece in answer]) == b""
    assert answer.headers == (
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("request-id", "req_1"),
        ("anthropic-ratelimit-requests-remaining", "9"),
        ("anthropic-organization-id", "org"),
        ("retry-after", "1"),
    )


async def test_an_encoding_that_nobody_asked_for_stays_declared() -> None:
    async with relaying() as (backend, double):
        double.headers = {"content-encoding": "zstd"}
        double.streams = lambda: [b"\x28\xb5\x2f\xfd"]
        answer = await backend.relay(asked(STREAM))
        assert ("content-encoding", "zstd") in answer.headers
        assert b"".join([piece async for piece in answer]) == b"\x28\xb5\x2f\xfd"


async def refused(backend: AnthropicBackend, request: RelayRequest) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await backend.relay(request)
    return caught.value


@pytest.mark.parametrize(
    ("change", "status", "kind", "message"),
    [
        (
            {"headers": HEADERS[:2]},
            401,
            "authentication_error",
            "x-api-key header is required",
        ),
        (
            {"headers": (*HEADERS[:2], ("x-api-key", "wrong"))},
            401,
            "authentication_error",
            "invalid x-api-key",
        ),
        (
            {"headers": (HEADERS[0], HEADERS[2])},
            400,
            "invalid_request_error",
            "anthropic-version: header is required",
        ),
        ({"model": "gpt-5"}, 404, "not_found_error", "model: gpt-5"),
        ({"body": b"{"}, 400, "invalid_request_error", "The request body is not valid JSON"),
        (
            {"body": b'{"model":"claude-opus-5","messages":[]}'},
            400,
            "invalid_request_error",
            "max_tokens: Field required",
        ),
        (
            {"body": STREAM.replace(b"hi", b"x" * 900_000)},
            400,
            "invalid_request_error",
            "prompt is too long: 225026 tokens > 200000 maximum",
        ),
    ],
)
async def test_an_error_reaches_the_client_unmasked(
    change: dict[str, Any], status: int, kind: str, message: str
) -> None:
    async with relaying() as (backend, _):
        error = await refused(backend, replace(asked(STREAM), **change))
    assert (error.status, error.type, error.message) == (status, kind, message)
    assert error.answered
    assert not error.retryable
    assert error.overflow == ("too long" in message)
    told = json.loads(error.raw)
    assert told["error"] == {"type": kind, "message": message}
    assert error.headers == (
        ("request-id", "req_1"),
        ("content-type", "application/json; charset=utf-8"),
    )


def test_no_secret_shows() -> None:
    options = AnthropicOptions("claude", api_key="hunter2", headers=(("x", "hunter2"),))
    request = asked(b"hunter2", (("x-api-key", "hunter2"),))
    assert "hunter2" not in repr(options) + repr(request)
