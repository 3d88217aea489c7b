"""GLM 4.5 to 4.7: the tool's name, then keys and values between tags.

    <tool_call>Write
    <arg_key>file_path</arg_key>
    <arg_value>a.py</arg_value>
    <arg_key>content</arg_key>
    <arg_value>print("hi")
    </arg_value>
    </tool_call>

From the chat templates of GLM-4.5 and GLM-4.6; that of 4.7 has no line ends between the tags.
Strings stand as they are, all else as JSON. The models also fall back to JSON, after the name or
as :mod:`anyclaude.tools.families.hermes` has it. After the marker any other text is prose.
"""

from __future__ import annotations

import re

from anyclaude.dialect import CallOpen, Dialect
from anyclaude.grammar.forms import Marker, Tags, tagged_calls
from anyclaude.grammar.kept import kept_by_tags
from anyclaude.tools.families.base import Reading
from anyclaude.tools.families.bodies import as_json
from anyclaude.tools.families.hermes import END, START, HermesParser
from anyclaude.tools.families.tagged import TaggedParser
from anyclaude.types import JsonObject

_KEY, _KEY_END, _VALUE, _VALUE_END = "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"
_HEAD = re.compile(r"\s*[\w.\-]{0,128}\s*")


class GlmParser(TaggedParser, HermesParser):
    """Calls of GLM 4.x."""

    starts = (START,)
    call_open, call_close = START, END
    key_open, value_close = _KEY, _VALUE_END

    def call(self, before: str) -> Reading[bool]:
        self.src.take(len(START))
        yield from self.spaces()
        if self.char(0) in ("{", "["):
            yield from self.objects(before)
            return True
        name = yield from self.word()
        then = yield from self.follows(_KEY, END, "{")
        if name and then == "{":
            yield CallOpen(name)
            complete = yield from self.json_body((END,), (START,))
            return (yield from self.closed(before, complete))
        if name and then:
            return (yield from self.tagged_call(before, name))
        if then == END:
            yield from self.swallow(END)
            return (yield from self.say_broken(before, "the call names no tool", True))
        if not self._cut():
            return self.prose_after_all(START)
        ended = bool(self.src.rest)
        self.src.take(len(self.src))
        if not name or not ended:
            return (yield from self.say_broken(before, "the call was cut off", False))
        yield CallOpen(name)
        return (yield from self.closed(before, False))

    def _cut(self) -> bool:
        """Whether the answer ended in what could have become the opening of a call."""
        rest = self.src.rest.lstrip()
        return self.src.final and any(tag.startswith(rest) for tag in (_KEY, END))

    def key(self, name: str) -> Reading[tuple[str, frozenset[str]] | None]:
        key, marker = yield from self.upto(_KEY_END, _VALUE, END)
        if marker == _KEY_END:
            self.src.take(len(marker))
            marker = yield from self.follows(_VALUE)
        if marker != _VALUE:
            return None
        yield from self.swallow(marker)
        return key.strip(), self.types(name, key.strip())

    def opens(self, at: int) -> bool | None:
        text = self.src.text
        match = _HEAD.match(text, at)
        head = text[match.end() if match else at :]
        if head.startswith((_KEY, END, "{")):
            return True
        waits = not self.src.final and any(tag.startswith(head) for tag in (_KEY, END))
        return None if waits else False


def render(name: str, arguments: JsonObject) -> str:
    """One call as the template of GLM 4.6 writes it."""
    pairs = "".join(
        f"{_KEY}{key}{_KEY_END}\n"
        f"{_VALUE}{value if isinstance(value, str) else as_json(value)}{_VALUE_END}\n"
        for key, value in arguments.items()
    )
    return f"{START}{name}\n{pairs}{END}"


_TAGS = Tags(
    opening=lambda name: [Marker(START), f"{name}\n"],
    argument=lambda key, _: [Marker(_KEY), key, Marker(_KEY_END), "\n", Marker(_VALUE)],
    end=[Marker(_VALUE_END), "\n"],
    closing=[Marker(END)],
    next="<",
)
DIALECT = Dialect("glm", START, GlmParser, render, tagged_calls(_TAGS), kept_by_tags)
