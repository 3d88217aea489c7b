"""Calls whose parameters stand raw between tags, the closing ones of which may be forgotten.

Where a value ends (see :mod:`anyclaude.tools.families.raw_values`):

- A closing tag counts only if a parameter that has no value yet comes next, or the end of the
  call.
- The next parameter settles it. So does the end of the call if the answer ends there or another
  call of a known tool follows.
- If other text follows, the value goes on if it ends once more further on.
- A call inside the value is opened by its tag with a parameter or the call's end behind it.
- Where no closing tag counts, the model forgot it: then the next parameter or the end of the
  call ends the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from anyclaude.dialect import CallClose, CallOpen, CallPiece
from anyclaude.tools.families.base import FamilyParser, Reading
from anyclaude.tools.families.raw_values import After, ValueEnd, raw_value
from anyclaude.tools.families.values import types_of

_LONGEST = 256
"""More than any opening tag takes with its key or name."""


@dataclass(frozen=True, slots=True)
class Tags:
    """A family's tags, each of the form ``<...>``.

    ``parameter`` opens a parameter, with its key as the only group, and begins with
    ``parameter_begin``; ``close`` ends its value. ``call`` opens a call, with the tool's name as
    the only group, and begins with ``call_begin``; ``end`` ends it. ``outer`` matches what may
    stand between the end of a call and the next, white space included. A value stands on lines
    of its own: one line end on either side isn't part of it.
    """

    parameter: re.Pattern[str]
    parameter_begin: str
    close: str
    call: re.Pattern[str]
    call_begin: str
    end: str
    outer: re.Pattern[str]


class ParameterParser(FamilyParser):
    """Reads parameters between tags; a family adds what stands around them."""

    tags: Tags

    def parameters(self, name: str, before: str) -> Reading[bool]:
        """The parameters of a call whose opening is taken, up to and with its end tag.

        ``False`` when the answer ends before that; then the call is closed already.
        """
        yield CallOpen(name)
        given: list[str] = []
        while True:
            yield from self.spaces()
            if (yield from self.literal(self.tags.end)):
                yield CallPiece("}" if given else "{}")
                return True
            key = yield from self._key()
            if key is None:
                # Neither a parameter nor the end: what stands here is passed over.
                ended = yield from self._pass_over()
            else:
                yield CallPiece(f"{', ' if given else '{'}{json.dumps(key, ensure_ascii=False)}: ")
                given.append(key)
                ended = yield from self._value(name, key, given)
            if not ended:
                yield CallClose(self.src.raw, False, before)
                return False

    def _key(self) -> Reading[str | None]:
        src, tags = self.src, self.tags
        while True:
            match = tags.parameter.match(src.text, src.at)
            if match is not None:
                src.take(match.end() - src.at)
                return match[1].strip()
            if not may_become(src.text, src.at, tags.parameter_begin):
                return None
            if not (yield from self.more()):
                return None

    def _pass_over(self) -> Reading[bool]:
        """Takes text up to the next tag; ``False`` when there is none."""
        src = self.src
        begins = (self.tags.parameter_begin, self.tags.end)
        src.take(1)
        while True:
            hits = [src.text.find(m, src.at) for m in begins]
            found = min((hit - src.at for hit in hits if hit >= 0), default=-1)
            if found >= 0:
                src.take(found)
                return True
            if not (yield from self.more()):
                src.take(len(src))
                return False

    def _value(self, name: str, key: str, given: Collection[str]) -> Reading[bool]:
        types = types_of(self.schemas.get(name), key)
        yield from self.literal("\n")
        ends = _Ends(self, given)
        return (yield from raw_value(self, ends, types, self.tags.close, own_lines=True))


class _Ends(ValueEnd):
    """Told by a family's patterns; a closing tag may have been forgotten."""

    def __init__(self, parser: ParameterParser, given: Collection[str]) -> None:
        super().__init__(parser.src)
        self.parser, self.tags, self.given = parser, parser.tags, given
        tags = parser.tags
        self.insides = (tags.parameter_begin, tags.end)
        inside = f"(?:{'|'.join(map(re.escape, self.insides))})"
        self.events = re.compile(
            f"(?P<close>{re.escape(tags.close)})|(?P<end>{re.escape(tags.end)})"
            f"|(?P<call>{tags.call.pattern}(?=\\s*{inside}))|(?P<parameter>{tags.parameter.pattern})"
        )
        self.begins = (tags.close, tags.end, tags.call_begin, tags.parameter_begin)
        self.bare = -1
        """The first place where an end may have been forgotten."""

    def moved(self, count: int) -> None:
        super().moved(count)
        self.bare -= count if self.bare >= 0 else 0

    def at_last(self) -> int:
        self.forgotten = self.maybe < 0
        return self.bare if self.forgotten else self.maybe

    def scan(self) -> int:
        src = self.src
        while (match := self.events.search(src.text, src.at + self.seen)) is not None:
            at, behind = match.start() - src.at, match.end() - src.at
            if match["close"]:
                after = self._after(behind)
                if after is After.OPEN:
                    return self.hold(at, self.bare)
                if self.closes(at, after):
                    return at
            elif match["call"]:
                self.depth += 1
            elif match["end"] and self.depth:
                self.depth -= 1
            elif not self.inside and self.bare < 0 and (match["end"] or self._is_next(match)):
                self.bare = at
            self.seen = behind
        return self.hold(self._unfinished(), self.bare)

    def _is_next(self, match: re.Match[str]) -> bool:
        found = self.tags.parameter.match(match.string, match.start())
        return found is not None and found[1].strip() not in self.given

    def _unfinished(self) -> int:
        """Where a tag begins that isn't all here, or the end of the text."""
        src, size = self.src, len(self.src)
        if src.final:
            return size
        # The opening of a call counts only with what belongs into one behind it.
        at = src.text.rfind(self.tags.call_begin, src.at + self.seen)
        if at >= 0 and (call := self.tags.call.match(src.text, at)):
            behind = src.text[_after_space(src.text, call.end()) :]
            if len(behind) < _LONGEST and any(tag.startswith(behind) for tag in self.insides):
                return at - src.at
        at = src.text.rfind("<", src.at + self.seen)
        if at < 0 or src.text.find(">", at) >= 0:
            return size
        if any(may_become(src.text, at, begin) for begin in self.begins):
            return at - src.at
        return size

    def _after(self, pos: int) -> After:
        """What comes after a closing tag."""
        src, tags = self.src, self.tags
        text, at = src.text, _after_space(src.text, src.at + pos)
        if any(tag.startswith(text[at:]) for tag in self.insides):
            # An answer that ends here was cut off behind the value.
            return After.END if src.final else After.OPEN
        parameter = tags.parameter.match(text, at)
        if parameter is not None:
            return After.INSIDE if parameter[1].strip() in self.given else After.END
        if text.startswith(tags.end, at):
            return self._after_end(at + len(tags.end))
        waits = not src.final and any(may_become(text, at, begin) for begin in self.insides)
        return After.OPEN if waits else After.INSIDE

    def _after_end(self, at: int) -> After:
        src, tags, text = self.src, self.tags, self.src.text
        outer = tags.outer.match(text, at)
        at = outer.end() if outer else at
        if at == len(text):
            return After.END if src.final else After.OPEN
        call = tags.call.match(text, at)
        if call is not None and call[1].strip() in self.parser.schemas:
            return After.END
        if src.final or call is not None:
            return After.MAYBE
        # An outer tag or the opening of a call may be here in part.
        rest = text[at:]
        unfinished = rest.startswith("<") and ">" not in rest and len(rest) < _LONGEST
        return After.OPEN if unfinished else After.MAYBE


def may_become(text: str, at: int, begin: str) -> bool:
    """Whether the text at ``at`` may yet become a tag that begins so, as more of it comes."""
    return begin.startswith(text[at : at + len(begin)]) and len(text) - at < _LONGEST


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at
