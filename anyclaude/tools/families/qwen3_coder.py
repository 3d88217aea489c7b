"""Qwen3-Coder: parameters raw between tags, each value on lines of its own.

    <tool_call>
    <function=Bash>
    <parameter=command>
    ls
    </parameter>
    </function>
    </tool_call>

From the chat templates of Qwen3-Coder and Qwen3.5. The models often leave out ``<tool_call>``,
so ``<function=`` alone opens a call too if it names a tool that was offered. Now and then they
fall back to the JSON of :mod:`anyclaude.tools.families.hermes`, which is read as well.
"""

from __future__ import annotations

import json
import re

from anyclaude.dialect import CallBroken, CallClose, Dialect
from anyclaude.grammar import forms as grammar
from anyclaude.grammar.kept import kept_by_tags
from anyclaude.tools.families.base import Reading
from anyclaude.tools.families.hermes import END, START, HermesParser
from anyclaude.tools.families.parameters import ParameterParser, Tags
from anyclaude.types import JsonObject

_FUNCTION = "<function="
_NAME = re.compile(r"[^<>\s]{0,128}")


def render(name: str, arguments: JsonObject) -> str:
    """One call as the model is to write it."""
    parameters = "".join(
        f"<parameter={key}>\n{_raw(value)}\n</parameter>\n" for key, value in arguments.items()
    )
    return f"{START}\n<function={name}>\n{parameters}</function>\n{END}"


def _raw(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class Qwen3CoderParser(ParameterParser, HermesParser):
    """Reads parameters between tags, or JSON."""

    starts = (START, _FUNCTION)
    tags = Tags(
        parameter=re.compile(r"<parameter=([^<>\n]{1,128})>"),
        parameter_begin="<parameter=",
        close="</parameter>",
        call=re.compile(r"<function=([^<>\s]{1,128})>"),
        call_begin=_FUNCTION,
        end="</function>",
        outer=re.compile(r"\s*(?:</tool_call>\s*)?(?:<tool_call>\s*)?"),
    )

    _inside = False
    """Whether the last call's pair of outer tags is still open."""

    def call(self, before: str) -> Reading[bool]:
        src = self.src
        marker = START if src.starts(START) else _FUNCTION
        inside, self._inside = self._inside or marker == START, False
        src.take(len(marker))
        if marker == START:
            yield from self.spaces()
            if self.char(0) in ("{", "["):
                yield from self.objects(before)
                return True
            if not (yield from self.literal(_FUNCTION)):
                return (yield from self.no_call(before, START))
        name = yield from self.run_of(_NAME)
        closed = yield from self.literal(">")
        if inside and name and not closed and not len(src):
            yield CallBroken(src.raw, "the call was cut off", False, before)
            return True
        if not name or not (inside or (closed and name in self.schemas)):
            if marker == START:
                return (yield from self.no_call(before, START))
            src.back()
            src.take(len(_FUNCTION))
            return False
        if (yield from self.parameters(name, before)):
            end = yield from self.ahead(END)
            src.take(max(end, 0))
            self._inside = inside and end < 0 and (yield from self.ahead(_FUNCTION)) >= 0
            yield CallClose(src.raw, True, before)
        return True


_TAGS = grammar.Tags(
    opening=lambda name: [grammar.Marker(START), f"\n<function={name}>\n"],
    argument=lambda key, _: [f"<parameter={key}>\n"],
    end=["\n</parameter>\n"],
    closing=["</function>\n", grammar.Marker(END)],
    next="<",
)
DIALECT = Dialect(
    "qwen3_coder",
    START,
    Qwen3CoderParser,
    render,
    grammar.tagged_calls(_TAGS),
    kept_by_tags,
)
