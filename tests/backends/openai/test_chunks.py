"""The shapes that pieces of answers come in."""

from __future__ import annotations

from typing import Any

import pytest

from anyclaude.backends.openai.chunks import CallDelta, Chunk, UpstreamUsage, read_chunk
from tests.doubles.openai_upstream import call, chunk, usage


def first(delta: object, **choice: object) -> Any:
    return {"id": "x", "choices": [{"delta": delta, **choice}]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (chunk({"content": "hi"}), Chunk("hi")),
        (chunk({"content": None, "role": "assistant"}), Chunk()),
        (chunk({}, "stop"), Chunk(finish="stop")),
        (first({"content": "x"}, finish_reason=""), Chunk("x")),
        (first(None), Chunk()),
        (first({"refusal": "No."}), Chunk("No.")),
        (first({"content": [{"type": "text", "text": "a"}, {"text": "b"}]}), Chunk("ab")),
        ({"choices": [{"text": "old"}]}, Chunk("old")),
        ({"choices": []}, Chunk()),
        ({"id": "x", "choices": None}, Chunk()),
        ({"id": "x"}, Chunk()),
        ({"choices": [{"index": 1, "delta": {"content": "b"}}]}, Chunk()),
        ({"choices": [{"message": {"content": "all"}}]}, Chunk("all", complete=True)),
        (first({"content": "x"}, stop_reason="END"), Chunk("x", stop="END")),
        (first({"content": "x"}, stop_reason=151645), Chunk("x")),
        (first({"content": "x"}, matched_stop="END"), Chunk("x", stop="END")),
    ],
)
def test_text_and_endings(value: Any, expected: Chunk) -> None:
    assert read_chunk(value) == expected


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"thinking": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm"},
        {"reasoning_content": "", "reasoning": "hm"},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "h"}, {"summary": "m"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
        {"content": [{"type": "thinking", "thinking": "hm"}]},
    ],
)
def test_reasoning_by_any_name_once(delta: object) -> None:
    assert read_chunk(first(delta)) == Chunk(reasoning="hm")


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        (call("{}", id="c", name="Bash"), CallDelta(0, "c", "Bash", "{}")),
        (call("{}", index=None, name="Bash"), CallDelta(None, "", "Bash", "{}")),
        (call({"a": 1}, name="Bash"), CallDelta(0, "", "Bash", whole={"a": 1})),
        (call(name="Bash"), CallDelta(0, "", "Bash")),
        ({"function_call": {"name": "Bash", "arguments": "{}"}}, CallDelta(None, "", "Bash", "{}")),
        ({"tool_calls": {"id": "c", "function": {"name": "B"}}}, CallDelta(None, "c", "B")),
        ({"tool_calls": [{"name": "B", "arguments": "{}"}]}, CallDelta(None, "", "B", "{}")),
        (
            {"tool_calls": [{"function": {"name": None, "arguments": [1]}}]},
            CallDelta(arguments="[1]"),
        ),
    ],
)
def test_calls(delta: object, expected: CallDelta) -> None:
    assert read_chunk(first(delta)).calls == (expected,)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (usage(50, 7), UpstreamUsage(50, 7)),
        (usage(50, 7, prompt_tokens_details={"cached_tokens": 30}), UpstreamUsage(50, 7, 30)),
        (usage(50, 7, prompt_tokens_details={"cached_tokens": None}), UpstreamUsage(50, 7)),
        (usage(50, 7, prompt_tokens_details=None), UpstreamUsage(50, 7)),
        (usage(50, 7, prompt_cache_hit_tokens=20), UpstreamUsage(50, 7, 20)),
        (
            usage(50, 7, cache_read_input_tokens=20, cache_creation_input_tokens=10),
            UpstreamUsage(50, 7, 20, 10),
        ),
        (
            usage(50, 7, prompt_tokens_details={"cached_tokens": 90, "cache_write_tokens": 9}),
            UpstreamUsage(50, 7, 50, 0),
        ),
        (
            usage(50, 7, total_tokens=90, completion_tokens_details={"reasoning_tokens": 33}),
            UpstreamUsage(50, 40),
        ),
        (
            usage(50, 40, completion_tokens_details={"reasoning_tokens": 33}),
            UpstreamUsage(50, 40),
        ),
        (chunk({"content": "x"}, usage={"prompt_tokens": 5, "completion_tokens": 1}), None),
        (usage(0, 0), None),
        ({"choices": [], "usage": None}, None),
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, UpstreamUsage(3, 4)),
        (
            {"choices": [{"delta": {}, "usage": {"prompt_tokens": 3, "completion_tokens": 4}}]},
            UpstreamUsage(3, 4),
        ),
    ],
)
def test_usage(value: Any, expected: UpstreamUsage | None) -> None:
    found = read_chunk(value).usage
    assert found == (expected or found)
    assert (found is None) == (expected is None) or value["choices"][0]["delta"]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"error": {"message": "no", "code": 429}}, {"message": "no", "code": 429}),
        ({"error": "no"}, "no"),
        ({"choices": [{"delta": {}, "error": {"message": "no"}}]}, {"message": "no"}),
        (
            {"object": "error", "message": "no", "code": 400},
            {"object": "error", "message": "no", "code": 400},
        ),
    ],
)
def test_errors(value: Any, error: object) -> None:
    assert read_chunk(value).error == error


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, {"a": 1}, {"choices": 3}])
def test_what_is_no_piece_of_an_answer(value: Any) -> None:
    with pytest.raises(ValueError):
        read_chunk(value)
