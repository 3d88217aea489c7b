"""The model's name is replaced, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.backends.model_field import with_model


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"a"}', b'{"model":"new"}'),
        (b' {\n"x" : [1,{"model":"q"}] ,"model"\t: "a" } ', None),
        (b'{"model":"a","model":"b"}', b'{"model":"new","model":"new"}'),
        (rb'{"\u006dodel":"a\"b\\"}', rb'{"\u006dodel":"new"}'),
        (b'{"model":{"model":[]},"y":1e5}', b'{"model":"new","y":1e5}'),
        (b'{"x":"\xff\xfe","model":null}', b'{"x":"\xff\xfe","model":"new"}'),
    ],
)
def test_the_value_of_the_key_at_the_top(body: bytes, expected: bytes | None) -> None:
    if expected is None:
        expected = body.replace(b'"a"', b'"new"')
    assert with_model(body, "new") == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'"model"',
        b'{"model":"a"',
        b'{"model":"a"} x',
        b'{"model" "a"}',
        b'{"model":"a",}',
        b'{"tools":[{"model":"a"}]}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"model":' + b"[" * 100_000,
    ],
)
def test_what_has_none_stays_as_it_is(body: bytes) -> None:
    assert with_model(body, "new") == body


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_SPACE = st.text(" \t\r\n", max_size=2)


@st.composite
def _objects(draw: st.DrawFn) -> tuple[bytes, bytes, int]:
    """A body, the same with the model replaced, and how often it stood there."""
    before, after, count = "{", "{", 0
    fields = draw(
        st.lists(st.tuples(st.sampled_from(["model"]) | st.text(), _VALUES), min_size=1, max_size=6)
    )
    for at, (key, value) in enumerate(fields):
        ascii_only = draw(st.booleans())
        written_key = json.dumps(key, ensure_ascii=ascii_only)
        written = json.dumps(value, ensure_ascii=ascii_only)
        head = "," * (at > 0) + draw(_SPACE) + written_key + draw(_SPACE) + ":" + draw(_SPACE)
        tail = draw(_SPACE)
        count += key == "model"
        before += head + written + tail
        after += head + ('"new \\u00fc"' if key == "model" else written) + tail
    return (
        (before + "}").encode("utf-8", "surrogatepass"),
        (after + "}").encode("utf-8", "surrogatepass"),
        count,
    )


@given(_objects())
def test_every_other_byte_stays(bodies: tuple[bytes, bytes, int]) -> None:
    body, expected, _ = bodies
    assert with_model(body, "new ü") == expected
