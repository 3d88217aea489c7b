"""How a model family writes tool calls, and what its text falls apart into.

The contract between the engine, which knows the model, the parsers in ``tools/families`` and the
answer that is built from their segments. Values only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from anyclaude.types import JsonObject, ThinkingMarkers, ToolDefinition


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Some text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingPiece:
    """Some text of the reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingEnd:
    """The reasoning is over; never sent when there was none."""


@dataclass(frozen=True, slots=True)
class CallOpen:
    """A call begins, and its tool's name is known, right or wrong."""

    name: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """The next piece of the open call's arguments as JSON text.

    All pieces together are the arguments object as far as the model wrote it: its own text where
    the family writes JSON, not necessarily valid; made by the parser, and valid, elsewhere.
    """

    json: str


@dataclass(frozen=True, slots=True)
class CallClose:
    """The open call is over. ``raw`` is its text with all markers, byte for byte.

    ``complete`` is whether the model ended it; ``before`` the white space ahead of it.
    """

    raw: str
    complete: bool
    before: str = ""


@dataclass(frozen=True, slots=True)
class CallBroken:
    """Something that began like a call and names no tool; to be shown as text.

    ``raw`` as in :class:`CallClose`, ``reason`` says what is wrong with it.
    """

    raw: str
    reason: str
    complete: bool
    before: str = ""


Segment: TypeAlias = (
    TextPiece | ThinkingPiece | ThinkingEnd | CallOpen | CallPiece | CallClose | CallBroken
)


class SegmentParser(Protocol):
    """One answer's text, taken apart while it arrives.

    However the text is cut into pieces, the segments say the same once neighbouring pieces of a
    kind are joined. Segments come as early as they are certain. Calls don't nest: after
    :class:`CallOpen` come pieces and one :class:`CallClose`.
    """

    def feed(self, text: str) -> list[Segment]:
        """The segments that ``text`` completes or continues."""
        ...

    def finish(self) -> list[Segment]:
        """What is left when the answer is over; an open call is closed, not complete."""
        ...


@dataclass(frozen=True, slots=True)
class GrammarTool:
    """A tool as the grammar is to know it: ``schema`` is the grammar's own copy."""

    name: str
    schema: JsonObject


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one model family writes calls.

    ``start`` is the text at which a call begins, and from which on the grammar holds; empty for
    a family whose calls have no opening marker. ``render`` writes one call as the model is to
    write it. ``grammar`` gives Lark text for llguidance that defines the rule ``call``, markers
    included, for the tools given; its second argument turns a marker's text into a terminal,
    for it may be a special token. ``None``: the family can't be constrained. ``kept`` gives what
    of a tool's schema that text holds a call to, without it all of the schema. ``section`` is the
    text that opens a section of several calls; only the first call's raw text has it.
    """

    name: str
    start: str
    parser: Callable[[Sequence[ToolDefinition], ThinkingMarkers | None], SegmentParser]
    render: Callable[[str, JsonObject], str]
    grammar: Callable[[Sequence[GrammarTool], Callable[[str], str]], str] | None = None
    kept: Callable[[JsonObject], JsonObject] | None = None
    section: str = ""
