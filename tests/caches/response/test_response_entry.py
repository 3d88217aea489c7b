"""Answers taken down, packed, and played again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.caches.response.entry import (
    PIECE_CHARS,
    CallPart,
    Entry,
    Part,
    Recording,
    TextPart,
    ThinkingPart,
    Unreadable,
    pack,
    replay,
    unpack,
)
from anyclaude.stream import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Emitter,
    MessageBuilder,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    StreamEvent,
    message_of,
)
from anyclaude.types import Usage
from tests.caches.response.kit import USAGE, entry, ids, recorded, sent

DIGEST = bytes(range(32))

texts = st.text(max_size=600) | st.sampled_from(["", "\ud800", "\x00", "é" * 300])
parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(TextPart, texts),
    st.builds(ThinkingPart, texts, texts),
    st.builds(
        CallPart, st.text(min_size=1), st.dictionaries(texts, texts, max_size=3).map(json.dumps)
    ),
)
entries = st.builds(
    Entry,
    st.lists(parts, min_size=1, max_size=4).map(tuple),
    st.sampled_from(["end_turn", "tool_use", "stop_sequence"]),
    st.none() | texts,
    st.builds(Usage, *(st.integers(0, 10**7),) * 4),
    st.floats(0, 1e10),
    st.floats(0, 1e4),
    texts,
)


def everything(emitter: Emitter) -> Sequence[StreamEvent]:
    events = emitter.thinking("hm", "sig")
    events += emitter.thinking(", well", "sig2")
    events += emitter.text("I will ")
    events += [Ping(), *emitter.text("look.")]
    events += emitter.tool_use("toolu_1", "Bash")
    events += emitter.tool_json('{"command"')
    events += emitter.tool_json(':"ls"}')
    return events


PARTS = (
    ThinkingPart("hm, well", "sig2"),
    TextPart("I will look."),
    CallPart("Bash", '{"command":"ls"}'),
)


def test_a_finished_stream_is_taken_down_as_it_was_sent() -> None:
    assert recorded(sent(everything, "tool_use")) == Entry(
        PARTS, "tool_use", None, USAGE, 1_800_000_000.0, 2.5
    )


def test_text_that_stands_in_the_start_of_its_block_counts() -> None:
    events: list[StreamEvent] = [
        MessageStart("m", "x", USAGE),
        BlockStart(0, {"type": "text", "text": "a"}),
        BlockDelta(0, {"type": "text_delta", "text": "b"}),
        BlockStop(0),
        MessageDelta("end_turn", None, USAGE),
        MessageStop(),
    ]
    kept = recorded(events)
    assert kept is not None and kept.parts == (TextPart("ab"),)


@pytest.mark.parametrize("cut", range(12))
def test_an_unfinished_stream_is_not_kept(cut: int) -> None:
    events = [e for e in sent(everything, "tool_use") if not isinstance(e, Ping)]
    assert len(events) > cut
    assert recorded(events[:cut]) is None
    assert recorded(events[:-1]) is None


def test_a_failed_stream_is_not_kept() -> None:
    emitter = Emitter("m", "x")
    events = [*emitter.start(USAGE), *emitter.text("a"), *emitter.fail("api_error", "no")]
    assert recorded(events) is None
    assert recorded([*events, MessageDelta("end_turn", None, USAGE), MessageStop()]) is None


@pytest.mark.parametrize("reason", ["refusal", "pause_turn", "model_context_window_exceeded", ""])
def test_only_an_answer_that_ended_by_itself_is_kept(reason: str) -> None:
    assert recorded(sent(lambda emitter: emitter.text("a"), reason)) is None


def test_a_call_that_was_cut_off_is_not_kept() -> None:
    def cut(emitter: Emitter) -> list[StreamEvent]:
        return [*emitter.tool_use("toolu_1", "Bash"), *emitter.tool_json('{"a": 1}')]

    assert recorded(sent(cut, "tool_use")) is not None
    assert recorded(sent(cut, "max_tokens")) is None
    assert recorded(sent(lambda emitter: emitter.text("long"), "max_tokens")) is not None


@pytest.mark.parametrize("arguments", ['{"a"', "[1]", "1", "nope"])
def test_a_call_whose_arguments_are_no_object_is_not_kept(arguments: str) -> None:
    def call(emitter: Emitter) -> list[StreamEvent]:
        return [*emitter.tool_use("toolu_1", "Bash"), *emitter.tool_json(arguments)]

    assert recorded(sent(call, "tool_use")) is None


def test_an_answer_that_says_nothing_is_not_kept() -> None:
    assert recorded(sent(lambda emitter: emitter.text(""), "end_turn")) is None
    assert recorded(sent(lambda emitter: [], "end_turn")) is None


def test_blocks_of_servers_tools_and_unknown_deltas_are_not_kept() -> None:
    def stream(block: str, delta: str) -> list[StreamEvent]:
        return [
            MessageStart("m", "x", USAGE),
            BlockStart(0, {"type": block, "text": "a"}),
            BlockDelta(0, {"type": delta, "text": "b"}),
            BlockStop(0),
            MessageDelta("end_turn", None, USAGE),
            MessageStop(),
        ]

    assert recorded(stream("text", "text_delta")) is not None
    assert recorded(stream("server_tool_use", "text_delta")) is None
    assert recorded(stream("text", "citations_delta")) is None


# ------------------------------------------------------------------------------------ packing


@given(entries)
def test_what_is_packed_comes_back(kept: Entry) -> None:
    assert unpack(pack(kept, DIGEST), DIGEST) == kept


@given(entries, st.data())
def test_damage_anywhere_is_noticed(kept: Entry, data: st.DataObject) -> None:
    packed = bytearray(pack(kept, DIGEST))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Unreadable):
        unpack(bytes(packed), DIGEST)


def test_an_entry_belongs_to_its_key() -> None:
    with pytest.raises(Unreadable):
        unpack(pack(entry(), DIGEST), DIGEST[::-1])


@pytest.mark.parametrize("data", [b"", b"ACR1", b"ACR0" + bytes(40), bytes(100)])
def test_anything_else_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        unpack(data, DIGEST)


# ------------------------------------------------------------------------------------ replaying


@given(entries)
def test_a_replay_is_the_answer_again(kept: Entry) -> None:
    events = replay(kept, ids(), "claude-opus-5")
    again = Recording()
    for event in events:
        again.add(event)
    if any(any((getattr(p, "text", ""), getattr(p, "thinking", ""), getattr(p, "name", "")))
           for p in kept.parts):  # fmt: skip
        taken = again.entry(created=kept.created, seconds=kept.seconds, question=kept.question)
        assert taken is not None
        assert taken.parts == kept.parts
        assert (taken.stop_reason, taken.stop_sequence) == (kept.stop_reason, kept.stop_sequence)
    assert all(
        len(str(text)) <= PIECE_CHARS
        for event in events
        if isinstance(event, BlockDelta) and event.delta["type"] != "signature_delta"
        for key, text in event.delta.items()
        if key != "type"
    )


def test_a_replay_has_ids_of_its_own_and_tells_the_truth_of_what_was_read() -> None:
    kept = replace(entry(*PARTS, CallPart("Bash", "")), stop_reason="tool_use")
    message = message_of(replay(kept, ids(), "claude-haiku-5"))
    assert message == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5",
        "content": [
            {"type": "thinking", "thinking": "hm, well", "signature": "sig2"},
            {"type": "text", "text": "I will look."},
            {"type": "tool_use", "id": "toolu_2", "name": "Bash", "input": {"command": "ls"}},
            {"type": "tool_use", "id": "toolu_3", "name": "Bash", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 35,
            "output_tokens": 7,
        },
    }


def test_a_replay_comes_in_pieces() -> None:
    events = replay(entry(TextPart("x" * (3 * PIECE_CHARS + 1))), ids(), "m")
    assert len([event for event in events if isinstance(event, BlockDelta)]) == 4
    builder = MessageBuilder()
    builder.add(events)
    assert builder.message()["content"] == [{"type": "text", "text": "x" * 769}]


def test_an_answer_that_speaks_of_an_id_says_so() -> None:
    assert entry(TextPart("see toolu_01")).mentions(["toolu_"])
    assert entry(CallPart("Wait", '{"for":"toolu_01"}')).mentions(["toolu_"])
    assert entry(ThinkingPart("toolu_01?", "")).mentions(["toolu_"])
    assert not entry(*PARTS).mentions(["toolu_"])
    assert not entry(TextPart("see toolu_01")).mentions([])
