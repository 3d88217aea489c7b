"""The official SDK against our server: answers, pages and its own typed errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from anyclaude.errors import EngineFailed, Overloaded, PromptTooLong, RateLimited, Unavailable
from anyclaude.stream import Emitter
from anyclaude.types import MessagesRequest
from tests.server.fakes import DONE, USAGE, FakePipeline, Running, Step, serving

ASK: dict[str, Any] = {
    "model": "local-model",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}


@pytest.fixture
async def sdk(server: Running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=server.url, api_key="any", max_retries=0
    ) as client:
        yield client


async def test_an_answer(sdk: anthropic.AsyncAnthropic) -> None:
    message = await sdk.messages.create(**ASK)
    assert message.content[0].type == "text"
    assert "Paris" in message.content[0].text
    assert message.stop_reason == "end_turn"
    usage = message.usage
    assert usage.cache_read_input_tokens is not None
    assert usage.cache_creation_input_tokens is not None
    counted = await sdk.messages.count_tokens(model="m", messages=ASK["messages"])
    assert counted.input_tokens == (
        usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    )


async def test_a_stream(sdk: anthropic.AsyncAnthropic) -> None:
    async with sdk.messages.stream(**ASK) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text == "The capital of France is Paris."
    assert final.usage.output_tokens == 7
    assert final.stop_reason == "end_turn"


async def test_a_call_is_put_together() -> None:
    def script(emitter: Emitter, request: MessagesRequest) -> list[Step]:
        return [
            *emitter.start(USAGE),
            *emitter.thinking("hm", "sig"),
            *emitter.tool_use("toolu_1", "Bash"),
            *emitter.tool_json('{"command": '),
            *emitter.tool_json('"ls"}'),
            *emitter.finish("tool_use", None, DONE),
        ]

    async with (
        serving(FakePipeline(script)) as server,
        anthropic.AsyncAnthropic(base_url=server.url, api_key="x", max_retries=0) as sdk,
        sdk.messages.stream(**ASK) as stream,
    ):
        final = await stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "tool_use"]
    assert final.content[1].type == "tool_use"
    assert final.content[1].input == {"command": "ls"}


async def test_models_are_listed_page_by_page(sdk: anthropic.AsyncAnthropic) -> None:
    ids = [model.id async for model in sdk.models.list(limit=1)]
    assert ids == ["claude-anyclaude", "smol"]
    page = await sdk.models.list()
    assert (page.has_more, page.first_id, page.last_id) == (False, "claude-anyclaude", "smol")
    alias = await sdk.models.retrieve("claude-anyclaude")
    assert alias.display_name == "smol (anyclaude)"
    assert alias.created_at.year == 1970
    assert (await sdk.models.retrieve("smol")).id == "smol"
    with pytest.raises(anthropic.NotFoundError):
        await sdk.models.retrieve("claude-nonexistent")
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        await sdk.models.list(limit=0)
    with pytest.raises(anthropic.BadRequestError, match="after_id"):
        await sdk.models.list(after_id="gone")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PromptTooLong(9001, 8192), anthropic.BadRequestError),
        (RateLimited("slowly", retry_after=1), anthropic.RateLimitError),
        (EngineFailed("broken"), anthropic.InternalServerError),
        (Unavailable("loading", retry_after=1), anthropic.InternalServerError),
        (Overloaded("full", retry_after=1), anthropic.InternalServerError),
    ],
)
async def test_errors_of_the_pipeline_are_typed(
    sdk: anthropic.AsyncAnthropic,
    server: Running,
    error: Exception,
    expected: type[anthropic.APIStatusError],
) -> None:
    server.pipeline.refuse = error
    with pytest.raises(expected) as caught:
        await sdk.messages.create(**ASK)
    assert str(error) in str(caught.value)
    with pytest.raises(expected):
        async with sdk.messages.stream(**ASK):
            pass


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": []},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"max_tokens": 0},
        {"extra_body": {"temperature": 3}},
        {"tools": [{"name": "a b", "input_schema": {}}]},
        {"tools": [{"name": "a", "input_schema": {}}] * 2},
        {"tools": [{"name": "a", "input_schema": {"type": 7}}]},
        {"tool_choice": {"type": "tool", "name": "absent"}},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
    ],
)
async def test_bad_requests_are_typed(
    sdk: anthropic.AsyncAnthropic, changes: dict[str, Any]
) -> None:
    with pytest.raises(anthropic.BadRequestError):
        await sdk.messages.create(**{**ASK, **changes})


async def test_a_body_over_the_limit_is_typed(sdk: anthropic.AsyncAnthropic) -> None:
    huge = [{"role": "user", "content": "x" * 3_000_000}]
    with pytest.raises(anthropic.RequestTooLargeError, match="max_body_mb"):
        await sdk.messages.create(**{**ASK, "messages": huge})


async def test_a_wrong_key_is_typed_and_in_our_words() -> None:
    async with serving(api_key="right") as server:
        async with anthropic.AsyncAnthropic(base_url=server.url, api_key="wrong") as sdk:
            with pytest.raises(anthropic.AuthenticationError, match="anyclaude: wrong API key"):
                await sdk.messages.create(**ASK)
        for auth in ({"api_key": "right"}, {"auth_token": "right"}):
            async with anthropic.AsyncAnthropic(base_url=server.url, **auth) as sdk:
                assert (await sdk.messages.create(**ASK)).content


async def test_a_failure_in_mid_stream_is_typed() -> None:
    def script(emitter: Emitter, request: MessagesRequest) -> list[Step]:
        async def fail() -> None:
            raise EngineFailed("the model broke")

        return [*emitter.start(USAGE), *emitter.text("half"), fail]

    async with (
        serving(FakePipeline(script)) as server,
        anthropic.AsyncAnthropic(base_url=server.url, api_key="x", max_retries=0) as sdk,
    ):
        with pytest.raises(anthropic.APIStatusError, match="the model broke"):
            async with sdk.messages.stream(**ASK) as stream:
                async for _ in stream:
                    pass
