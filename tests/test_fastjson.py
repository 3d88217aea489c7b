"""msgspec and the standard library say the same, of values and of nonsense."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude import fastjson
from anyclaude.types import JsonValue

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_values_are_read_alike(value: JsonValue, ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii)
    expected = json.loads(text)
    assert repr(fastjson.loads(text)) == repr(expected)
    if ascii or not _surrogates(text):
        assert repr(fastjson.loads(text.encode())) == repr(expected)


@given(VALUES)
def test_values_are_written_so_that_they_are_read_alike(value: JsonValue) -> None:
    assert repr(json.loads(fastjson.dumps(value))) == repr(json.loads(json.dumps(value)))


def _surrogates(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


@given(st.binary(max_size=12) | st.text('[]{}:,"\\ud8e+-.0123456789ntfNI \n', max_size=12))
def test_nonsense_is_refused_alike(data: bytes | str) -> None:
    def read(loads: Callable[[bytes | str], JsonValue]) -> str:
        try:
            value = loads(data)
            json.dumps(value, allow_nan=False)  # Raises ValueError for what isn't finite.
            return repr(value)
        except ValueError:
            return "refused"

    assert read(fastjson.loads) == read(json.loads)


@pytest.mark.parametrize("text", ["[1e999]", "[-1e999]", "[NaN]", "[Infinity]"])
def test_numbers_are_finite(text: str) -> None:
    with pytest.raises(ValueError, match=r"is out of range|is not a JSON value"):
        fastjson.loads(text)


def test_it_is_compact_and_keeps_the_order() -> None:
    assert (
        fastjson.dumps({"b": [1, 2.5, None], "a": "é\n"})
        == '{"b":[1,2.5,null],"a":"é\\n"}'.encode()
    )
    assert fastjson.dumps("\ud800") == b'"\\ud800"'
