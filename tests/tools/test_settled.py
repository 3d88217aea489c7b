"""What of arguments may be sent while they are written: nothing that a repair may change."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.tools.completion import completion
from anyclaude.tools.settled import Settled
from anyclaude.types import JsonValue
from tests.tools.test_completion import FORMS, VALUES


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        ("", ""),
        (" ", ""),
        (" {", ""),
        ('{"path"', ""),
        ('{"path": ', ""),
        ('{"path": "', '{"path": "'),
        ('{"path": "a', '{"path": "a'),
        ('{"path": "a b', '{"path": "a b'),
        ('{"path": "a b ', '{"path": "a b'),
        ('{"path": "a}', '{"path": "a'),
        ('{"path": "a} b', '{"path": "a} b'),
        ('{"path": "a"', '{"path": "a'),
        ('{"path": "a",', '{"path": "a'),
        ('{"path": "a", "more": ', '{"path": "a'),
        ('{"path": "a", "more": 1', '{"path": "a", "more": 1'),
        ('{"path": "a", "more": 12.5e', '{"path": "a", "more": 12.5e'),
        ('{"path": "a", "more": true}', '{"path": "a", "more": true'),
        ('{"path": ["a", ', '{"path": ["a'),
        ('{"path": ["a", "', '{"path": ["a", "'),
        ('{"path": [1, [', '{"path": [1, ['),
        ('{"path": [1, [], {"x": {}, "y": ', '{"path": [1, [], {"x": {'),
        ('{"path": [{"a": 1}, "b", "c, d', '{"path": [{"a": 1}, "b", "c, d'),
        ('{"path": "a\\\\', '{"path": "a\\\\'),
        ('{"path": "a\\', '{"path": "a'),
        ('{"path": "a\\"', '{"path": "a\\"'),
        ('{"path": "a\\u00e', '{"path": "a'),
        ('{"path": "a\\u00e9', '{"path": "a\\u00e9'),
        ('{"path": "\\ud83d', '{"path": "'),
        ('{"path": "\\ud83d\\ude0', '{"path": "'),
        ('{"path": "\\ud83d\\ude00', '{"path": "\\ud83d\\ude00'),
        ('{"path": "\\ud83dx', '{"path": "\\ud83dx'),
        ('{"path": "\\ud83d"', '{"path": "'),
        ('{"path": "\\ud83d", "more": 1', '{"path": "\\ud83d", "more": 1'),
    ],
)
def test_what_is_settled(text: str, settled: str) -> None:
    assert text[: Settled().take(text)] == settled


@settings(max_examples=150, deadline=None)
@given(
    value=st.dictionaries(st.text(), VALUES, max_size=3),
    form=st.sampled_from((*FORMS, {"ensure_ascii": True})),
    seed=st.integers(0, 99),
)
def test_what_is_settled_can_always_be_completed_however_it_came(
    value: dict[str, JsonValue], form: dict[str, object], seed: int
) -> None:
    text = json.dumps(value, **{"ensure_ascii": False, **form})  # type: ignore[arg-type]
    pick, cut, one = random.Random(seed), Settled(), Settled()
    at, before = 0, 0
    while at < len(text):
        size = pick.randint(1, 7)
        end = cut.take(text[at : at + size])
        at = min(len(text), at + size)
        assert before <= end <= at
        assert end == Settled().take(text[:at])
        rest = completion(text[:end], value)
        assert rest is not None and json.loads(text[:end] + rest) == value
        before = end
    for char in text:
        one.take(char)
    assert one.end == cut.end
