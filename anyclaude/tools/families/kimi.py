"""Kimi K2: a section of calls, each with an id that has the tool's name in it.

    <|tool_calls_section_begin|><|tool_call_begin|>functions.Bash:0\
<|tool_call_argument_begin|>{"command": "ls"}<|tool_call_end|><|tool_calls_section_end|>

From the chat template of Kimi-K2-Instruct and its guide to tool calls. The id is
``functions.{name}:{count}``; the model leaves out either part now and then.
"""

from __future__ import annotations

import re

from anyclaude.dialect import CallOpen, Dialect
from anyclaude.grammar.forms import Marker, Parts, Pattern, json_calls
from anyclaude.tools.families.base import Reading
from anyclaude.tools.families.bodies import as_json, is_name
from anyclaude.tools.families.sections import SectionParser
from anyclaude.types import JsonObject

START, END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
_OPEN, _CLOSE = "<|tool_call_begin|>", "<|tool_call_end|>"
_ARGUMENTS = "<|tool_call_argument_begin|>"
_COUNT = re.compile(r":\d+$")


class KimiParser(SectionParser):
    """Calls of Kimi K2."""

    section = (START, END)
    call_open, call_close = _OPEN, _CLOSE

    def invocation(self, before: str) -> Reading[bool]:
        head, marker = yield from self.upto(_ARGUMENTS, "{", _CLOSE, _OPEN, END)
        name = _COUNT.sub("", head.strip()).removeprefix("functions.")
        if not marker or not is_name(name):
            return (yield from self.nameless(before))
        if marker == _ARGUMENTS:
            self.src.take(len(marker))
        yield CallOpen(name)
        complete = yield from self.json_body((_CLOSE,), (_OPEN, END))
        if complete:
            yield from self.end_of_section()
        return (yield from self.closed(before, complete))


def render(name: str, arguments: JsonObject) -> str:
    """One call in a section of its own."""
    return f"{START}{_OPEN}functions.{name}:0{_ARGUMENTS}{as_json(arguments)}{_CLOSE}{END}"


def _opening(name: str) -> Parts:
    return [Marker(_OPEN), f"functions.{name}:", Pattern("[0-9]{1,2}"), Marker(_ARGUMENTS)]


DIALECT = Dialect(
    "kimi",
    START,
    KimiParser,
    render,
    json_calls(_opening, [Marker(_CLOSE)], section=([Marker(START)], [Marker(END)])),
    section=START,
)
