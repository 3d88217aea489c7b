"""Anthropic → OpenAI → Anthropic keeps the meaning, on conversations of every shape.

The way back is written here, apart from the code under test: from a body's messages to who said
what, in the order in which a model reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.backends.openai.messages import NO_RESULT
from anyclaude.types import (
    Block,
    MediaBlock,
    Message,
    MessagesRequest,
    TextBlock,
    ThinkingBlock,
    ToolDefinition,
    ToolResultBlock,
    ToolUseBlock,
)
from tests.backends.openai.kit import BASH, READ, ask, blocks_of, converted, without_ids
from tests.doubles.openai_rules import RULES
from tests.doubles.openai_upstream import call, chunk

Fact: TypeAlias = tuple[object, ...]
"""("text", who, what), ("image", who, where), ("call", id, name, input), ("result", id, what)."""

LONG = "mcp__server.name__" + "x" * 70
TOOLS = (BASH, READ, ToolDefinition(LONG, "d", {"type": "object"}))

plain = st.text(alphabet='abäß \n"{}<', min_size=1, max_size=8).filter(str.strip)
texts = st.builds(TextBlock, plain)
images = st.builds(
    MediaBlock,
    st.just("image"),
    st.sampled_from(["image/png", "image/jpeg"]),
    st.sampled_from(["AAAA", "BBBB"]),
    st.just("base64"),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
inputs = st.dictionaries(st.text(max_size=4), json_values, max_size=3)


@st.composite
def conversations(draw: st.DrawFn) -> MessagesRequest:
    """User turns first; every call gets its result, in any order, with the texts anywhere."""
    messages: list[Message] = []
    waiting: list[str] = []
    number = 0
    for _ in range(draw(st.integers(1, 4))):
        results: list[Block] = [
            ToolResultBlock(
                id_,
                tuple(draw(st.lists(st.one_of(texts, images), max_size=2))),
                draw(st.booleans()),
            )
            for id_ in draw(st.permutations(waiting))
        ]
        said = draw(st.lists(st.one_of(texts, images), min_size=not results, max_size=2))
        messages.append(Message("user", tuple(draw(st.permutations([*results, *said])))))
        if draw(st.booleans()):
            messages.append(Message("system", (draw(texts),)))
        waiting = []
        blocks: list[Block] = list(draw(st.lists(texts, max_size=2)))
        if draw(st.booleans()):
            blocks.insert(0, ThinkingBlock(draw(plain), "sig"))
        for name in draw(st.lists(st.sampled_from([tool.name for tool in TOOLS]), max_size=2)):
            number += 1
            waiting.append(f"toolu_{number}")
            blocks.append(ToolUseBlock(waiting[-1], name, draw(inputs)))
        if blocks:
            messages.append(Message("assistant", tuple(blocks)))
    if messages[-1].role != "user":
        results = [ToolResultBlock(id_, (TextBlock("r"),)) for id_ in waiting]
        messages.append(Message("user", (*results, draw(texts))))
    system = tuple(draw(st.lists(texts, max_size=2)))
    return ask(*messages, system=system, tools=TOOLS)


def meant(request: MessagesRequest, own: bool) -> list[Fact]:
    """What an Anthropic request says."""
    facts: list[Fact] = []
    if request.system:
        facts.append(("text", "system", "\n\n".join(block.text for block in request.system)))
    order: list[str] = []
    for message in request.messages:
        who = "user" if message.role == "system" else message.role
        results = {b.tool_use_id: b for b in message.content if isinstance(b, ToolResultBlock)}
        shots: list[Fact] = []
        for id_ in order if results else ():
            texts_, pictures = _result(results[id_])
            facts.append(("result", id_, texts_))
            if pictures:
                name = next(f[2] for f in facts if f[:2] == ("call", id_))
                shots += [("text", "user", f"[from the result of {name}:]"), *pictures]
        facts += shots
        calls: list[Fact] = []
        for block in message.content:
            match block:
                case TextBlock():
                    reminder = f"<system-reminder>\n{block.text}\n</system-reminder>"
                    facts.append(
                        ("text", who, reminder if message.role == "system" else block.text)
                    )
                case ThinkingBlock() if own:
                    facts.append(("thought", block.thinking))
                case MediaBlock():
                    facts.append(("image", who, f"data:{block.media_type};base64,{block.data}"))
                case ToolUseBlock():
                    calls.append(("call", block.id, block.name, _key(block.input)))
        if message.role == "assistant":
            order = [str(fact[1]) for fact in calls]
            facts += calls
    return _joined(facts)


def _result(block: ToolResultBlock) -> tuple[str, list[Fact]]:
    said: list[str] = []
    pictures: list[Fact] = []
    for part in block.content:
        if isinstance(part, MediaBlock):
            said.append("[image: in the next message]")
            pictures.append(("image", "user", f"data:{part.media_type};base64,{part.data}"))
        elif isinstance(part, TextBlock):
            said.append(part.text)
    text = "\n".join(said)
    return (f"Error: {text}" if block.is_error else text), pictures


def told(body: Any, original: Any) -> list[Fact]:
    """What the messages of a chat completion say; ``original`` leads names back."""
    facts: list[Fact] = []
    for message in body["messages"]:
        content, role = message["content"], message["role"]
        if role == "tool":
            facts.append(("result", message["tool_call_id"], content))
            continue
        if thought := message.get("reasoning_content"):
            facts.append(("thought", thought))
        parts: list[Any] = [{"type": "text", "text": content}]
        for part in parts if isinstance(content, str) else content:
            if part["type"] == "image_url":
                facts.append(("image", role, part["image_url"]["url"]))
            elif part["text"]:
                facts.append(("text", role, part["text"]))
        for made in message.get("tool_calls", ()):
            function = made["function"]
            arguments = _key(json.loads(function["arguments"]))
            facts.append(("call", made["id"], original(function["name"]), arguments))
    return _joined(facts)


def _key(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _joined(facts: Iterable[Fact]) -> list[Fact]:
    """Texts of one speaker that follow each other are one text."""
    out: list[Fact] = []
    for fact in facts:
        if out and fact[0] == "text" and out[-1][:2] == fact[:2]:
            out[-1] = (*fact[:2], f"{out[-1][2]}\n{fact[2]}")
        else:
            out.append(fact)
    return out


@pytest.mark.parametrize("profile", ["mlx-lm", "generic"])
@given(request=conversations())
def test_a_request_keeps_its_meaning(profile: str, request: MessagesRequest) -> None:
    own = [b.thinking for m in request.messages for b in m.content if isinstance(b, ThinkingBlock)]
    done = converted(request, profile, own=own)
    body = json.loads(json.dumps(done.body))
    assert told(body, done.names.own) == meant(request, profile == "mlx-lm")
    assert NO_RESULT not in json.dumps(body)


@given(conversations())
def test_no_strict_server_refuses_any_of_it(request: MessagesRequest) -> None:
    for kind, rules in RULES.items():
        if kind in ("mistral", "mlx-lm"):
            continue  # One refuses what is learned to be left out, the other every image.
        assert rules(json.loads(json.dumps(converted(request, kind).body))) is None, kind


@given(
    st.lists(texts, max_size=1),
    st.lists(st.tuples(st.sampled_from(["Bash", "Read", LONG]), inputs), max_size=3),
    st.integers(1, 5),
)
async def test_an_answer_comes_back_as_it_was_meant(
    said: list[TextBlock], calls: list[tuple[str, dict[str, Any]]], step: int
) -> None:
    tools = tuple(ToolDefinition(tool.name, "d", {"type": "object"}) for tool in TOOLS)
    request = ask(Message("user", (TextBlock("hi"),)), tools=tools)
    names = converted(request).names
    values: list[object] = [chunk({"content": block.text}) for block in said]
    for index, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        values.append(chunk(call("", index=index, id=f"c{index}", name=names.sent(name))))
        parts = [text[i : i + step] for i in range(0, len(text), step)]
        values += [chunk(call(part, index=index)) for part in parts]
    values.append(chunk(finish="tool_calls" if calls else "stop"))
    made = await blocks_of(request, *values, names=[LONG, "Bash", "Read"], think_tags=False)
    texts_ = [block.text.strip() for block in made if isinstance(block, TextBlock)]
    assert texts_ == [block.text.strip() for block in said]
    uses = [block for block in made if isinstance(block, ToolUseBlock)]
    assert without_ids(uses) == calls
