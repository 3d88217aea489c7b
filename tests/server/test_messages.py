"""``POST /v1/messages`` and its neighbours through plain HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from anyclaude.backend import Admission
from anyclaude.bench.grammar import check_sse
from anyclaude.errors import EngineFailed, Overloaded, PromptTooLong, Unavailable
from anyclaude.events import SystemEvent
from anyclaude.stream import Comment, Emitter, Ping
from anyclaude.types import MessagesRequest, PrefixBreak, PrefixMiss, Tier, Usage
from tests.server.conftest import BODY
from tests.server.fakes import DONE, USAGE, FakePipeline, Running, Step, serving

STREAM = {**BODY, "stream": True}


async def test_a_stream_is_in_order_and_says_what_was_generated(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/messages?beta=true", json=STREAM)
    verdict = check_sse(response.text.split("\n"))
    assert verdict.ok, verdict.problems
    assert verdict.text == "The capital of France is Paris."
    assert verdict.names[:2] == ["message_start", "content_block_start"]
    assert verdict.usage == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": 20,
        "output_tokens": 7,
    }
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert "content-encoding" not in response.headers
    assert response.headers["request-id"].startswith("req_")
    assert response.headers["x-anyclaude-backend"] == "mlx"
    cache = "tier=kv; reused=20; prompt=35; cause=history_changed"
    assert response.headers["x-anyclaude-cache"] == cache


@pytest.mark.parametrize(
    ("admission", "said"),
    [
        (Admission("mlx", "m", Usage(35), None), "tier=none; reused=0; prompt=35; cause=none"),
        (
            Admission(
                "mlx", "m", Usage(10, 20, 5), Tier.KV_DISK, from_disk=15,
                miss=PrefixMiss(PrefixBreak.TOOLS_CHANGED, 4, -1, "é\nold", "new", 9, 0.5),
            ),
            "tier=kv-disk; reused=20; prompt=35; cause=tools_changed; disk=15; at=4; "
            "message=head; lost=9; lost_s=0.5",
        ),
        (
            Admission(
                "mlx", "m", Usage(10, 20, 5), Tier.KV,
                miss=PrefixMiss(PrefixBreak.HISTORY_CHANGED, 20, 3, tokens_lost=7),
            ),
            "tier=kv; reused=20; prompt=35; cause=history_changed; at=20; message=3; lost=7",
        ),
    ],
)  # fmt: skip
async def test_the_cache_header_says_where_and_what_it_cost_never_the_prompt(
    client: httpx.AsyncClient, server: Running, admission: Admission, said: str
) -> None:
    server.pipeline.admission = admission
    response = await client.post("/v1/messages", json=BODY)
    assert response.headers["x-anyclaude-cache"] == said


async def test_without_stream_the_same_answer_comes_whole(
    client: httpx.AsyncClient, server: Running
) -> None:
    response = await client.post("/v1/messages", json=BODY)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-anyclaude-cache"].startswith("tier=kv; reused=20")
    message = response.json()
    assert message["content"] == [{"type": "text", "text": "The capital of France is Paris."}]
    assert message["stop_reason"] == "end_turn"
    assert message["id"] == response.headers["request-id"]
    await server.pipeline.until(lambda: bool(server.pipeline.finished))


async def test_the_pipeline_gets_who_when_and_what(
    client: httpx.AsyncClient, server: Running
) -> None:
    body = json.dumps({**BODY, "safeguards": [{"user": "ada"}]})
    headers = {
        "content-type": "application/json",
        "x-claude-code-session-id": "session",
        "x-claude-code-agent-id": "agent",
        "authorization": "Bearer secret-1",
        "x-api-key": "secret-2",
        "cookie": "secret-3",
        "x-team-token": "secret-4",
    }
    await client.post("/v1/messages", content=body, headers=headers)
    arrival, request = server.pipeline.arrivals[0]
    assert arrival.started_at == 1_700_000_000.0
    assert (arrival.client.session_id, arrival.client.agent_id) == ("session", "agent")
    assert "python-httpx" in arrival.client.user_agent
    assert ("x-claude-code-session-id", "session") in arrival.client.headers
    assert not any("secret-" in value for _, value in arrival.client.headers)
    assert "ada" not in arrival.body
    assert json.loads(arrival.body) == BODY
    assert request.model == "local-model"


async def test_count_tokens_needs_no_max_tokens(client: httpx.AsyncClient) -> None:
    body = {"model": "m", "messages": BODY["messages"]}
    response = await client.post("/v1/messages/count_tokens?beta=true", json=body)
    assert response.json() == {"input_tokens": 35}


@pytest.mark.parametrize(
    ("error", "status", "kind", "retry_after"),
    [
        (PromptTooLong(9001, 8192), 400, "invalid_request_error", None),
        (Unavailable("loading smol", retry_after=1.2), 503, "overloaded_error", "2"),
        (Overloaded("the queue is full", retry_after=0.1), 529, "overloaded_error", "1"),
        (EngineFailed("it broke", retry_after=900), 500, "api_error", "60"),
        (RuntimeError("a secret path"), 500, "api_error", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_refused_has_its_status_before_any_byte(
    client: httpx.AsyncClient,
    server: Running,
    error: Exception,
    status: int,
    kind: str,
    retry_after: str | None,
    stream: bool,
) -> None:
    server.pipeline.refuse = error
    response = await client.post("/v1/messages", json={**BODY, "stream": stream})
    assert response.status_code == status
    body = response.json()
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"] == response.headers["request-id"]
    assert response.headers.get("retry-after") == retry_after
    assert response.headers["x-anyclaude-backend"] == "none"
    assert "tier=none" in response.headers["x-anyclaude-cache"]
    assert "secret" not in response.text
    if isinstance(error, PromptTooLong):
        message = "prompt is too long: 9001 tokens > 8192 maximum"
        assert body["error"]["message"] == message


async def test_a_bad_body_gets_a_row_with_what_could_be_read(
    client: httpx.AsyncClient, server: Running
) -> None:
    response = await client.post("/v1/messages", json={**STREAM, "max_tokens": "many"})
    assert response.status_code == 400
    ((arrival, error, streaming, model),) = server.pipeline.rejected
    assert (streaming, model) == (True, "local-model")
    assert error.message == "max_tokens: Input should be a valid integer"
    assert arrival.id == response.headers["request-id"]
    assert '"many"' in arrival.body


async def test_lone_surrogates_are_mended_with_an_event(
    client: httpx.AsyncClient, server: Running
) -> None:
    events = server.bus.subscribe()
    text = r'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a\ud800b"}]}'
    headers = {"content-type": "application/json"}
    response = await client.post("/v1/messages", content=text, headers=headers)
    assert response.status_code == 200
    (event,) = (e for e in events.drain() if isinstance(e, SystemEvent))
    assert (event.kind, event.request_id) == ("input", response.headers["request-id"])
    assert "U+FFFD" in event.message


async def test_pings_and_comments_keep_the_stream_alive() -> None:
    def script(emitter: Emitter, request: MessagesRequest) -> list[Step]:
        return [
            *emitter.start(USAGE),
            Ping(),
            Comment("prefill 4096/13210"),
            Comment("two\nlines"),
            *emitter.text("ok"),
            *emitter.finish("end_turn", None, DONE),
        ]

    async with serving(FakePipeline(script)) as server, httpx.AsyncClient() as client:
        response = await client.post(f"{server.url}/v1/messages", json=STREAM)
    assert ": prefill 4096/13210\n\n" in response.text
    verdict = check_sse(response.text.split("\n"))
    assert verdict.ok, verdict.problems
    assert verdict.comments == ["prefill 4096/13210", "two lines"]


async def test_calls_and_thinking_and_odd_text_survive_the_wire() -> None:
    odd = "a\u2028b\x85c\ud800\n\r\n😀 data: x"

    def script(emitter: Emitter, request: MessagesRequest) -> list[Step]:
        return [
            *emitter.start(USAGE),
            *emitter.thinking("hm", "sig"),
            *emitter.text(odd),
            *emitter.tool_use("toolu_1", "Bash"),
            *emitter.tool_json('{"command":'),
            *emitter.tool_json('"ls"}'),
            *emitter.finish("tool_use", None, DONE),
        ]

    async with serving(FakePipeline(script)) as server, httpx.AsyncClient() as client:
        streamed = await client.post(f"{server.url}/v1/messages", json=STREAM)
        whole = await client.post(f"{server.url}/v1/messages", json=BODY)
    verdict = check_sse(streamed.text.splitlines())
    assert verdict.ok, verdict.problems
    assert [block["type"] for block in verdict.content] == ["thinking", "text", "tool_use"]
    assert verdict.content[1]["text"] == odd
    assert verdict.content[2]["input"] == {"command": "ls"}
    assert whole.json()["content"] == verdict.content


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(EngineFailed("the model broke"), "api_error"), (RuntimeError("secret"), "api_error")],
)
async def test_a_failure_in_mid_stream_is_one_error_event(failure: Exception, kind: str) -> None:
    def script(emitter: Emitter, request: MessagesRequest) -> list[Step]:
        async def fail() -> None:
            raise failure

        return [*emitter.start(USAGE), *emitter.text("half"), fail]

    async with serving(FakePipeline(script)) as server, httpx.AsyncClient() as client:
        response = await client.post(f"{server.url}/v1/messages", json=STREAM)
    verdict = check_sse(response.text.split("\n"))
    assert verdict.ok, verdict.problems
    assert verdict.error is not None
    assert verdict.error["type"] == kind
    assert "secret" not in response.text
    assert verdict.names[-1] == "error"


async def test_a_failure_without_a_stream_has_its_status() -> None:
    def script(emitter: Emitter, request: MessagesRequest) -> list[Step]:
        async def fail() -> None:
            raise EngineFailed("the model broke")

        return [*emitter.start(USAGE), fail]

    async with serving(FakePipeline(script)) as server, httpx.AsyncClient() as client:
        response = await client.post(f"{server.url}/v1/messages", json=BODY)
    assert response.status_code == 500
    assert response.json()["error"]["message"] == "the model broke"
    assert response.headers["x-anyclaude-backend"] == "mlx"


async def test_a_first_event_that_fails_is_a_status_not_a_stream() -> None:
    def script(emitter: Emitter, request: MessagesRequest) -> list[Step]:
        async def fail() -> None:
            raise RuntimeError("before the start")

        return [fail]

    async with serving(FakePipeline(script)) as server, httpx.AsyncClient() as client:
        response = await client.post(f"{server.url}/v1/messages", json=STREAM)
    assert response.status_code == 500


async def test_four_streams_at_once_do_not_mix(server: Running, client: httpx.AsyncClient) -> None:
    def script(emitter: Emitter, request: MessagesRequest) -> list[Step]:
        async def breathe() -> None:
            await asyncio.sleep(0)

        steps: list[Step] = [*emitter.start(USAGE)]
        for piece in request.model:
            steps += [*emitter.text(piece), breathe]
        return [*steps, *emitter.finish("end_turn", None, DONE)]

    server.pipeline.script = script

    async def ask(model: str) -> str:
        response = await client.post("/v1/messages", json={**STREAM, "model": model})
        return check_sse(response.text.split("\n")).text

    models = [str(n) * 50 for n in range(4)]
    assert await asyncio.gather(*map(ask, models)) == models


async def test_unknown_fields_betas_types_and_names_are_served(client: httpx.AsyncClient) -> None:
    body: dict[str, Any] = {
        **BODY,
        "model": "claude-opus-99[1m]",
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "invented": [1, 2],
        "thinking": {"type": "adaptive", "display": "updates"},
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}],
        "messages": [
            {"role": "user", "content": [{"type": "invented_block", "x": 1}]},
            {"role": "system", "content": "now", "output_config": {"effort": "low"}},
        ],
    }
    headers = {"anthropic-beta": "invented-2030-01-01"}
    response = await client.post("/v1/messages", json=body, headers=headers)
    assert response.status_code == 200
