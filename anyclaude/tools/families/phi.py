"""Phi-4-mini: JSON between markers, or after the word ``functools``.

    <|tool_call|>[{"name": "Bash", "arguments": {"command": "ls"}}]<|/tool_call|>
    functools[{"name": "Bash", "arguments": {"command": "ls"}}]

The first from the template that llama.cpp has for Phi-4-mini-instruct and from the model's own
special tokens, with or without the brackets; the second from Microsoft's examples for the same
model and vLLM's template for it. The word is ordinary text, so it opens calls only at the start
of a line and with an object in its list.
"""

from __future__ import annotations

from anyclaude.dialect import Dialect
from anyclaude.grammar.forms import Marker, Parts, json_calls
from anyclaude.tools.families.base import Reading
from anyclaude.tools.families.bodies import as_json
from anyclaude.tools.families.json_calls import JsonCallParser
from anyclaude.types import JsonObject

START, END = "<|tool_call|>", "<|/tool_call|>"
WORD = "functools"


class PhiParser(JsonCallParser):
    """Calls of Phi-4-mini, in either syntax."""

    starts = (START, WORD + "[")

    def call(self, before: str) -> Reading[bool]:
        src = self.src
        marked = src.starts(START)
        start = START if marked else WORD
        src.take(len(start))
        if not marked and self._last and "\n" not in before:
            return False
        self.end = END if marked else ""
        at = yield from self.skip(0 if marked else 1)
        if (self.char(at) or "{") != "{" and not (marked and self.char(at) == "["):
            return False
        src.take(at if marked else 0)
        yield from self.objects(before)
        return True


def _object(name: str, arguments: JsonObject) -> str:
    return as_json([{"name": name, "arguments": arguments}])


def render(name: str, arguments: JsonObject) -> str:
    """One call between the markers."""
    return f"{START}{_object(name, arguments)}{END}"


def render_functools(name: str, arguments: JsonObject) -> str:
    """One call after the word."""
    return WORD + _object(name, arguments)


def _opening(name: str) -> Parts:
    return [f'{{"name": {as_json(name)}, "arguments": ']


DIALECT = Dialect(
    "phi",
    START,
    PhiParser,
    render,
    json_calls(
        _opening, ["}"], section=([Marker(START), "["], ["]", Marker(END)]), separator=[", "]
    ),
    section=START + "[",
)
FUNCTOOLS = Dialect(
    "phi_functools",
    WORD + "[",
    PhiParser,
    render_functools,
    json_calls(_opening, ["}"], section=([WORD + "["], ["]"]), separator=[", "]),
    section=WORD + "[",
)
