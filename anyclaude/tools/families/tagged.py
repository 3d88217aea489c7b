"""Calls whose arguments stand between tags, each on its own line or not: GLM, MiniMax, DSML.

A value is the text between its tags byte for byte. A closing tag ends it only where the call goes
on: with the next argument, or with its end. The end of a call is certain where the answer ends,
another call or the end of the section follows. Where other text does, a later end takes its place
(see :mod:`anyclaude.tools.families.raw_values`), unless a call begins before that.
"""

from __future__ import annotations

import re

from anyclaude.dialect import CallOpen, CallPiece
from anyclaude.tools.families.base import Reading, partial
from anyclaude.tools.families.bodies import as_json, first_of, is_name
from anyclaude.tools.families.raw_values import After, ValueEnd, raw_value
from anyclaude.tools.families.sections import SectionParser
from anyclaude.tools.families.values import types_of
from anyclaude.types import JsonObject

_LONGEST = 160
"""More than an opening tag takes."""
_NAMED = re.compile(r"""\s+name\s*=\s*(?:"([^"<>\n]*)"|'([^'<>\n]*)'|([^\s"'<>]*))([^<>]*)>""")


class TaggedParser(SectionParser):
    """A family gives its tags and the reading of what opens a call and an argument."""

    key_open: str
    """With what an argument begins."""
    value_close: str

    def key(self, name: str) -> Reading[tuple[str, frozenset[str]] | None]:
        """Takes the rest of an argument's opening after ``key_open``: its name and types.

        ``None`` when the answer or the call ends before the value begins.
        """
        raise NotImplementedError

    def opens(self, at: int) -> bool | None:
        """Whether the text at ``at``, after ``call_open``, opens a call; ``None``: not known."""
        raise NotImplementedError

    def types(self, name: str, key: str) -> frozenset[str]:
        """What the schema of the tool ``name`` allows its parameter ``key``."""
        return types_of(self.schemas.get(name), key)

    def tagged_call(self, before: str, name: str) -> Reading[bool]:
        """Reads a call whose opening is taken. Returns ``True``."""
        yield CallOpen(name)
        complete = yield from self.tagged_arguments(name)
        if complete:
            yield from self.end_of_section()
        return (yield from self.closed(before, complete))

    def tagged_arguments(self, name: str) -> Reading[bool]:
        """The arguments as pieces, and the end of the call; whether the model ended it."""
        stops = tuple(filter(None, (*self.section, self.call_open)))
        opened = False
        while True:
            _, marker = yield from self.upto(self.key_open, self.call_close, *stops)
            if marker != self.key_open:
                break
            self.src.take(len(marker))
            key = yield from self.key(name)
            if key is None:
                continue
            yield CallPiece(f"{', ' if opened else '{'}{as_json(key[0])}: ")
            opened = True
            if not (yield from raw_value(self, _Ends(self), key[1], self.value_close)):
                return False
        if not marker:
            return False
        yield CallPiece("}" if opened else "{}")
        if marker == self.call_close:
            self.src.take(len(marker))
        return True

    def after(self, at: int) -> After:
        """What stands at ``at``, behind a closing tag."""
        tags = (self.key_open, self.call_close, self.section[1], self.call_open)
        marker, at = self._marker(at, *tags)
        if marker is None:
            return After.OPEN
        if marker in (self.key_open, self.call_open) or (not marker and at == len(self.src.text)):
            return After.END
        if not marker:
            return After.INSIDE
        if marker == self.call_close:
            marker, at = self._marker(at, self.call_open, *self.section)
        if marker and marker == self.section[1]:
            marker, at = self._marker(at, self.call_open, self.section[0])
        if marker is None:
            return After.OPEN
        return After.END if marker or at == len(self.src.text) else After.MAYBE

    def _marker(self, at: int, *markers: str) -> tuple[str | None, int]:
        """The marker after white space at ``at``, and where it ends; ``None``: not yet known."""
        head = self.src.text[at:].lstrip()
        at = len(self.src.text) - len(head)
        for marker in filter(None, markers):
            if head.startswith(marker):
                return marker, at + len(marker)
        waits = not self.src.final and any(m.startswith(head) for m in markers if m)
        return (None if waits else ""), at


class _Ends(ValueEnd):
    """Told by the text of a family's tags."""

    def __init__(self, parser: TaggedParser) -> None:
        super().__init__(parser.src)
        self.parser = parser
        self.tags = (parser.value_close, parser.call_open, parser.call_close)

    def scan(self) -> int:
        src, parser = self.src, self.parser
        while True:
            found, tag = first_of(src.text, self.tags, src.at + self.seen)
            if not tag:
                held = max(partial(src.rest[self.seen :], tag) for tag in self.tags)
                return self.hold(len(src) - (0 if src.final else held))
            at, behind = found - src.at, found + len(tag)
            if tag == parser.value_close:
                after = parser.after(behind)
                if after is After.OPEN:
                    return self.hold(at)
                if self.closes(at, after):
                    return at
            elif tag == parser.call_open:
                opens = parser.opens(behind)
                if opens is None:
                    return self.hold(at)
                if opens and self.maybe >= 0:
                    return self.maybe
                self.depth += opens
            elif self.depth:
                self.depth -= 1
            self.seen = behind - src.at


class InvokeParser(TaggedParser):
    """Calls as ``<invoke name="…">`` with ``<parameter name="…">`` in them, in a section.

    Outside of a section an ``<invoke>`` is prose.
    """

    bare = False

    def invocation(self, before: str) -> Reading[bool]:
        name = yield from self.attributes()
        if name is None or not is_name(name[0]):
            return (yield from self.nameless(before))
        return (yield from self.tagged_call(before, name[0]))

    def attributes(self) -> Reading[tuple[str, str] | None]:
        """Takes the rest of an opening tag: what it names, and its other attributes."""
        text, marker = yield from self.upto(">", "<", "\n")
        if marker != ">":
            return None
        self.src.take(1)
        match = _NAMED.fullmatch(text + ">")
        return (match[1] or match[2] or match[3] or "", match[4]) if match else None

    def key(self, name: str) -> Reading[tuple[str, frozenset[str]] | None]:
        named = yield from self.attributes()
        if named is None or not named[0]:
            return None
        return named[0], self.attributed(self.types(name, named[0]), named[1])

    def attributed(self, types: frozenset[str], attributes: str) -> frozenset[str]:
        """The types of a parameter, given its other attributes."""
        return types

    def opens(self, at: int) -> bool | None:
        head = self.src.text[at : at + _LONGEST]
        if ">" not in head and len(head) < _LONGEST and not self.src.final:
            return None
        match = _NAMED.match(head)
        return match is not None and is_name(match[1] or match[2] or match[3] or "")


def render_invocation(
    section: tuple[str, str], mark: str, name: str, arguments: JsonObject, *, typed: bool
) -> str:
    """One call in a section of its own; ``typed``: parameters tell whether they are strings."""
    lines = [section[0], f'<{mark}invoke name="{name}">']
    for key, value in arguments.items():
        text = isinstance(value, str)
        kind = f' string="{"true" if text else "false"}"' if typed else ""
        body = value if isinstance(value, str) else as_json(value)
        lines.append(f'<{mark}parameter name="{key}"{kind}>{body}</{mark}parameter>')
    return "\n".join([*lines, f"</{mark}invoke>", section[1]])
