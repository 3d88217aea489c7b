"""What the present parser makes of an old output, beside what was sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyclaude.records import ToolCallRecord
from tests.tui.fake_source import REPAIRED
from tui.lines import plain_text
from tui.reparse import reparse_lines

BROKEN = ToolCallRecord("r", "", "Bash", "unparsed", (), '<tool_call>{"name": "Bash"', "")


def _text(sent: list[ToolCallRecord], now: list[ToolCallRecord], width: int = 100) -> str:
    return plain_text(reparse_lines(sent, now, width))


def test_the_same_calls_are_the_same_however_they_are_spaced() -> None:
    spaced = replace(REPAIRED, final='{ "command" : "ls" }')
    text = _text([REPAIRED], [spaced])
    assert "The same 1, as they were sent" in text and "Bash  the same" in text


@pytest.mark.parametrize("width", [100, 50])
def test_a_call_that_is_read_now_stands_beside_what_was_sent(width: int) -> None:
    text = _text([BROKEN], [REPAIRED], width)
    assert "1 of 1 differ" in text and "Bash  differs" in text
    assert "as sent  unparsed" in text and "as read now  repaired (2 attempts)" in text
    assert "(nothing)" in text and '"command": "ls"' in text
    assert ("│" in text) == (width == 100)
    assert "alias" in text and "bash → Bash" in text


def test_calls_that_only_one_side_has() -> None:
    assert "1 of 2 differ" in _text([REPAIRED], [REPAIRED, BROKEN])
    assert "1 of 1 differ" in _text([REPAIRED], [])
    assert "neither then nor now" in _text([], [])
