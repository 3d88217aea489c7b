"""Gemma 4 and FunctionGemma: a notation of their own with a marker for quotation marks.

    <|tool_call>call:Bash{command:<|"|>ls<|"|>,timeout:30}<tool_call|>
    <start_function_call>call:Bash{command:<escape>ls<escape>,timeout:30}<end_function_call>

From their chat templates and Google's guides to function calling with them. Keys are bare, and
strings stand between two of the markers with nothing escaped. So a string may hold the marker:
it ends at the first one that the notation goes on well behind, and if there is none at the first.
Strings in plain quotation marks and bare ones are read too. Gemma 3 has no notation: its template
knows no tools.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from anyclaude.dialect import CallOpen, CallPiece, Dialect
from anyclaude.grammar.bare import bare_calls
from anyclaude.grammar.forms import Marker
from anyclaude.grammar.kept import kept_bare
from anyclaude.tools.families.base import Reading, partial
from anyclaude.tools.families.bodies import BodyParser, as_json, first_of, is_name
from anyclaude.tools.families.values import JsonScanner, strict_json, string_piece
from anyclaude.types import JsonObject, JsonValue

_BARE_KEY = re.compile(r"[\w.$\-]+")
_NEXT_KEY = re.compile(r"\s*(?:[\w.$\-]+|\"[^\"\n]*\")\s*:")
_MAY_BE_KEY = re.compile(r"\s*(?:[\w.$\-]*|\"[^\"\n]*\"?)\s*")
_WORDS = {"True": "true", "False": "false", "None": "null"}

Place: TypeAlias = Literal["key", "call", "object", "list"]
"""Where a string stands: as a key, or as a value in the arguments, an object or a list."""


class GemmaParser(BodyParser):
    """Calls of Gemma 4."""

    starts: tuple[str, ...] = ("<|tool_call>",)
    end = "<tool_call|>"
    quote = '<|"|>'

    def call(self, before: str) -> Reading[bool]:
        src, start = self.src, self.starts[0]
        src.take(len(start))
        if not (yield from self.swallow("call:")):
            if (yield from self.swallow(self.end)):
                return (yield from self.say_broken(before, "the call names no tool", True))
            if src.final and "call:".startswith(src.rest.lstrip()):
                src.take(len(src))
                return (yield from self.say_broken(before, "the call was cut off", False))
            return self.prose_after_all(start)
        name, marker = yield from self.upto("{", self.end, start, "\n")
        name = name.strip()
        if not marker or not is_name(name):
            return (yield from self._nameless(before))
        yield CallOpen(name)
        if marker == "{":
            src.take(1)
            yield from self._object("call")
        else:
            yield CallPiece("{}")
        _, marker = yield from self.upto(self.end, start)
        if marker == self.end:
            src.take(len(marker))
        return (yield from self.closed(before, bool(marker)))

    def _nameless(self, before: str) -> Reading[bool]:
        _, marker = yield from self.upto(self.end, self.starts[0])
        if marker == self.end:
            self.src.take(len(marker))
        reason = "the call names no tool" if marker else "the call was cut off"
        return (yield from self.say_broken(before, reason, bool(marker)))

    # ---------------------------------------------------------------------------------- values

    def _next(self) -> Reading[str]:
        """The next character after white space, which is taken; "" at the end."""
        yield from self.spaces()
        return self.src.rest[:1]

    def _object(self, place: Place) -> Reading[bool]:
        """An object whose brace is taken; ``False`` when it never ended."""
        opened = False
        while True:
            char = yield from self._next()
            if char in ("}", ",", "]"):
                self.src.take(1)
                if char == "}":
                    yield CallPiece("}" if opened else "{}")
                    return True
                continue
            if not char or (yield from self.follows(self.end)):
                return char != ""
            yield CallPiece(", " if opened else "{")
            opened = True
            if not (yield from self._key()):
                return False
            yield CallPiece(": ")
            if not (yield from self._value(place)):
                return False

    def _key(self) -> Reading[bool]:
        if (yield from self.literal(self.quote)):
            if not (yield from self._string("key")):
                return False
            return (yield from self.swallow(":"))
        text, marker = yield from self.upto(":", self.end)
        if marker != ":":
            return False
        self.src.take(1)
        text = text.strip()
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1]
        yield CallPiece(as_json(text))
        return True

    def _value(self, place: Place) -> Reading[bool]:
        char = yield from self._next()
        if (yield from self.literal(self.quote)):
            return (yield from self._string(place))
        if char == "{":
            self.src.take(1)
            return (yield from self._object("object"))
        if char == "[":
            self.src.take(1)
            return (yield from self._list())
        if char == '"':
            return (yield from self._json_string())
        return (yield from self._bare(place))

    def _list(self) -> Reading[bool]:
        yield CallPiece("[")
        first = True
        while True:
            char = yield from self._next()
            if char == ",":
                self.src.take(1)
            elif char == "]":
                self.src.take(1)
                yield CallPiece("]")
                return True
            elif char in ("", "}") or (yield from self.follows(self.end)):
                return False
            else:
                if not first:
                    yield CallPiece(", ")
                first = False
                if not (yield from self._value("list")):
                    return False

    def _json_string(self) -> Reading[bool]:
        src, scan = self.src, JsonScanner()
        while not scan.done:
            end = scan.scan(src.text, src.at)
            if end > src.at:
                yield CallPiece(src.take(end - src.at))
            if not scan.done and not (yield from self.more()):
                return False
        return True

    def _bare(self, place: Place) -> Reading[bool]:
        """A number, a word, or a string that the model didn't quote."""
        src, seen = self.src, 0
        bounds = (",", "]") if place == "list" else (",", "}")
        while True:
            found, marker = first_of(src.text, (*bounds, self.end), src.at + seen)
            goes_on: bool | None = bool(marker)
            if marker == "," and place != "list":
                goes_on = self._key_follows(found + 1)
            if goes_on:
                break
            if goes_on is False and marker:
                seen = found - src.at + 1
                continue
            if not (yield from self.more()):
                return False
        text = src.take(found - src.at).strip()
        text = _WORDS.get(text, text)
        try:
            strict_json(text)
        except ValueError:
            text = as_json(text)
        yield CallPiece(text)
        return True

    # --------------------------------------------------------------------------------- strings

    def _string(self, place: Place) -> Reading[bool]:
        """A string whose opening marker is taken, as pieces; ``False`` when it never ended."""
        src, quote = self.src, self.quote
        yield CallPiece('"')
        seen, lure = 0, -1
        while True:
            found = src.text.find(quote, src.at + seen) - src.at
            ends = self._ends(src.at + found + len(quote), place) if found >= 0 else None
            if ends is False:
                lure, seen = found if lure < 0 else lure, found + len(quote)
                continue
            if src.final and not ends:
                found, ends = lure, lure >= 0
            if ends or src.final:
                break
            held = found if found >= 0 else len(src) - partial(src.rest[seen:], quote)
            free = lure if lure >= 0 else held
            if free:
                yield CallPiece(string_piece(src.take(free)))
                seen, lure = max(seen - free, 0), lure - free if lure >= 0 else -1
            yield from self.more()
        text = src.take(found if ends else len(src))
        yield CallPiece(string_piece(text) + ('"' if ends else ""))
        if ends:
            src.take(len(quote))
        return bool(ends)

    def _ends(self, at: int, place: Place) -> bool | None:
        """Whether a string ends before ``at``; ``None``: not known yet."""
        text = self.src.text
        rest = text[at:].lstrip()
        at = len(text) - len(rest)
        if not rest:
            return True if self.src.final else None
        if place == "key":
            return rest[0] == ":"
        if place == "list":
            return rest[0] in ",]"
        if rest[0] == ",":
            return self._key_follows(at + 1)
        if rest[0] != "}" or place == "object":
            return rest[0] == "}"
        tail = rest[1:].lstrip()
        if not self.src.final and self.end.startswith(tail):
            return None if tail != self.end else True
        return not tail or tail.startswith(self.end)

    def _key_follows(self, at: int) -> bool | None:
        text = self.src.text
        if _NEXT_KEY.match(text, at):
            return True
        head = text[at:].lstrip()
        if head.startswith(self.quote):
            return True
        match = _MAY_BE_KEY.match(text, at)
        waits = (match is not None and match.end() == len(text)) or self.quote.startswith(head)
        return None if waits and not self.src.final else False


class FunctionGemmaParser(GemmaParser):
    """Calls of FunctionGemma."""

    starts = ("<start_function_call>",)
    end = "<end_function_call>"
    quote = "<escape>"


def _written(value: JsonValue, quote: str) -> str:
    if isinstance(value, str):
        return quote + value + quote
    if isinstance(value, dict):
        return "{" + _pairs(value, quote) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_written(item, quote) for item in value) + "]"
    return as_json(value)


def _pairs(value: JsonObject, quote: str) -> str:
    return ",".join(
        f"{key if _BARE_KEY.fullmatch(key) else quote + key + quote}:{_written(value[key], quote)}"
        for key in sorted(value, key=str.lower)
    )


def render(name: str, arguments: JsonObject) -> str:
    """One call as the template of Gemma 4 writes it."""
    return f"<|tool_call>call:{name}{{{_pairs(arguments, GemmaParser.quote)}}}<tool_call|>"


def render_function_gemma(name: str, arguments: JsonObject) -> str:
    """One call as the template of FunctionGemma writes it."""
    pairs = _pairs(arguments, FunctionGemmaParser.quote)
    return f"<start_function_call>call:{name}{{{pairs}}}<end_function_call>"


DIALECT = Dialect(
    "gemma",
    GemmaParser.starts[0],
    GemmaParser,
    render,
    bare_calls(
        [Marker(GemmaParser.starts[0]), "call:"], [Marker(GemmaParser.end)], GemmaParser.quote
    ),
    kept_bare,
)
FUNCTION_GEMMA = Dialect(
    "function_gemma",
    FunctionGemmaParser.starts[0],
    FunctionGemmaParser,
    render_function_gemma,
    bare_calls(
        [Marker(FunctionGemmaParser.starts[0]), "call:"],
        [Marker(FunctionGemmaParser.end)],
        FunctionGemmaParser.quote,
    ),
    kept_bare,
)
