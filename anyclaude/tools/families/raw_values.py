"""Raw values between tags, as pieces of JSON: where a value ends that may hold its own end.

Nothing is escaped there, so a closing tag ends a value only where the call goes on behind it. If
other text follows, a later end takes its place; what stands in a whole call inside the value
belongs to the value. From the first place that may be the end on a value is held until that is
known. A family's :class:`ValueEnd` reads its tags; what they say of the end is the same for all.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

from anyclaude.dialect import CallPiece
from anyclaude.tools.families.base import FamilyParser, Reading, Source
from anyclaude.tools.families.values import string_piece, surely_string, value_as_json


class After(enum.Enum):
    """What the text after a closing tag says about it."""

    OPEN = "more text is needed"
    INSIDE = "it is part of the value"
    END = "the value ends here"
    MAYBE = "the value ends here unless it does so again before the next call"


class ValueEnd:
    """The end of one value, looked for as text comes. Offsets are counted from the source."""

    def __init__(self, src: Source) -> None:
        self.src = src
        self.free = 0
        """What stands before is the value's for sure."""
        self.seen = 0
        """What stands before was looked at."""
        self.depth = 0
        """Of calls that were opened inside the value."""
        self.flat = False
        """Whether such calls count no more."""
        self.maybe = -1
        """The last end that other text follows."""
        self.inner = -1
        """The first end in a call that was opened inside the value."""
        self.forgotten = False
        """Whether the end that was found has no closing tag."""

    def scan(self) -> int:
        """Looks at what came: the value's length, -1 as long as that isn't known."""
        raise NotImplementedError

    def at_last(self) -> int:
        """The value's length when no more will come, -1 if it has no end."""
        return self.maybe

    def moved(self, count: int) -> None:
        """``count`` characters were taken."""
        self.free -= count
        self.seen -= count
        self.maybe -= count if self.maybe >= 0 else 0
        self.inner -= count if self.inner >= 0 else 0

    def look(self) -> int:
        """As :meth:`scan`, and at the end of the answer what it comes to."""
        found = self.scan()
        if found < 0 and self.src.final:
            if self.maybe < 0 <= self.inner:
                # What was opened inside was no call, or one that never ended.
                self.seen, self.flat = self.inner, True
                found = self.scan()
            return found if found >= 0 else self.at_last()
        return found

    # ------------------------------------------------------------------------- for families

    @property
    def inside(self) -> bool:
        """Whether what comes stands in a call inside the value."""
        return self.depth > 0 and not self.flat

    def closes(self, at: int, after: After) -> bool:
        """Takes note of a closing tag; whether the value ends there."""
        if after is After.INSIDE:
            return False
        if self.inside:
            self.inner = at if self.inner < 0 else self.inner
            return False
        if after is After.MAYBE:
            self.maybe = at
        return after is After.END

    def hold(self, stop: int, *more: int) -> int:
        """Everything before ``stop`` was looked at; what may be an end is held. Returns -1.

        ``more`` are other places that may, where no closing tag does; -1 for none.
        """
        self.seen = stop
        places = (self.maybe,) if self.maybe >= 0 else (self.inner, *more)
        self.free = min([stop, *(place for place in places if place >= 0)])
        return -1


def raw_value(
    parser: FamilyParser,
    ends: ValueEnd,
    types: Collection[str],
    close: str,
    *,
    own_lines: bool = False,
) -> Reading[bool]:
    """A value as pieces of JSON and its tag ``close``, taken; ``False`` if it never ended.

    Strings go out as they come, all else as a whole. ``own_lines``: a line end before the tag
    isn't part of the value.
    """
    src, text, quoted = parser.src, "", False
    while True:
        found = ends.look()
        over = found < 0 and src.final
        size = found if found >= 0 else len(src) if over else ends.free
        if own_lines and found < 0 and not over and src.ahead(size).endswith("\n"):
            size -= 1
        piece = src.take(size)
        ends.moved(size)
        if own_lines and found >= 0:
            piece = piece.removesuffix("\n")
        if quoted and piece:
            yield CallPiece(string_piece(piece))
        elif not quoted:
            text += piece
            if surely_string(types, text):
                quoted = True
                yield CallPiece('"' + string_piece(text))
        if over:
            return False
        if found >= 0:
            break
        yield from parser.more()
    yield CallPiece('"' if quoted else value_as_json(types, text))
    if not ends.forgotten:
        src.take(len(close))
    return True
