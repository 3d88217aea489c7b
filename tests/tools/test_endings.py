"""Arguments with a doubtful end, ended."""

from __future__ import annotations

import pytest

from anyclaude.tools.endings import ended
from anyclaude.types import JsonValue


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": "b', {"a": "b"}),
        ('{"a": "b}', {"a": "b"}),
        ('{"a": "b}}', {"a": "b"}),
        ('{"a": "*.{b,c}}}\n', {"a": "*.{b,c}"}),
        ('{"a": "}c}', {"a": "}c"}),
        ('{"a": "b\n}\n', {"a": "b"}),
        ('{"a": "b\nc', {"a": "b\nc"}),
        ('{"a": ["b", "c]}', {"a": ["b", "c"]}),
        ('{"a": {"b": "c}}', {"a": {"b": "c"}}),
        ('{"a": {"b": "c}', {"a": {"b": "c"}}),
        ('{"a": "[x]}', {"a": "[x]"}),
        ('{"a": "b \\"c}', {"a": 'b "c'}),
        (' {"a": 1} or so', {"a": 1}),
        ('{"a": 1}}}', {"a": 1}),
    ],
)
def test_the_end_is_where_the_model_most_likely_meant_it(text: str, value: JsonValue) -> None:
    mended = ended(text)
    assert mended is not None and mended.value == value
    assert mended.repair.stage == "syntax" and mended.repair.text


@pytest.mark.parametrize(
    "text",
    [
        "", "a", '"a', '["a', '{"a', '{"a": b', '{"a": "b" c', '{"a": "b\\', '{"a": "b", "c',
        '{"a": tru', "[1] x", '{"a": 1, "a b',
    ],
)  # fmt: skip
def test_what_is_broken_elsewhere_has_none(text: str) -> None:
    assert ended(text) is None
