"""Through the real ``mlx_lm.server`` with the embedded model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ctypes.util import find_library
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from anyclaude.backend import BackendEvent, Finish, Parsed
from anyclaude.backends.openai.backend import OpenAiBackend, OpenAiOptions
from anyclaude.backends.signatures import SignatureLedger
from anyclaude.bench.process import Peer
from anyclaude.errors import UpstreamError
from anyclaude.types import MediaBlock, MessagesRequest, Sampling
from tests.backends.openai.kit import ask, backend_request, read, user

pytestmark = pytest.mark.model

PARIS = ask(user("What is the capital of France?"), sampling=Sampling(0.0), max_tokens=20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    embedded_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    blas = find_library("openblas")
    peer = Peer(tmp_path_factory.mktemp("peer"), embedded_model_dir, blas)
    await peer.start()
    try:
        yield peer.address
    finally:
        await peer.stop()


@pytest.fixture
async def backend(server: str) -> AsyncIterator[OpenAiBackend]:
    made = OpenAiBackend(OpenAiOptions("peer", f"{server}/v1"), SignatureLedger())
    yield made
    await made.close()


async def finished(
    backend: OpenAiBackend, request: MessagesRequest
) -> tuple[str, Finish, list[BackendEvent]]:
    generation = await backend.open(backend_request(request, ""))
    told = [event async for event in generation]
    finish = told[-1]
    assert isinstance(finish, Finish)
    return "".join(event.text for event in told if isinstance(event, Parsed)), finish, told


async def test_it_is_known_by_its_headers(backend: OpenAiBackend) -> None:
    assert (await backend.profile()).name == "mlx-lm"
    await backend.health()


async def test_an_answer_and_its_usage(backend: OpenAiBackend) -> None:
    request = replace(PARIS, max_tokens=40)
    text, finish, told = await finished(backend, request)
    assert "Paris" in text
    assert (finish.reason, finish.estimated) == ("stop", False)
    assert finish.usage.prompt_tokens > 30
    assert 3 < finish.usage.output_tokens < 40
    assert len(told) > 3
    _, again, _ = await finished(backend, request)
    assert again.usage.cache_read_tokens > 0
    assert again.usage.prompt_tokens == finish.usage.prompt_tokens


async def test_the_sdk_reads_it(backend: OpenAiBackend) -> None:
    generation = await backend.open(backend_request(PARIS, ""))
    message = await read(PARIS, aiter(generation))
    assert message.content[0].type == "text"
    assert "Paris" in message.content[0].text
    assert message.stop_reason == "end_turn"


async def test_a_limit(backend: OpenAiBackend) -> None:
    _, finish, _ = await finished(backend, replace(PARIS, max_tokens=3))
    assert finish.reason == "length"
    assert finish.usage.output_tokens == 3


async def test_a_stop_sequence(backend: OpenAiBackend) -> None:
    text, finish, _ = await finished(backend, replace(PARIS, stop_sequences=(" France",)))
    assert "France" not in text
    assert finish.usage.output_tokens > 0


async def test_what_it_cannot_take_is_left_out(backend: OpenAiBackend) -> None:
    image = MediaBlock("image", "image/png", "iVBORw0KGgo=", "base64")
    request = ask(user(image, "What is the capital of France?"), sampling=Sampling(0.0))
    generation = await backend.open(backend_request(request, ""))
    assert any("refused images" in note for note in generation.admission.notes)
    await generation.cancel()


async def test_cancelled_it_is_free_for_the_next(backend: OpenAiBackend) -> None:
    generation = await backend.open(backend_request(replace(PARIS, max_tokens=2000), ""))
    async for event in generation:
        if isinstance(event, Parsed):
            break
    await generation.cancel()
    text, _, _ = await finished(backend, PARIS)
    assert "Paris" in text


async def test_an_unknown_model_is_its_error(backend: OpenAiBackend) -> None:
    with pytest.raises(UpstreamError):
        await backend.open(backend_request(PARIS, "/nowhere/at/all"))
