"""What the tap reads of 200 streams, of bodies, and of garbage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.backends.tap import Tap, TappedCall
from anyclaude.types import Usage
from tests.doubles.anthropic_streams import recorded

SSE = "text/event-stream; charset=utf-8"


def event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


@pytest.mark.parametrize("seed", range(200))
def test_a_recorded_stream(seed: int) -> None:
    answer = recorded(seed)
    tap = Tap(SSE)
    shown = "".join([tap.feed(chunk) for chunk in answer.chunks(seed)]) + tap.finish()
    assert tap.bytes == len(answer.body)
    assert (tap.message_id, tap.model) == (answer.message_id, answer.model)
    assert tap.usage == answer.usage
    assert tap.stop_reason == answer.stop_reason
    assert tap.calls == tuple(TappedCall(*call) for call in answer.calls)
    assert tap.text_chars == len(answer.text)
    assert tap.thinking_chars == len(answer.thinking)
    assert (tap.error.type if tap.error else None) == answer.error
    assert tap.ended == answer.whole
    assert tap.readable
    assert len(shown) == len(answer.text) + len(answer.thinking) + sum(
        len(arguments) for _, _, arguments in answer.calls
    )


@pytest.mark.parametrize("seed", range(20))
def test_bytes_cut_off_never_look_ended(seed: int) -> None:
    answer = recorded(seed)
    for length in range(0, len(answer.body) - 3, 97):
        tap = Tap(SSE)
        tap.feed(answer.body[:length])
        tap.finish()
        assert not tap.ended


def ticks() -> Iterator[float]:
    return (float(n) for n in count(1))


@pytest.mark.parametrize(
    ("opening", "content"),
    [
        (
            '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
            '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}',
        ),
        (
            '{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":""}}',
            '{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"x"}}',
        ),
        (
            '{"type":"ping"}',
            '{"type":"content_block_start","index":0,'
            '"content_block":{"type":"tool_use","id":"t","name":"n","input":{}}}',
        ),
        (
            '{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}',
            '{"type":"content_block_start","index":0,'
            '"content_block":{"type":"redacted_thinking","data":"d"}}',
        ),
    ],
)
def test_the_moment_of_the_first_content(opening: str, content: str) -> None:
    clock = ticks()
    tap = Tap(SSE, clock=lambda: next(clock))
    tap.feed(event('{"type":"message_start","message":{"id":"m"}}') + event(opening))
    assert tap.first_content_at is None
    tap.feed(event(content))
    assert tap.first_content_at == 1.0
    tap.feed(event(content))
    assert tap.first_content_at == 1.0


def test_the_last_figures_are_the_true_ones() -> None:
    tap = Tap(SSE)
    tap.feed(
        event(
            '{"type":"message_start","message":{"usage":{"input_tokens":1,"output_tokens":1,'
            '"cache_read_input_tokens":2,"cache_creation_input_tokens":3}}}'
        )
    )
    assert tap.usage == Usage(1, 2, 3, 1)
    tap.feed(
        event(
            '{"type":"message_delta","delta":{"stop_reason":"end_turn"},'
            '"usage":{"input_tokens":10,"cache_read_input_tokens":null,"output_tokens":7}}'
        )
    )
    assert tap.usage == Usage(10, 2, 3, 7)


def test_nothing_counts_after_the_end() -> None:
    tap = Tap(SSE)
    tap.feed(event('{"type":"message_start","message":{"id":"m"}}'))
    tap.feed(event('{"type":"message_stop"}') + event('{"type":"error","error":{}}'))
    assert tap.ended
    assert tap.error is None


def test_an_end_without_a_start_is_none() -> None:
    tap = Tap(SSE)
    tap.feed(event('{"type":"message_stop"}'))
    assert not tap.ended


def test_an_error_that_only_the_event_line_names() -> None:
    tap = Tap(SSE)
    tap.feed(b'event: error\ndata: {"error":{"type":"api_error","message":"no"}}\n\n')
    assert tap.error is not None
    assert (tap.error.type, tap.error.message) == ("api_error", "no")


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "büro"},
        {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"a": "ü"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 4, "cache_read_input_tokens": 5, "output_tokens": 6},
}


def test_a_body() -> None:
    tap = Tap("application/json")
    written = json.dumps(MESSAGE).encode()
    for at in range(0, len(written), 7):
        tap.feed(written[at : at + 7])
    assert not tap.ended
    shown = tap.finish()
    assert shown == "hmbüro"
    assert tap.ended
    assert tap.calls == (TappedCall("t1", "Bash", '{"a": "ü"}'),)
    assert (tap.text_chars, tap.thinking_chars, tap.stop_reason) == (4, 2, "tool_use")
    assert tap.usage == Usage(4, 5, 0, 6)
    assert tap.message_id == "msg_1"


def test_a_count() -> None:
    tap = Tap("application/json")
    tap.feed(b'{"input_tokens": 12}')
    tap.finish()
    assert tap.ended
    assert tap.usage.input_tokens == 12


def test_an_error_as_a_body() -> None:
    tap = Tap("application/json")
    tap.feed(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
    tap.finish()
    assert not tap.ended
    assert tap.error is not None
    assert tap.error.message == "Overloaded"


def test_compressed_bytes_are_counted_and_not_read() -> None:
    tap = Tap(SSE, "gzip")
    assert tap.feed(recorded(1).body) == ""
    tap.finish()
    assert tap.bytes == len(recorded(1).body)
    assert (tap.readable, tap.ended, tap.message_id) == (False, False, "")


@pytest.mark.parametrize("content_type", [SSE, "application/json"])
def test_no_more_is_held_than_the_limit(content_type: str) -> None:
    tap = Tap(content_type, limit=1000)
    for _ in range(100):
        tap.feed(b"x" * 99)
    tap.finish()
    assert tap.bytes == 9900
    assert not tap.readable


def test_arguments_count_towards_the_limit() -> None:
    tap = Tap(SSE, limit=1000)
    tap.feed(
        event(
            '{"type":"content_block_start","index":0,'
            '"content_block":{"type":"tool_use","id":"t","name":"n"}}'
        )
    )
    piece = {"type": "input_json_delta", "partial_json": "y" * 300}
    for _ in range(9):
        tap.feed(event(json.dumps({"type": "content_block_delta", "index": 0, "delta": piece})))
    assert not tap.readable
    assert len(tap.calls[0].input_json) <= 1000


_KEYS = [
    *("type", "message", "content_block", "delta", "usage", "index", "id", "name", "content"),
    *("error", "partial_json", "text", "input_tokens", "output_tokens", "stop_reason", "input"),
]
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["text", "tool_use", "text_delta", "input_json_delta", "error", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_KEYS),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
_TYPES = st.sampled_from(
    [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "message_delta",
        "message_stop",
        "error",
        "message",
        "ping",
    ]
)
_EVENTS = st.tuples(_TYPES, _JSON).map(
    lambda pair: {**(pair[1] if isinstance(pair[1], dict) else {}), "type": pair[0]}
)


@given(st.lists(_EVENTS, max_size=8), st.sampled_from([SSE, "application/json", ""]))
def test_no_shape_of_json_raises(events: list[dict[str, object]], content_type: str) -> None:
    tap = Tap(content_type)
    for one in events:
        tap.feed(event(json.dumps(one)) if content_type == SSE else json.dumps(one).encode())
    tap.finish()
    assert tap.usage.output_tokens >= 0


@given(st.binary(max_size=80), st.sampled_from([SSE, "application/json", "", "\x00;;"]))
def test_no_bytes_raise(chunk: bytes, content_type: str) -> None:
    tap = Tap(content_type)
    tap.feed(chunk)
    tap.feed(b"data: " + chunk + b"\n\n")
    tap.finish()
    assert not tap.ended


def test_json_too_deep_is_garbage_too() -> None:
    tap = Tap(SSE)
    tap.feed(b"data: " + b"[" * 200_000 + b"\n\n")
    tap.finish()
    assert tap.readable
