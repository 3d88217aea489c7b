"""The official SDK puts together what the relay passes on, as it does what Anthropic sends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import anthropic
import httpx2
import pytest

from anyclaude.backend import Relayed
from anyclaude.backends.relay import AnthropicBackend, AnthropicOptions
from tests.backends.kit import QUICK, asked
from tests.doubles.anthropic_streams import Recorded, recorded
from tests.doubles.anthropic_upstream import KEY, anthropic_double


class _Through(httpx2.AsyncBaseTransport):
    """Hands the SDK's requests to a relay, as our server does a client's."""

    def __init__(self, backend: AnthropicBackend) -> None:
        self._backend = backend

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        headers = tuple((n.decode(), v.decode("latin-1")) for n, v in request.headers.raw)
        answer = await self._backend.relay(asked(body, headers, query=request.url.query.decode()))
        stream = _Bytes(answer)
        return httpx2.Response(answer.status, headers=list(answer.headers), stream=stream)


class _Bytes(httpx2.AsyncByteStream):
    def __init__(self, answer: Relayed) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._answer:
            yield piece

    async def aclose(self) -> None:
        await self._answer.close()


@pytest.fixture
async def sdk() -> AsyncIterator[tuple[anthropic.AsyncAnthropic, list[Recorded]]]:
    """A client, and the answers that come next."""
    answers: list[Recorded] = []
    async with anthropic_double() as double:
        backend = AnthropicBackend(AnthropicOptions("claude", double.url, timeouts=QUICK))
        double.streams = lambda: list(answers.pop(0).chunks(1))
        http = httpx2.AsyncClient(transport=_Through(backend))
        async with anthropic.AsyncAnthropic(
            base_url="http://relay", api_key=KEY, max_retries=0, http_client=http
        ) as client:
            yield client, answers
        await backend.close()


@pytest.mark.parametrize("block", range(5))
async def test_the_accumulator_takes_200_streams(
    sdk: tuple[anthropic.AsyncAnthropic, list[Recorded]], block: int
) -> None:
    client, answers = sdk
    for seed in range(block * 40, block * 40 + 40):
        answer = recorded(seed)
        answers.append(answer)
        await _accumulate(client, answer)


async def _accumulate(client: anthropic.AsyncAnthropic, answer: Recorded) -> None:
    asking = client.messages.stream(
        model="claude-opus-5", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
    )
    async with asking as stream:
        if answer.error is not None:
            with pytest.raises(anthropic.APIStatusError, match=answer.error):
                await stream.get_final_message()
            return
        message = await stream.get_final_message()
    assert message.id == answer.message_id
    assert "".join(b.text for b in message.content if b.type == "text") == answer.text
    assert "".join(b.thinking for b in message.content if b.type == "thinking") == answer.thinking
    calls = [(b.id, b.name, b.input) for b in message.content if b.type == "tool_use"]
    assert calls == [(id, name, json.loads(text)) for id, name, text in answer.calls]
    assert message.stop_reason == answer.stop_reason
    assert message.usage.output_tokens == answer.usage.output_tokens
