"""Calls out of the pieces that servers send of them, whose only common trait is their order.

An index may be missing or always 0, an id missing or the same for all, a name in pieces or said
again with every piece, arguments an object, a text that begins with an empty object, or none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from anyclaude.backends.openai.chunks import CallDelta
from anyclaude.backends.openai.names import Names
from anyclaude.dialect import CallBroken, CallClose, CallOpen, CallPiece, Segment
from anyclaude.types import JsonObject

_PLACEHOLDERS = ("", "{}", "n", "nu", "nul", "null")
"""Arguments so far that may yet turn out to stand for none."""


@dataclass(slots=True)
class Call:
    """One call in the making; ``text`` is its arguments, ``sent`` how much of them was told.

    ``opened`` is the name it was told under, ``before`` the white space ahead of it, once known.
    """

    index: int | None
    id: str
    name: str = ""
    text: str = ""
    whole: JsonObject | None = None
    opened: str = ""
    sent: int = 0
    before: str | None = None
    over: bool = False

    @property
    def readable(self) -> bool:
        """Whether the arguments are a finished object, so that nothing more can belong to them."""
        if not self.text.rstrip().endswith("}"):
            return False
        try:
            json.loads(self.text)
        except ValueError:
            return False
        return True

    def add(self, delta: CallDelta, names: Names) -> None:
        self.id = self.id or delta.id
        if delta.name and not self.text:
            self.name = _named(self.name, delta.name, names)
        if delta.whole is not None and (delta.whole or self.whole is None):
            self.whole = delta.whole
        if delta.arguments:
            if self.text.strip() == "{}" and not self.sent and delta.arguments.strip():
                self.text = ""
            self.text += delta.arguments

    def progress(self, names: Names) -> list[Segment]:
        """What can be told of it by now."""
        if self.text.strip() in _PLACEHOLDERS or not self.name:
            return []
        out: list[Segment] = [] if self.opened else [self._open(names)]
        if self.sent < len(self.text):
            out.append(CallPiece(self.text[self.sent :]))
            self.sent = len(self.text)
        return out

    def close(self, names: Names, complete: bool) -> list[Segment]:
        """All that is left to tell; ``complete`` is whether the model ended it."""
        if not self.sent:
            if self.whole is not None and self.text.strip() in ("", "{}"):
                self.text = json.dumps(self.whole, ensure_ascii=False)
            elif complete and self.text.strip() in ("", "null"):
                self.text = "{}"
        before = self.before or ""
        if not self.name:
            reason = "the call names no tool"
            return [CallBroken(self.text, reason, complete, before)]
        out: list[Segment] = [] if self.opened else [self._open(names)]
        if self.sent < len(self.text):
            out.append(CallPiece(self.text[self.sent :]))
            self.sent = len(self.text)
        return [*out, CallClose(f"{self.opened} {self.text}", complete, before)]

    def _open(self, names: Names) -> CallOpen:
        self.opened = names.own(self.name)
        return CallOpen(self.opened)


class CallBook:
    """Whose piece is it? Keeps the calls of one answer in the order they began."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._calls: list[Call] = []

    @property
    def any(self) -> bool:
        return bool(self._calls)

    def add(self, delta: CallDelta) -> Call | None:
        """Takes a piece in; the call if it begins with it."""
        call = self._owner(delta)
        if call is not None:
            if not call.over:
                call.add(delta, self._names)
            return None
        if not (delta.name or delta.id or delta.arguments or delta.whole):
            return None
        call = Call(delta.index, delta.id)
        call.add(delta, self._names)
        self._calls.append(call)
        return call

    def _owner(self, delta: CallDelta) -> Call | None:
        """The call that ``delta`` goes on with; ``None`` for a new one."""
        if delta.index is not None:
            call = self._latest(lambda call: call.index == delta.index)
            another = call is not None and delta.id and call.id and delta.id != call.id
            return None if another or _repeated(call, delta) else call
        if delta.id:
            call = self._latest(lambda call: call.id == delta.id)
            return None if _repeated(call, delta) else call
        last = self._calls[-1] if self._calls else None
        if last is not None and delta.name and (last.text or last.whole is not None):
            again = delta.name == last.name and not last.readable and last.whole is None
            return last if again else None
        return last

    def _latest(self, fits: Callable[[Call], bool]) -> Call | None:
        return next((call for call in reversed(self._calls) if fits(call)), None)


def _repeated(call: Call | None, delta: CallDelta) -> bool:
    """Whether a place is used again, for another call that comes in one piece."""
    return (
        call is not None
        and bool(delta.name)
        and bool(delta.arguments.strip() or delta.whole)
        and (call.readable or bool(call.whole))
    )


def _named(name: str, piece: str, names: Names) -> str:
    """``name`` with the next piece, which may be all of it once more."""
    if piece == name:
        return name
    if piece.startswith(name):
        return piece
    both = name + piece
    if names.known(name) and not names.known(both) and not names.begins(both):
        return name
    return both
