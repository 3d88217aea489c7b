"""Mistral: a name and its arguments after ``[TOOL_CALLS]``, or a list of JSON objects.

    [TOOL_CALLS]Bash[ARGS]{"command": "ls"}[TOOL_CALLS]Read[ARGS]{"file_path": "a.py"}
    [TOOL_CALLS][{"name": "Bash", "arguments": {"command": "ls"}, "id": "x7Qp0aZ2k"}]

The first form is that of the tokenizers from v11 on (Mistral Small 3.1 and later, Devstral,
Magistral), where ``[CALL_ID]`` and an id may stand before ``[ARGS]``, and some quantized models
leave both out. The second is that of v3 and v7 (Mistral 7B v0.3, Nemo, Large). From their chat
templates. There is no end marker: a call ends with its JSON.
"""

from __future__ import annotations

import json
import re

from anyclaude.dialect import CallClose, CallOpen, CallPiece, Dialect
from anyclaude.grammar.forms import Marker, Parts, json_calls
from anyclaude.tools.families.base import Reading
from anyclaude.tools.families.json_calls import JsonCallParser
from anyclaude.types import JsonObject

START = "[TOOL_CALLS]"
_ARGS = "[ARGS]"
_ID = "[CALL_ID]"
_NAME = re.compile(r"[\w.-]{0,128}")
_NEXT = re.compile(r"[\s,]*([\w.-]{1,128})(?:\[CALL_ID\][\w.-]{0,128})?\[ARGS\]")
_HEADERS = ("[CALL_ID]", "[ARGS]")
_BEFORE_HEADER = re.compile(r"[\s,]*[\w.-]{0,128}(?:\[CALL_ID\][\w.-]{0,128})?")


def render(name: str, arguments: JsonObject) -> str:
    """One call as the newer models are to write it."""
    return f"{START}{name}{_ARGS}{json.dumps(arguments, ensure_ascii=False)}"


def render_list(name: str, arguments: JsonObject) -> str:
    """One call as the older models are to write it."""
    call = {"name": name, "arguments": arguments}
    return f"{START}[{json.dumps(call, ensure_ascii=False)}]"


class MistralParser(JsonCallParser):
    """Reads both forms."""

    starts = (START,)

    def call(self, before: str) -> Reading[bool]:
        src = self.src
        src.take(len(START))
        yield from self.spaces()
        if self.char(0) in ("{", "["):
            yield from self.objects(before)
            return True
        while True:
            name = yield from self.run_of(_NAME)
            yield from self.spaces()
            marked = False
            if (yield from self.literal(_ID)):
                marked = True
                yield from self.run_of(_NAME)
            if (yield from self.literal(_ARGS)):
                marked = True
            yield from self.spaces()
            if not name or not (marked or self.char(0) == "{"):
                src.back()
                src.take(len(START))
                return False
            yield CallOpen(name)
            if (yield from self.literal("null")):
                yield CallPiece("{}")
            elif self.char(0) not in ("{", '"'):
                yield CallClose(src.raw, False, before)
                return True
            elif not (yield from self.arguments()):
                yield from self.broken(before, name, inside=True)
                return True
            yield CallClose(src.raw, True, before)
            src.mark()
            before = ""
            if not (yield from self._another()):
                return True

    def _another(self) -> Reading[bool]:
        """Whether a call without its own marker follows; takes what stands before its name."""
        src = self.src
        while (found := _NEXT.match(src.text, src.at)) is None:
            lead = _BEFORE_HEADER.match(src.text, src.at)
            rest = src.text[lead.end() if lead else src.at :]
            if not any(header.startswith(rest) for header in _HEADERS):
                return False
            if not (yield from self.more()):
                return False
        src.take(found.start(1) - src.at)
        return True


def _list_opening(name: str) -> Parts:
    return [f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": ']


DIALECT = Dialect(
    "mistral",
    START,
    MistralParser,
    render,
    json_calls(lambda name: [Marker(START), name, Marker(_ARGS)], []),
)
LIST_DIALECT = Dialect(
    "mistral_list",
    START,
    MistralParser,
    render_list,
    json_calls(_list_opening, ["}"], section=([Marker(START), "["], ["]"]), separator=[", "]),
    section=START + "[",
)
