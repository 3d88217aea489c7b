"""Calls through the whole pipeline: sent as they are written, and written anew when they break."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from anyclaude.backend import Admission, BackendEvent, BackendRequest, Delta, Resume
from anyclaude.errors import Overloaded
from anyclaude.events import SystemEvent
from anyclaude.stream import BlockDelta, BlockStart, StreamEvent, message_of
from anyclaude.tools.desk import ToolOptions
from anyclaude.tools.families import FAMILIES
from anyclaude.types import ToolDefinition
from tests.test_pipeline import (
    ADMISSION,
    FakeBackend,
    FakeGeneration,
    Rig,
    arrival,
    build,
    done,
    request,
    run,
)

__all__ = ["build"]

BASH = ToolDefinition(
    "Bash",
    "Runs a command",
    {
        "type": "object",
        "properties": {
            "command": {"type": "string"},
            "timeout": {"type": "integer", "maximum": 600},
        },
        "required": ["command"],
        "additionalProperties": False,
    },
)
HEAD = '<tool_call>\n{"name": "Bash", "arguments": '


class Scripted(FakeBackend):
    """Answers each request with the next script; an error refuses it."""

    scripts: list[Sequence[BackendEvent] | Overloaded]

    async def open(self, request: BackendRequest) -> FakeGeneration:
        script = self.scripts.pop(0)
        self.requests.append(request)
        if isinstance(script, Overloaded):
            raise script
        admission = self.admission if request.resume is None else replace(self.admission)
        self.generations.append(FakeGeneration(script, admission))
        return self.generations[-1]


def letters(text: str) -> list[BackendEvent]:
    return [Delta(char, 1) for char in text]


def rig_of(
    build: Callable[..., Rig],
    *scripts: Sequence[BackendEvent] | Overloaded,
    held: Admission = ADMISSION,
    stream: bool = True,
) -> Rig:
    backend = Scripted((), held)
    backend.scripts = list(scripts)
    return build(tools=ToolOptions(stream=stream), backend=backend)


def arguments(events: Sequence[StreamEvent]) -> list[str]:
    return [
        str(event.delta["partial_json"])
        for event in events
        if isinstance(event, BlockDelta) and event.delta["type"] == "input_json_delta"
    ]


async def test_arguments_are_sent_while_they_are_written(build: Callable[..., Rig]) -> None:
    content = "x" * 2000
    call = f'{HEAD}{{"command": "{content}"}}}}\n</tool_call>'
    rig = rig_of(build, [*letters(call), done()])
    exchange = await rig.pipeline.open(arrival(), request("hi", tools=(BASH,)))
    generation = rig.backend.generations[0]
    written = 0
    first = None
    async for event in exchange.events():
        written = len(HEAD) + 2013 - generation.more.qsize()
        if isinstance(event, BlockDelta) and first is None:
            first = written
    assert first is not None
    assert first < len(HEAD) + 200, "a tenth of the argument"


async def test_a_call_that_breaks_is_written_on_from_the_last_right_byte(
    build: Callable[..., Rig],
) -> None:
    kept = f'I run it.\n{HEAD}{{"command": "ls'
    rest = '", "timeout": 30}}\n</tool_call>'
    broken = f'{kept}", "timeout": "soon"}}}}\n</tool_call>\nand more that is never looked at'
    rig = rig_of(build, [*letters(broken), done()], [*letters(rest), done()])
    events = await run(rig, request("hi", tools=(BASH,)))
    resume = rig.backend.requests[1].resume
    assert resume == Resume("I run it.\n", kept.removeprefix("I run it.\n"), "Bash")
    assert rig.backend.generations[0].cancelled.is_set()
    body = message_of(events)
    assert [block["type"] for block in body["content"]] == ["text", "tool_use"]  # type: ignore
    assert body["content"][1]["input"] == {"command": "ls", "timeout": 30}  # type: ignore
    assert body["stop_reason"] == "tool_use"
    assert "".join(arguments(events)) == '{"command": "ls", "timeout": 30}'
    (call,) = rig.sink.calls
    assert (call.verdict, call.version, call.repaired) == ("regenerated", 2, True)
    assert call.issues[0].path == "timeout"
    (row,) = rig.sink.rows
    assert (row.status, row.input_tokens) == (200, 10)
    assert row.output_tokens == len(broken) - len("\nand more that is never looked at") + len(rest)


async def test_without_room_for_another_try_the_call_is_delivered_as_it_was(
    build: Callable[..., Rig],
) -> None:
    text = f'{HEAD}{{"timeout": 3}}}}\n</tool_call>'
    rig = rig_of(build, [*letters(text), done()], Overloaded("full", retry_after=1), stream=False)
    body = message_of(await run(rig, request("hi", tools=(BASH,))))
    assert body["content"][0]["input"] == {"timeout": 3}  # type: ignore
    (call,) = rig.sink.calls
    assert (call.verdict, call.issues[0].rule) == ("failed", "required")
    assert rig.sink.rows[0].status == 200


async def test_a_held_answer_that_ends_for_want_of_another_try_says_so(
    build: Callable[..., Rig],
) -> None:
    text = f'{HEAD}{{"command": "ls", "timeout": true}}}}\n</tool_call>'
    refusal = Overloaded("full", retry_after=1)
    script = [*letters(text + "\nand what is never written"), done()]
    rig = rig_of(build, script, refusal, held=replace(ADMISSION, constrained=True))
    heard = rig.bus.subscribe()
    body = message_of(await run(rig, request("hi", tools=(BASH,))))
    assert body["stop_reason"] == "tool_use"
    assert [block["type"] for block in body["content"]] == ["tool_use"]  # type: ignore
    (call,) = rig.sink.calls
    assert [issue.rule for issue in call.issues] == ["type", "regenerate"]
    assert call.issues[-1].text == "it can't be written again: full; the answer ends here"
    told = [e for e in heard.drain() if isinstance(e, SystemEvent) and "can't be" in e.message]
    assert [(event.level, event.kind) for event in told] == [("warning", "tools")]


KIMI_OPEN, KIMI_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"


def kimi_call(arguments: str, number: int = 0) -> str:
    return (
        f"<|tool_call_begin|>functions.Bash:{number}<|tool_call_argument_begin|>"
        f"{arguments}<|tool_call_end|>"
    )


@pytest.mark.parametrize("name", ["kimi", "minimax", "deepseek_v32", "granite"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_later_call_of_a_section_is_written_again_in_it(
    name: str, stream: bool, build: Callable[..., Rig]
) -> None:
    dialect = FAMILIES[name]
    first = dialect.render("Bash", {"command": "ls"})
    wrong = dialect.render("Bash", {}).removeprefix(dialect.section)
    right = dialect.render("Bash", {"command": "pwd"}).removeprefix(dialect.section)
    # The section's own end stands behind its last call.
    closing = {"granite": "]", "kimi": KIMI_END}.get(name, first.rpartition("\n")[2])
    before = first.removesuffix(closing) + (", " if name == "granite" else "")
    scripts = [*letters(before + wrong), done()], [*letters(right), done()]
    rig = rig_of(build, *scripts, held=replace(ADMISSION, dialect=dialect), stream=stream)
    body = message_of(await run(rig, request("hi", tools=(BASH,))))
    resume = rig.backend.requests[1].resume
    assert resume == Resume(before, "", "Bash", inside=True)
    inputs = [block["input"] for block in body["content"]]  # type: ignore
    assert inputs == [{"command": "ls"}, {"command": "pwd"}]
    assert [call.verdict for call in rig.sink.calls] == ["valid", "regenerated"]
    assert rig.sink.calls[1].raw == right


async def test_a_later_call_goes_on_in_its_section_from_the_last_right_byte(
    build: Callable[..., Rig],
) -> None:
    before = KIMI_OPEN + kimi_call('{"command": "ls"}')
    broken = kimi_call('{"command": "pwd", "timeout": "soon"}', 1) + KIMI_END
    rest = '", "timeout": 3}<|tool_call_end|>' + KIMI_END
    scripts = [*letters(before + broken), done()], [*letters(rest), done()]
    rig = rig_of(build, *scripts, held=replace(ADMISSION, dialect=FAMILIES["kimi"]))
    body = message_of(await run(rig, request("hi", tools=(BASH,))))
    kept, _, _ = broken.partition('", "timeout"')
    assert rig.backend.requests[1].resume == Resume(before, kept, "Bash", inside=True)
    assert body["content"][1]["input"] == {"command": "pwd", "timeout": 3}  # type: ignore
    assert rig.sink.calls[1].raw == kept + rest


async def test_an_unfinished_call_is_never_whole_for_the_client(build: Callable[..., Rig]) -> None:
    text = f'{HEAD}{{"command": "rm -rf /tmp/a'
    rig = rig_of(build, [*letters(text), done("length")])
    events = await run(rig, request("hi", tools=(BASH,)))
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads("".join(arguments(events)))
    body = message_of(events)
    assert body["stop_reason"] == "max_tokens"
    assert [block["type"] for block in body["content"]] == ["text"]  # type: ignore
    (call,) = rig.sink.calls
    assert call.verdict == "unparsed"


async def test_calls_are_told_as_soon_as_their_first_argument_comes(
    build: Callable[..., Rig],
) -> None:
    rig = rig_of(build, [*letters(f'{HEAD}{{"command": "ls"}}}}\n</tool_call>'), done()])
    events = await run(rig, request("hi", tools=(BASH,)))
    (start,) = (e for e in events if isinstance(e, BlockStart))
    assert start.block["name"] == "Bash"
    assert arguments(events) == ['{"command": "', "l", "s", '"}']
