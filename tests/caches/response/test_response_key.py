"""What changes an answer changes its key, and nothing else does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.caches.response.key import KEY_VERSION, Served, context_of, key_of
from anyclaude.types import (
    Block,
    JsonValue,
    MediaBlock,
    Message,
    MessagesRequest,
    OpaqueBlock,
    Sampling,
    TextBlock,
    Thinking,
    ThinkingBlock,
    ToolChoice,
    ToolDefinition,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from tests.caches.response.kit import SERVED, called, request, tool

BASE = request(*called(), tools=[tool(), tool("Read", "Reads a file.")])

CHANGES: dict[str, Callable[[MessagesRequest], MessagesRequest]] = {
    "max_tokens": lambda r: replace(r, max_tokens=1001),
    "temperature": lambda r: replace(r, sampling=replace(r.sampling, temperature=0.5000000001)),
    "temperature unset": lambda r: replace(r, sampling=replace(r.sampling, temperature=None)),
    "top_p": lambda r: replace(r, sampling=replace(r.sampling, top_p=0.91)),
    "top_k": lambda r: replace(r, sampling=replace(r.sampling, top_k=41)),
    "stop sequence": lambda r: replace(r, stop_sequences=("end",)),
    "another stop sequence": lambda r: replace(r, stop_sequences=("END", "STOP")),
    "a stop sequence cut in two": lambda r: replace(r, stop_sequences=("E", "ND")),
    "thinking off": lambda r: replace(r, thinking=Thinking(False, 2000)),
    "no thinking": lambda r: replace(r, thinking=None),
    "thinking budget": lambda r: replace(r, thinking=Thinking(True, 2001)),
    "tool_choice": lambda r: replace(r, tool_choice=ToolChoice("any")),
    "tool_choice's tool": lambda r: replace(r, tool_choice=ToolChoice("tool", "Read")),
    "parallel calls": lambda r: replace(r, tool_choice=ToolChoice(disable_parallel=True)),
    "output schema": lambda r: replace(r, output_schema={"type": "object"}),
    "no output schema": lambda r: replace(r, output_schema=None),
    "system": lambda r: replace(r, system=(TextBlock("Be brief!"),)),
    "system in two": lambda r: replace(r, system=(TextBlock("Be "), TextBlock("brief."))),
    "no system": lambda r: replace(r, system=()),
    "order of tools": lambda r: replace(r, tools=r.tools[::-1]),
    "a tool less": lambda r: replace(r, tools=r.tools[:1]),
    "tool's name": lambda r: replace(r, tools=(tool("bash"), r.tools[1])),
    "tool's description": lambda r: replace(r, tools=(tool("Bash", "Runs."), r.tools[1])),
    "tool's schema": lambda r: replace(
        r, tools=(replace(r.tools[0], input_schema={"type": "object"}), r.tools[1])
    ),
    "tool's type": lambda r: replace(r, tools=(replace(r.tools[0], type="x"), r.tools[1])),
    "tool's other fields": lambda r: replace(
        r, tools=(replace(r.tools[0], raw={**r.tools[0].raw, "strict": True}), r.tools[1])
    ),
    "deferred tool": lambda r: replace(
        r, tools=(replace(r.tools[0], defer_loading=True), r.tools[1])
    ),
    "a message less": lambda r: replace(r, messages=r.messages[:-1]),
    "role": lambda r: replace(r, messages=(replace(r.messages[0], role="system"), *r.messages[1:])),
    "result swapped": lambda r: replace(
        r,
        messages=(
            *r.messages[:2],
            Message(
                "user",
                (
                    ToolResultBlock("toolu_01abc", (TextBlock("/home"),)),
                    ToolResultBlock("toolu_01def", (TextBlock("a b"),)),
                ),
            ),
        ),
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_that_matters_changes_the_key(what: str) -> None:
    assert key_of(CHANGES[what](BASE), SERVED) != key_of(BASE, SERVED)


@pytest.mark.parametrize(
    "served",
    [
        replace(SERVED, backend="other"),
        replace(SERVED, model="llama"),
        replace(SERVED, identity="there"),
        replace(SERVED, fingerprint="f2"),
        replace(SERVED, adapter="2"),
        replace(SERVED, extra=(("anthropic-beta", "a"),)),
        replace(SERVED, backend="localq", model="wen"),
    ],
    ids=lambda served: repr(served),
)
def test_who_answers_is_part_of_the_key(served: Served) -> None:
    assert key_of(BASE, served) != key_of(BASE, SERVED)


def test_what_a_client_says_of_itself_is_not() -> None:
    other = replace(
        BASE,
        model="claude-sonnet-5",
        stream=True,
        metadata={"user_id": "someone"},
        cache_mark=2,
        sampling=replace(BASE.sampling, top_k=40),
    )
    assert key_of(other, SERVED) == key_of(BASE, SERVED)
    one = replace(BASE, sampling=Sampling(temperature=cast(float, 1)))
    assert key_of(one, SERVED) == key_of(replace(one, sampling=Sampling(1.0)), SERVED)


def test_a_tool_loaded_late_counts_once_wherever_it_was_named() -> None:
    loaded = tool("Late")
    plain, more = key_of(BASE, SERVED), key_of(BASE, SERVED, (*BASE.tools, loaded))
    assert plain != more
    assert key_of(BASE, SERVED, BASE.tools) == plain
    assert key_of(BASE, SERVED, (*BASE.tools, tool("Late", "Else."))) != more


def test_the_order_of_extras_does_not_count() -> None:
    one = replace(SERVED, extra=(("a", "1"), ("b", "2")))
    assert key_of(BASE, one) == key_of(BASE, replace(SERVED, extra=(("b", "2"), ("a", "1"))))


# ------------------------------------------------------------------------------ ids of calls


def test_ids_of_calls_only_say_what_belongs_together() -> None:
    here = key_of(request(*called()), SERVED)
    there = key_of(request(*called(first="toolu_9z", second="toolu_8y")), SERVED)
    assert here.digest == there.digest
    assert here.id_marks == ("toolu_",)


def test_ids_count_where_anything_could_speak_of_them() -> None:
    def asking(first: str, second: str) -> MessagesRequest:
        turns = called(first=first, second=second)
        return request(*turns, Message("user", (TextBlock("Is toolu_01abc done?"),)))

    here = key_of(asking("toolu_01abc", "toolu_01def"), SERVED)
    assert here != key_of(asking("toolu_01def", "toolu_01abc"), SERVED)
    assert here.id_marks == ()


@pytest.mark.parametrize("ids", [("", "b"), ("ä", "b"), ('q"', "b"), ("Bash", "b")])
def test_ids_that_could_be_anything_count_as_they_are(ids: tuple[str, str]) -> None:
    first, second = ids
    here = key_of(request(*called(first=first, second=second)), SERVED)
    assert here != key_of(request(*called(first=second, second=first)), SERVED)


def test_many_kinds_of_ids_count_as_they_are() -> None:
    def turns(offset: int) -> tuple[Message, ...]:
        return tuple(
            Message("assistant", (ToolUseBlock(f"{chr(97 + i)}zzzzz{offset}", "Bash", {}),))
            for i in range(20)
        )

    assert key_of(request(*turns(1)), SERVED) != key_of(request(*turns(2)), SERVED)


# --------------------------------------------------------------------------------- properties

texts = st.text(max_size=12) | st.sampled_from(["", "a", "toolu_01", "\ud800", "1:", "[1]"])
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, json_values, max_size=3)
plain_blocks: st.SearchStrategy[Any] = st.one_of(
    st.builds(TextBlock, texts),
    st.builds(MediaBlock, st.sampled_from(["image", "document"]), texts, texts, st.just("base64")),
    st.builds(ToolReferenceBlock, texts),
    st.builds(OpaqueBlock, texts, objects),
)
ids = st.sampled_from(["toolu_01a", "toolu_01b", "call_1", ""])
blocks: st.SearchStrategy[Block] = st.one_of(
    plain_blocks,
    st.builds(ThinkingBlock, texts, texts),
    st.builds(ToolUseBlock, ids, texts, objects),
    st.builds(ToolResultBlock, ids, st.lists(plain_blocks, max_size=2).map(tuple), st.booleans()),
)
messages = st.builds(
    Message,
    st.sampled_from(["user", "assistant", "system"]),
    st.lists(blocks, max_size=3).map(tuple),
)
tools = st.builds(ToolDefinition, texts, texts, objects, st.none() | texts, st.booleans())
requests = st.builds(
    MessagesRequest,
    model=st.just("m"),
    max_tokens=st.integers(1, 3),
    messages=st.lists(messages, min_size=1, max_size=3).map(tuple),
    system=st.lists(st.builds(TextBlock, texts), max_size=2).map(tuple),
    tools=st.lists(tools, max_size=2).map(tuple),
    stop_sequences=st.lists(texts, max_size=2).map(tuple),
    output_schema=st.none() | objects,
)


@given(requests, requests)
def test_different_requests_have_different_keys(one: MessagesRequest, two: MessagesRequest) -> None:
    alike = _exact(one) == _exact(two)
    # Other ids may be the same request; without any, keys are the same for the same only.
    if alike or not (_has_ids(one) or _has_ids(two)):
        assert (key_of(one, SERVED) == key_of(two, SERVED)) == alike


@given(requests, st.randoms())
def test_the_order_of_an_objects_keys_does_not_count(
    given_request: MessagesRequest, random: Any
) -> None:
    def shuffled(value: JsonValue) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(inner) for inner in value] if isinstance(value, list) else value

    def block(held: Any) -> Any:
        match held:
            case OpaqueBlock():
                return replace(held, raw=shuffled(held.raw))
            case ToolUseBlock():
                return replace(held, input=shuffled(held.input))
            case ToolResultBlock():
                return replace(held, content=tuple(block(inner) for inner in held.content))
            case _:
                return held

    other = replace(
        given_request,
        tools=tuple(replace(t, input_schema=shuffled(t.input_schema)) for t in given_request.tools),
        output_schema=shuffled(given_request.output_schema),
        messages=tuple(
            replace(m, content=tuple(block(b) for b in m.content)) for m in given_request.messages
        ),
    )
    assert key_of(other, SERVED) == key_of(given_request, SERVED)


@given(requests, texts)
def test_only_the_last_block_is_outside_the_context(asked: MessagesRequest, text: str) -> None:
    last = asked.messages[-1]
    before = (*last.content, TextBlock("before"))

    def ending(block: TextBlock, *, head: tuple[Block, ...] = before) -> MessagesRequest:
        return replace(
            asked, messages=(*asked.messages[:-1], replace(last, content=(*head, block)))
        )

    here = context_of(ending(TextBlock("one")), SERVED)
    assert context_of(ending(TextBlock(text)), SERVED) == here
    assert context_of(ending(TextBlock("one"), head=(*before, TextBlock(""))), SERVED) != here


def test_the_key_is_the_same_in_another_process() -> None:
    code = (
        "from tests.caches.response.test_response_key import BASE\n"
        "from tests.caches.response.kit import SERVED\n"
        "from anyclaude.caches.response.key import key_of\n"
        "print(key_of(BASE, SERVED).digest.hex())"
    )
    for seed in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path)) or "."},
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.stdout.strip() == key_of(BASE, SERVED).digest.hex()


def test_the_key_is_the_one_it_always_was() -> None:
    """Fails when the form of keys changes: then raise ``KEY_VERSION`` and put the new one here."""
    assert KEY_VERSION == 1
    assert key_of(BASE, SERVED).short == "c2667efe79e1883f"


def _exact(asked: MessagesRequest) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, Block.__args__):
            names = type(value).__slots__
            return [type(value).__name__, [plain(getattr(value, name)) for name in names]]
        if isinstance(value, tuple):
            return [plain(inner) for inner in value]
        return value

    return json.dumps(
        [
            asked.max_tokens,
            asked.stop_sequences,
            asked.output_schema,
            [plain(block) for block in asked.system],
            [[m.role, plain(m.content)] for m in asked.messages],
            [
                [t.name, t.description, t.input_schema, t.type or "", t.defer_loading]
                for t in asked.tools
            ],
        ],
        sort_keys=True,
    )


def _has_ids(asked: MessagesRequest) -> bool:
    return any(
        isinstance(block, ToolUseBlock | ToolResultBlock)
        for message in asked.messages
        for block in message.content
    )
