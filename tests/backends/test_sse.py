"""Event streams: the grammar, and that neither cuts nor bytes get lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.backends.sse import SseReader
from anyclaude.errors import UpstreamError


def read(*chunks: bytes) -> tuple[list[tuple[str, str]], bytes]:
    """The events and all bytes they account for."""
    reader = SseReader("b")
    events = [event for chunk in chunks for event in reader.feed(chunk)] + reader.finish()
    return [(e.event, e.data) for e in events], b"".join(e.raw for e in events) + reader.rest


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("", "a")]),
        (b"event: x\ndata: a\n\n", [("x", "a")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", "a"), ("", "b")]),
        (b"data: a\r\rdata: b\r\r", [("", "a"), ("", "b")]),
        (b"data: a\n\r\ndata: b\r\n\n", [("", "a"), ("", "b")]),
        (b"data: a\ndata: b\n\n", [("", "a\nb")]),
        (b"data: a\r\ndata:b\r\n\r\n", [("", "a\nb")]),
        (b"data:  two\n\n", [("", " two")]),
        (b"data\n\n", [("", "")]),
        (b"data:\n\n", [("", "")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", "a")]),
        (b": hello\n\ndata: a\n\n: bye\n\n", [("", "a")]),
        (b": hello\ndata: a\n\n", [("", "a")]),
        (b"event: lost\n\ndata: a\n\n", [("", "a")]),
        (b"id: 7\nretry: 10\nfoo: x\ndata: a\n\n", [("", "a")]),
        (b"\n\n\ndata: a\n\n\n\n", [("", "a")]),
        (b"data: [DONE]", [("", "[DONE]")]),
        (b"data: a\n", [("", "a")]),
        (b"data: a\n\nevent: x", [("", "a")]),
        ("data: \u2028\u0085\x0b ü\n\n".encode(), [("", "\u2028\u0085\x0b ü")]),
        (b"data: \xff\n\n", [("", "\ufffd")]),
        (b"", []),
    ],
)
def test_the_grammar(stream: bytes, events: list[tuple[str, str]]) -> None:
    assert read(stream) == (events, stream)
    assert read(*(bytes([byte]) for byte in stream)) == (events, stream)


def test_an_event_is_there_with_its_blank_line() -> None:
    reader = SseReader("b")
    assert [e.data for e in reader.feed(b"data: a\r\n\r\n")] == ["a"]
    assert reader.feed(b"data: b\n") == []
    assert [e.data for e in reader.feed(b"\n")] == ["b"]


_LINES = st.one_of(
    st.sampled_from([b"data: x", b"data:", b"data", b"event: e", b": c", b"", b"id: 1", b"\xff"]),
    st.binary(max_size=6),
)
_STREAMS = st.lists(
    st.tuples(_LINES, st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n"])), max_size=12
).map(lambda lines: b"".join(line + end for line, end in lines))


@given(st.one_of(_STREAMS, st.binary(max_size=40)), st.lists(st.integers(0, 200), max_size=12))
def test_where_a_stream_is_cut_makes_no_difference(stream: bytes, cuts: list[int]) -> None:
    at = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[a:b] for a, b in pairwise(at)]
    whole = SseReader("b")
    cut = SseReader("b")
    expected = whole.feed(stream) + whole.finish()
    events = [event for chunk in chunks for event in cut.feed(chunk)] + cut.finish()
    assert events == expected
    assert b"".join(event.raw for event in events) + cut.rest == stream


def test_what_one_event_may_hold_is_bounded() -> None:
    reader = SseReader("b", limit=100)
    assert len(reader.feed(b"data: %b\n\n" % (b"x" * 200))) == 1
    with pytest.raises(UpstreamError, match="more than 100 bytes") as caught:
        for _ in range(20):
            reader.feed(b"data: xxxx\n")
    assert (caught.value.category, caught.value.status) == ("schema", 502)


def test_comments_alone_are_bounded_too() -> None:
    reader = SseReader("b", limit=100)
    with pytest.raises(UpstreamError):
        for _ in range(50):
            reader.feed(b": ping\n\n")
