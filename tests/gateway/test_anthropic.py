"""Anthropic's own API behind the whole server: bytes, headers, statuses, and the row."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from anyclaude.config.settings import CacheSettings, RouteSettings
from tests.doubles.anthropic_rules import Refused
from tests.doubles.anthropic_streams import Recorded, recorded
from tests.doubles.anthropic_upstream import KEY, AnthropicDouble, anthropic_double
from tests.gateway.kit import BASH, BODY, Gate, anthropic, gate

PLAIN = CacheSettings(l2=False, cache_marks=())
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-20260801",
    "content": [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 12,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 4000,
        "output_tokens": 25,
    },
}


@pytest.fixture
async def double() -> AsyncIterator[AnthropicDouble]:
    async with anthropic_double() as double:
        yield double


@pytest.fixture
async def there(double: AnthropicDouble, tmp_path: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path, {"claude": anthropic(double.url)}, cache=PLAIN) as server:
        yield server


def starts_with_content(stream: Recorded) -> bool:
    """An error before any content is answered with a status instead."""
    return bool(stream.text or stream.thinking or stream.calls) or stream.error is None


async def test_a_stream_comes_through_byte_for_byte(there: Gate, double: AnthropicDouble) -> None:
    """200 of those that reach an end; the others get an error event of ours instead."""
    answers = ((seed, recorded(seed)) for seed in itertools.count())
    ended = ((s, a) for s, a in answers if a.whole or (a.error and starts_with_content(a)))
    whole = dict(itertools.islice(ended, 200))
    for seed, answer in whole.items():
        double.streams = lambda: list(answer.chunks(seed))  # noqa: B023 - used up in the loop
        got = await there.stream()
        assert got.status == 200
        assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert got.body == answer.body, seed
    rows = await there.rows(
        "status, input_tokens, cache_read_tokens, cache_creation_tokens, output_tokens,"
        " stop_reason, model, backend,"
        " (SELECT count(*) FROM tool_calls WHERE request_id = requests.id)"
    )
    for row, answer in zip(rows, whole.values(), strict=True):
        if answer.error is not None:
            assert row[0] in (429, 500, 529)
            continue
        usage = answer.usage
        assert row == (
            200,
            usage.input_tokens,
            usage.cache_read_tokens,
            usage.cache_creation_tokens,
            usage.output_tokens,
            answer.stop_reason,
            answer.model,
            "claude",
            len(answer.calls),
        )


async def test_a_row_has_the_whole_truth(there: Gate, double: AnthropicDouble) -> None:
    double.message = MESSAGE
    got = await there.ask(tools=[BASH])
    assert got.json == MESSAGE
    row = await there.row(
        "input_tokens, cache_read_tokens, cache_creation_tokens, output_tokens, stop_reason,"
        " retries, route_reason, backend, model, model_requested, ttft_ms IS NULL, duration_ms > 0"
    )
    assert row[:6] == (12, 4000, 300, 25, "tool_use", 0)
    assert row[6:10] == (
        "the only target",
        "claude",
        "claude-opus-5-20260801",
        "claude-opus-5",
    )
    sql = "SELECT name, tool_use_id, verdict FROM tool_calls"
    calls = (await there.runtime.control.sql(sql)).rows
    assert calls == (("Bash", "toolu_1", "valid"),)


async def test_headers_both_ways(there: Gate, double: AnthropicDouble) -> None:
    double.message = MESSAGE
    double.headers = {"anthropic-ratelimit-requests-remaining": "7", "x-odd": "naïve"}
    sent = {
        "anthropic-beta": "context-1m-2025-08-07,fine-grained-tool-streaming-2025-05-14",
        "x-claude-code-session-id": "session-1",
        "user-agent": "claude-cli/2.1.330",
        "accept-encoding": "gzip",
    }
    got = await there.ask(headers=sent, path="/v1/messages?beta=true")
    (request,) = double.requests
    assert request.target == "/v1/messages?beta=true"
    for name in ("anthropic-beta", "x-claude-code-session-id", "user-agent"):
        assert request.all(name) == [sent[name]]
    assert request.all("x-api-key") == [KEY]
    assert request.all("accept-encoding") == ["identity"]
    assert request.all("host") == [double.url.removeprefix("http://")]
    assert request.all("remote-addr") == []
    assert json.loads(request.body) == BODY
    assert got.headers["request-id"] == "req_1"
    assert got.headers["x-anyclaude-request-id"] == (await there.row("id"))[0]
    assert got.headers["anthropic-ratelimit-requests-remaining"] == "7"
    assert got.headers["x-anyclaude-backend"] == "claude"
    assert got.headers.get_list("content-type") == ["application/json; charset=utf-8"]


async def test_a_prompt_that_is_too_long_is_told_in_the_apis_words(
    there: Gate, double: AnthropicDouble
) -> None:
    double.window = 10
    for stream in (False, True):
        got = await there.ask(stream=stream)
        assert got.status == 400
        assert got.json["error"]["message"].startswith("prompt is too long: ")
        assert got.json["request_id"] == got.headers["request-id"]
    assert (await there.row("status, error_category"))[0] == 400


@pytest.mark.parametrize(
    ("status", "kind", "headers"),
    [
        (401, "authentication_error", {}),
        (403, "permission_error", {}),
        (404, "not_found_error", {}),
        (413, "request_too_large", {}),
        (429, "rate_limit_error", {"retry-after": "17"}),
        (500, "api_error", {"x-should-retry": "false"}),
        (529, "overloaded_error", {"retry-after": "3"}),
    ],
)
async def test_errors_arrive_unmasked(
    there: Gate,
    double: AnthropicDouble,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    kind: str,
    headers: dict[str, str],
) -> None:
    def refuse(*_: object) -> None:
        raise Refused(status, kind, f"because of {kind}")

    monkeypatch.setattr("tests.doubles.anthropic_upstream.check_headers", refuse)
    double.headers = headers
    for stream in (False, True):
        got = await there.ask(stream=stream)
        assert got.status == status
        assert got.json["error"] == {"type": kind, "message": f"because of {kind}"}
        assert got.json["request_id"] == got.headers["request-id"]
        for name, value in headers.items():
            assert got.headers[name] == value
    assert (await there.row("status, error_message")) == (status, f"because of {kind}")
    assert len(double.requests) == 2


async def test_counting_is_passed_on(there: Gate, double: AnthropicDouble) -> None:
    body = {k: v for k, v in BODY.items() if k != "max_tokens"}
    got = await there.ask(body, path="/v1/messages/count_tokens?beta=true")
    (request,) = double.requests
    assert request.target == "/v1/messages/count_tokens?beta=true"
    assert got.json == {"input_tokens": len(request.body) // 4}
    row = await there.row("role, status, input_tokens, backend, route_reason")
    assert row == ("count", 200, len(request.body) // 4, "claude", "the only target")


async def test_a_refused_count_is_unmasked(there: Gate) -> None:
    got = await there.ask(path="/v1/messages/count_tokens", headers={"x-api-key": "no"})
    assert got.status == 401
    assert got.json["error"]["message"] == "invalid x-api-key"
    assert (await there.row("role, status")) == ("count", 401)


async def test_the_target_renames_the_model_and_nothing_else(
    double: AnthropicDouble, tmp_path: Path
) -> None:
    double.message = MESSAGE
    backend = replace(anthropic(double.url), api_key=KEY)
    route = RouteSettings("my-*", ("claude/claude-sonnet-5",))
    async with gate(tmp_path, {"claude": backend}, route, cache=PLAIN) as server:
        await server.ask(model="my-model", headers={"x-api-key": "a key of ours"})
        row = await server.row("model_requested, model, backend")
        assert row == ("my-model", "claude-opus-5-20260801", "claude")
        missing = await server.ask(model="other")
        assert missing.status == 404
    request = next(r for r in double.requests if r.target == "/v1/messages")
    assert json.loads(request.body) == {**BODY, "model": "claude-sonnet-5"}
    assert request.all("x-api-key") == [KEY]


async def test_cache_marks_are_added_where_the_client_has_none(
    double: AnthropicDouble, tmp_path: Path
) -> None:
    double.message = MESSAGE
    async with gate(tmp_path, {"claude": anthropic(double.url)}) as server:
        await server.ask(system=[{"type": "text", "text": "Be brief."}])
    body = json.loads(double.requests[-1].body)
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
