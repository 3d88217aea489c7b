"""Marks are set where asked for, at most four, and never beside a client's own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.backends.cache_marks import CacheMarks, add_marks
from tests.doubles.anthropic_rules import check_body

MARK = {"type": "ephemeral"}
BOTH = CacheMarks(system=True, user_turns=1)


def body(**changes: Any) -> bytes:
    request = {
        "model": "m",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": [{"type": "text", "text": "last"}]},
        ],
        **changes,
    }
    return json.dumps({k: v for k, v in request.items() if v is not None}).encode()


def marks(marked: bytes) -> list[str]:
    """The texts of what is marked, in order."""
    request = json.loads(marked)
    found = []
    system = request.get("system", [])
    blocks = list(system) if isinstance(system, list) else []
    for message in request["messages"]:
        content = message["content"]
        blocks += content if isinstance(content, list) else []
    for block in blocks:
        if "cache_control" in block:
            assert block["cache_control"] == MARK
            found.append(block.get("text") or block["type"])
    return found


def test_the_system_prompt_and_the_last_user_turn() -> None:
    assert marks(add_marks(body(), BOTH)) == ["two", "last"]
    assert marks(add_marks(body(), CacheMarks(system=True))) == ["two"]
    assert marks(add_marks(body(), CacheMarks(user_turns=1))) == ["last"]


def test_strings_become_blocks() -> None:
    marked = json.loads(add_marks(body(system="be kind"), CacheMarks(system=True, user_turns=2)))
    assert marked["system"] == [{"type": "text", "text": "be kind", "cache_control": MARK}]
    assert marked["messages"][0]["content"] == [
        {"type": "text", "text": "first", "cache_control": MARK}
    ]


def test_no_more_than_four() -> None:
    turns = [{"role": "user", "content": f"turn {n}"} for n in range(9)]
    marked = add_marks(body(messages=turns), CacheMarks(system=True, user_turns=9))
    assert marks(marked) == ["two", "turn 6", "turn 7", "turn 8"]


def test_a_lifetime_is_part_of_the_mark() -> None:
    marked = json.loads(add_marks(body(), CacheMarks(user_turns=1, ttl="1h")))
    assert marked["messages"][2]["content"][0]["cache_control"] == {**MARK, "ttl": "1h"}


def test_what_may_not_carry_one_is_passed_over() -> None:
    content = [
        {"type": "tool_result", "tool_use_id": "t", "content": "x"},
        {"type": "text", "text": " \n"},
        {"type": "thinking", "thinking": "", "signature": "=="},
    ]
    messages = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": content},
        {"role": "user", "content": ""},
        {"role": "system", "content": "later"},
    ]
    assert marks(add_marks(body(messages=messages), CacheMarks(user_turns=1))) == ["tool_result"]


@pytest.mark.parametrize(
    "changes",
    [
        {"cache_control": MARK},
        {"tools": [{"name": "t", "input_schema": {}, "cache_control": MARK}]},
        {"system": [{"type": "text", "text": "a", "cache_control": MARK}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "", "cache_control": {}}]}
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t",
                            "content": [{"type": "text", "text": "x", "cache_control": MARK}],
                        }
                    ],
                }
            ]
        },
    ],
)
def test_a_client_with_marks_of_its_own_is_left_alone(changes: dict[str, Any]) -> None:
    sent = body(**changes)
    assert add_marks(sent, BOTH) is sent


def test_words_like_a_mark_are_none() -> None:
    call = {"type": "tool_use", "id": "t", "name": "n", "input": {"cache_control": MARK}}
    schema = {"type": "object", "properties": {"cache_control": {"type": "string"}}}
    sent = body(
        tools=[{"name": "n", "input_schema": schema}],
        messages=[
            {"role": "user", "content": '"cache_control"'},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": "last"},
        ],
    )
    assert marks(add_marks(sent, BOTH)) == ["two", "last"]


@pytest.mark.parametrize("sent", [b"", b"[1]", b"{", b"null", b"[" * 100_000, b'{"messages":3}'])
def test_what_is_no_request_stays_as_it_is(sent: bytes) -> None:
    assert add_marks(sent, BOTH) is sent


def test_nothing_asked_for_nothing_done() -> None:
    sent = body()
    assert add_marks(sent, CacheMarks()) is sent
    assert add_marks(sent, CacheMarks(user_turns=0)) is sent


def test_numbers_beyond_floats_are_not_rewritten() -> None:
    sent = b'{"messages":[{"role":"user","content":"x"}],"temperature":1e999}'
    assert add_marks(sent, BOTH) is sent


_TEXT = st.text(min_size=1).filter(lambda text: text.isprintable())
_CONTENT = _TEXT | st.lists(
    _TEXT.map(lambda text: {"type": "text", "text": text}), min_size=1, max_size=3
)


@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), _CONTENT), min_size=1, max_size=9),
    st.none() | _CONTENT,
    st.booleans(),
    st.integers(0, 9),
)
def test_any_request_stays_one_that_the_api_takes(
    turns: list[tuple[str, Any]], system: Any, mark_system: bool, user_turns: int
) -> None:
    sent = body(
        system=system, messages=[{"role": role, "content": content} for role, content in turns]
    )
    asked, read = CacheMarks(mark_system, user_turns), json.loads(sent)
    marked = add_marks(sent, asked)
    assert add_marks(sent, asked, read) == marked
    assert read == json.loads(sent)
    check_body(json.loads(marked), ("m",), counting=False)
    assert len(marks(marked)) <= 4
    assert _plain(json.loads(marked)) == _plain(json.loads(sent))


def _plain(value: Any) -> Any:
    """Without marks, and with each text as a list of blocks."""
    if isinstance(value, dict):
        plain = {k: _plain(v) for k, v in value.items() if k != "cache_control"}
        for key in ("content", "system"):
            if isinstance(plain.get(key), str):
                plain[key] = [{"type": "text", "text": plain[key]}]
        return plain
    return [_plain(part) for part in value] if isinstance(value, list) else value
