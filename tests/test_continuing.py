"""Answers that one backend begins and another one ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyclaude.backend import Admission, BackendEvent, Delta, Finish, Parsed
from anyclaude.backends import faults
from anyclaude.bench.grammar import check_sse
from anyclaude.config.settings import (
    BackendSettings,
    ResilienceSettings,
    RouteSettings,
    ServerSettings,
    Settings,
)
from anyclaude.continuing import GO_ON, Continued
from anyclaude.dialect import TextPiece, ThinkingPiece
from anyclaude.errors import ApiError
from anyclaude.events import SystemEvent
from anyclaude.runtime import Runtime
from anyclaude.types import Usage
from tests.doubles.openai_upstream import OpenAiUpstream, said, stream, words

LOST = faults.unreachable("lm", "connection lost")
ADMISSION = Admission("lm", "m", Usage(10), None, estimated=True)
BODY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 100,
    "stream": True,
    "messages": [{"role": "user", "content": "Tell me."}],
}


class Scene:
    def __init__(self, *steps: BackendEvent | ApiError) -> None:
        self.admission = ADMISSION
        self._steps = list(steps)
        self.cancelled = False

    async def __aiter__(self) -> AsyncIterator[BackendEvent]:
        for step in self._steps:
            if isinstance(step, ApiError):
                raise step
            yield step

    async def cancel(self) -> None:
        self.cancelled = True


def text(words: str, tokens: int = 2) -> Parsed:
    return Parsed((TextPiece(words),), words, tokens)


DONE = Finish("stop", Usage(30, output_tokens=4))


async def test_the_text_and_the_tokens_are_those_of_both() -> None:
    asked: list[str] = []
    then = [Scene(text("two "), LOST), Scene(text("three"), DONE)]

    async def go_on(so_far: str, error: ApiError) -> Scene:
        asked.append(so_far)
        return then.pop(0)

    continued = Continued(Scene(text("one "), LOST), go_on)
    events = [event async for event in continued]
    assert asked == ["one ", "one two "]
    assert "".join(e.text for e in events if isinstance(e, Parsed)) == "one two three"
    assert continued.switched
    finish = events[-1]
    assert isinstance(finish, Finish)
    assert (finish.usage, finish.estimated) == (Usage(10, output_tokens=6), True)


@pytest.mark.parametrize(
    "steps",
    [
        (Parsed((ThinkingPiece("hm"),), "hm", 1), LOST),
        (text("one"), ApiError("a fault of ours")),
    ],
)
async def test_what_cannot_be_gone_on_with_fails_as_it_did(
    steps: Sequence[BackendEvent | ApiError],
) -> None:
    async def go_on(so_far: str, error: ApiError) -> Scene:
        raise AssertionError("nobody is to be asked")

    continued = Continued(Scene(*steps), go_on)
    with pytest.raises(ApiError) as raised:
        _ = [event async for event in continued]
    assert raised.value is steps[-1]
    assert not continued.switched


async def test_with_nobody_left_the_first_error_stays_and_cancel_reaches_who_writes() -> None:
    async def nobody(so_far: str, error: ApiError) -> Scene:
        raise ApiError("nobody is left")

    with pytest.raises(ApiError, match="connection lost"):
        _ = [event async for event in Continued(Scene(text("one"), LOST), nobody)]
    scene = Scene(Delta("x", 1))
    await Continued(scene, nobody).cancel()
    assert scene.cancelled


# ----------------------------------------------------------------------------- the whole way


@asynccontextmanager
async def served(
    folder: Path, upstreams: Sequence[OpenAiUpstream], on: bool
) -> AsyncIterator[tuple[Runtime, httpx.AsyncClient]]:
    backends = tuple(
        (
            f"lm{at}",
            BackendSettings(type="openai", base_url=up.base_url, profile="generic", priority=at),
        )
        for at, up in enumerate(upstreams)
    )
    targets = tuple(f"{name}/m" for name, _ in backends)
    settings = Settings(
        folder,
        folder / "log.duckdb",
        server=ServerSettings(port=0),
        backends=backends,
        routes=(RouteSettings("*", targets, strategy="priority"),),
        resilience=replace(ResilienceSettings(), continue_streams=on, health_interval_s=0.0),
    )
    runtime = Runtime(settings)
    await runtime.start()
    try:
        async with httpx.AsyncClient(base_url=runtime.address, timeout=60, trust_env=False) as http:
            yield runtime, http
    finally:
        await runtime.stop()


@pytest.mark.parametrize("on", [True, False])
async def test_another_server_goes_on_with_the_stream(tmp_path: Path, on: bool) -> None:
    async with OpenAiUpstream() as first, OpenAiUpstream() as second:
        broken = stream(*words(["Once upon ", "a time"]), done=False, cut=True)
        first.say(broken, said("Anew."))
        second.say(said(" there was a fox."))
        async with served(tmp_path, (first, second), on) as (runtime, http):
            heard = runtime.bus.subscribe()
            answer = await http.post("/v1/messages", json=BODY)
            read = check_sse(answer.text.split("\n"))
            notes = [
                e.message for e in heard.drain() if isinstance(e, SystemEvent) and e.kind == "route"
            ]
            if not on:
                assert "event: error" in answer.text
                assert second.bodies == [] and notes == []
                return
            assert read.problems == []
            (block,) = read.content
            assert block["text"] == "Once upon a time there was a fox."
            before, last = second.bodies[0]["messages"][-2:]
            assert (before["role"], before["content"]) == ("assistant", "Once upon a time")
            assert GO_ON in str(last["content"])
            assert len(notes) == 1 and "lm0/m failed in the middle" in notes[0]
            assert notes[0].endswith("lm1/m goes on")
            again = await http.post("/v1/messages", json=BODY)
            assert "tier=none" in again.headers["x-anyclaude-cache"], "it was of one piece only"
            assert check_sse(again.text.split("\n")).content[0]["text"] == "Anew."
