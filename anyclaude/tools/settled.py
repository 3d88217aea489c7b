"""How much of a call's arguments no repair would change, while they are written.

What was sent can't be taken back, so what a repair may have to change is not sent before it is
certain: a comma that nothing may follow, a key without a value, an end of a string that is none,
brackets at the end of a string that was never ended, half an escape. Nothing leaves of arguments
without any value.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

_SPACE = frozenset(" \t\r\n")
_ENDS = frozenset("}]")
_State: TypeAlias = Literal["value", "key", "name", "colon", "string", "literal", "after"]


class Settled:
    """Follows the beginning of an object as JSON, piece by piece."""

    __slots__ = ("_at", "_escape", "_open", "_state", "end")

    def __init__(self) -> None:
        self.end = 0
        """So many characters from the start are settled."""
        self._at = 0
        self._state: _State = "value"
        self._open: list[str] = []
        self._escape = ""

    def take(self, text: str) -> int:
        """:attr:`end` with ``text`` behind what was taken before."""
        for char in text:
            self._at += 1
            if self._state in ("string", "name"):
                settled = self._in_string(char)
            else:
                settled = self._outside(char)
            if settled:
                self.end = self._at
        return self.end

    def _in_string(self, char: str) -> bool:
        value = self._state == "string"
        if _is_half(self._escape) and char != "\\":
            self._escape = ""
        if self._escape:
            self._escape += char
            if _is_whole(self._escape):
                self._escape = ""
                return value
        elif char == "\\":
            self._escape = char
        elif char == '"':
            self._state = "after" if value else "colon"
        else:
            return value and char not in _SPACE and char not in _ENDS
        return False

    def _outside(self, char: str) -> bool:
        if char in _SPACE:
            return False
        match char:
            case ",":
                self._state = "key" if self._open[-1:] == ["{"] else "value"
            case ":":
                self._state = "value"
            case "}" | "]":
                self._open[-1:] = []
                self._state = "after"
            case '"' if self._state == "key":
                self._state = "name"
            case '"':
                self._state = "string"
                return True
            case "{" | "[":
                self._open.append(char)
                self._state = "key" if char == "{" else "value"
                return len(self._open) > 1
            case _:
                self._state = "literal"
                return True
        return False


def _is_half(escape: str) -> bool:
    """Whether it is the first half of a pair of surrogates, and nothing more."""
    return len(escape) == 6 and escape[1:4].lower() in ("ud8", "ud9", "uda", "udb")


def _is_whole(escape: str) -> bool:
    if _is_half(escape):
        return False
    last = escape[6:] or escape
    return len(last) == (6 if last[1:2] == "u" else 2)
