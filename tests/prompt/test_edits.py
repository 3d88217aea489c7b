"""The client's own edits, as Anthropic documents them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyclaude.prompt.edits import ClearToolUses, edits_of
from anyclaude.types import JsonObject, Message, ToolUseBlock
from tests.prompt.sample import request


def read(*edits: JsonObject) -> tuple[ClearToolUses, ...]:
    return edits_of(replace(request(), context_edits=edits))


def test_defaults_are_those_of_the_documentation() -> None:
    assert read({"type": "clear_tool_uses_20250919"}) == (ClearToolUses(100_000, None, 3),)


def test_all_of_it_is_read() -> None:
    edit: JsonObject = {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": "input_tokens", "value": 30_000},
        "keep": {"type": "tool_uses", "value": 5},
        "clear_at_least": {"type": "input_tokens", "value": 5_000},
        "exclude_tools": ["web_search", 4],
        "clear_tool_inputs": True,
    }
    wanted = ClearToolUses(30_000, None, 5, ("web_search",), True, 5_000)
    assert read(edit) == (wanted,)


@pytest.mark.parametrize("broken", [None, 3, {"value": "x"}, {"value": True}, {"value": -1}, []])
def test_what_cant_be_read_is_the_default(broken: object) -> None:
    edit: JsonObject = {"type": "clear_tool_uses_20250919", "trigger": broken, "keep": broken}  # type: ignore[dict-item]
    assert read(edit) == (ClearToolUses(),)


def test_other_edits_are_none_of_ours() -> None:
    assert read({"type": "clear_thinking_20251015", "keep": "all"}, {}) == ()


def test_a_number_of_calls_is_a_trigger_too() -> None:
    (edit,) = read(
        {"type": "clear_tool_uses_20250919", "trigger": {"type": "tool_uses", "value": 2}}
    )
    calls = [Message("assistant", (ToolUseBlock(f"t{n}", "Read", {}),)) for n in range(3)]
    assert edit.tokens is None
    assert edit.triggered_by_uses(calls, ())
    assert not edit.triggered_by_uses(calls, ("t0",))
    assert not ClearToolUses().triggered_by_uses(calls, ())
