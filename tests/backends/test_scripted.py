"""A backend out of a script: the same answer every time, at the script's pace."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.backend import BackendEvent, BackendRequest, Delta, Finish, Prefill, Resume
from anyclaude.backends.scripted import ScriptedBackend, ScriptedOptions, tokens
from anyclaude.errors import EngineFailed
from anyclaude.script import Answer, Script
from anyclaude.tools.families.hermes import DIALECT as HERMES
from anyclaude.types import MessagesRequest, TextBlock, ToolResultBlock
from tests.backends.openai.kit import (
    BASH,
    Reader,
    ask,
    assistant,
    backend_request,
    user,
)

CALL = '<tool_call>\n{"name": "Bash", "arguments": {"command": "ls"}}\n</tool_call>'
SCRIPT = Script(
    (
        Answer(f"I look.\n{CALL}", "list", 0),
        Answer("Two files.", "a.txt"),
        Answer("one two three four", "count"),
    ),
    digest="d",
)


class Naps:
    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def backend(script: Script = SCRIPT, naps: Naps | None = None) -> ScriptedBackend:
    return ScriptedBackend(ScriptedOptions("scripted", script, HERMES, sleep=naps or Naps()))


async def events(made: ScriptedBackend, request: MessagesRequest) -> list[BackendEvent]:
    generation = await made.open(backend_request(request))
    return [event async for event in generation]


async def test_a_tool_round_trip() -> None:
    made = backend()
    first = ask(user("list the files"), tools=(BASH,))
    generation = await made.open(backend_request(first))
    reader = Reader(first, generation.admission)
    async for event in generation:
        await reader.feed(event)
    assert [block.type for block in reader.message.content] == ["text", "tool_use"]
    assert reader.message.stop_reason == "tool_use"
    use = reader.answer.content[1]
    result = ToolResultBlock(getattr(use, "id", ""), (TextBlock("a.txt"),))
    second = await events(made, ask(user("list the files"), assistant(use), user(result)))
    assert "".join(e.text for e in second if isinstance(e, Delta)) == "Two files."


async def test_the_same_request_gets_the_same_events() -> None:
    request = ask(user("count"))
    assert await events(backend(), request) == await events(backend(), request)


async def test_figures_are_those_of_the_texts() -> None:
    request = ask(user("count " * 1200))
    told = await events(backend(), request)
    count = await backend().count(backend_request(request))
    progress = [event for event in told if isinstance(event, Prefill)]
    finish = told[-1]
    assert isinstance(finish, Finish)
    assert [p.done for p in progress[:2]] == [512, 1024]
    assert progress[-1] == Prefill(count, count)
    assert finish.usage.input_tokens == count
    assert finish.usage.output_tokens == sum(isinstance(event, Delta) for event in told)


async def test_limits_and_stop_sequences() -> None:
    cut = await events(backend(), ask(user("count"), max_tokens=2))
    assert isinstance(cut[-1], Finish)
    assert (cut[-1].reason, cut[-1].usage.output_tokens) == ("length", 2)
    stopped = await events(backend(), ask(user("count"), stop_sequences=("xx", " three")))
    assert "".join(e.text for e in stopped if isinstance(e, Delta)) == "one two"
    assert isinstance(stopped[-1], Finish)
    assert (stopped[-1].reason, stopped[-1].stop_sequence) == ("stop_sequence", " three")


async def test_the_pace_is_the_scripts() -> None:
    naps = Naps()
    told = await events(
        backend(replace(SCRIPT, prefill=100.0, decode=10.0), naps), ask(user("count"))
    )
    finish = told[-1]
    assert isinstance(finish, Finish)
    assert sum(naps.taken) == pytest.approx((finish.prefill_ms + finish.decode_ms) / 1000)
    assert naps.taken[1:] == [0.1] * finish.usage.output_tokens


async def test_reading_goes_on_where_it_was() -> None:
    generation = await backend().open(backend_request(ask(user("count"))))
    seen: list[BackendEvent] = []
    async for event in generation:
        seen.append(event)
        if isinstance(event, Delta):
            break
    seen += [event async for event in generation]
    assert seen == await events(backend(), ask(user("count")))


async def test_cancelled_it_says_no_more() -> None:
    generation = await backend().open(backend_request(ask(user("count"))))
    await generation.cancel()
    await generation.cancel()
    with pytest.raises(EngineFailed):
        async for _ in generation:
            raise AssertionError("an event after the end")


async def test_nothing_is_written_anew() -> None:
    request = backend_request(ask(user("count")))
    assert isinstance(request, BackendRequest)
    with pytest.raises(EngineFailed):
        await backend().open(replace(request, resume=Resume("a", "")))


@given(st.text())
def test_tokens_are_all_of_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text
