"""Small things that the response caches' tests are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from anyclaude.caches.response.entry import Entry, Part, Recording, TextPart
from anyclaude.caches.response.key import Served
from anyclaude.events import SystemEvent
from anyclaude.stream import Emitter, StreamEvent
from anyclaude.types import (
    Message,
    MessagesRequest,
    Sampling,
    TextBlock,
    Thinking,
    ToolChoice,
    ToolDefinition,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)

USAGE = Usage(input_tokens=10, cache_read_tokens=20, cache_creation_tokens=5, output_tokens=7)
SERVED = Served("local", "qwen", identity="here", fingerprint="f1", adapter="1")


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


class Reports:
    """Events that were reported, from whatever thread."""

    def __init__(self) -> None:
        self.events: list[SystemEvent] = []

    def __call__(self, event: SystemEvent) -> None:
        self.events.append(event)

    @property
    def messages(self) -> list[str]:
        return [event.message for event in self.events]


def ids() -> Callable[[str], str]:
    """Ids in the order they are asked for: ``msg_1``, ``toolu_2``, …"""
    numbers = count(1)
    return lambda prefix: f"{prefix}{next(numbers)}"


def entry(*parts: Part, created: float = 1_800_000_000.0, question: str = "") -> Entry:
    """A finished answer; "hello" where no parts are given."""
    return Entry(parts or (TextPart("hello"),), "end_turn", None, USAGE, created, 2.5, question)


def request(*messages: Message, tools: Sequence[ToolDefinition] = ()) -> MessagesRequest:
    """A request with something in every field that counts."""
    return MessagesRequest(
        model="claude-opus-5",
        max_tokens=1000,
        messages=messages or (Message("user", (TextBlock("What is the time?"),)),),
        system=(TextBlock("Be brief."),),
        tools=tuple(tools),
        tool_choice=ToolChoice("auto"),
        stop_sequences=("END",),
        sampling=Sampling(0.5, 0.9, 40),
        thinking=Thinking(True, 2000),
        output_schema={"type": "object", "properties": {"a": {"type": "string"}}},
    )


def tool(name: str = "Bash", description: str = "Runs a command.") -> ToolDefinition:
    schema = {"type": "object", "properties": {"command": {"type": "string"}}}
    raw = {"name": name, "description": description, "input_schema": schema}
    return ToolDefinition(name, description, schema, raw=raw)


def called(*, first: str = "toolu_01abc", second: str = "toolu_01def") -> tuple[Message, ...]:
    """A conversation with two calls, their results the other way round."""
    return (
        Message("user", (TextBlock("Look at both."),)),
        Message(
            "assistant",
            (
                ToolUseBlock(first, "Bash", {"command": "ls"}),
                ToolUseBlock(second, "Bash", {"command": "pwd"}),
            ),
        ),
        Message(
            "user",
            (
                ToolResultBlock(second, (TextBlock("/home"),)),
                ToolResultBlock(first, (TextBlock("a b"),)),
            ),
        ),
    )


def recorded(events: Sequence[StreamEvent]) -> Entry | None:
    recording = Recording()
    for event in events:
        recording.add(event)
    return recording.entry(created=1_800_000_000.0, seconds=2.5)


def sent(emit: Callable[[Emitter], Sequence[StreamEvent]], reason: str) -> list[StreamEvent]:
    """A whole stream: its start, what ``emit`` makes, and its end."""
    emitter = Emitter("msg_0", "claude-opus-5")
    events = emitter.start(USAGE)
    events += emit(emitter)
    return events + emitter.finish(reason, None, USAGE)
