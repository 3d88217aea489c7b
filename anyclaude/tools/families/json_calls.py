"""Calls that are JSON: ``{"name": …, "arguments": {…}}``, or arguments alone.

Arguments are passed on as the model writes them. A marker inside one of their strings is string
if the JSON goes on well behind it; so from such a marker on they are held until that is known,
and if it doesn't, the marker ends the call after all.
"""

from __future__ import annotations

import json
import re
from typing import Literal, TypeAlias

from anyclaude.dialect import CallBroken, CallClose, CallOpen, CallPiece
from anyclaude.tools.families.base import FamilyParser, Reading, partial
from anyclaude.tools.families.values import JsonScanner, lenient_json
from anyclaude.types import JsonValue

_NAME = re.compile(r"""["']name["']\s*:\s*(["'])([^"'\n]+)\1""")
_ARGUMENTS = re.compile(r"""["'](?:arguments|parameters)["']\s*:\s*""")
KEYS = ("arguments", "parameters")
_JUNK = frozenset(" \t\r\n}],;`")

Ending: TypeAlias = Literal["end", "stop", "over"]
"""A broken call ended at its end marker, before another marker, or with the answer."""


class JsonCallParser(FamilyParser):
    """What the families with calls in JSON share. Offsets are counted from the source."""

    end: str = ""
    """The marker that ends a call, and is taken with it; empty when there is none."""

    # ----------------------------------------------------------------------------- scanning

    def skip(self, pos: int) -> Reading[int]:
        """The offset of the next character that isn't white space, or of the end."""
        src = self.src
        while True:
            while pos < len(src) and src.text[src.at + pos].isspace():
                pos += 1
            if pos < len(src) or not (yield from self.more()):
                return pos

    def char(self, pos: int) -> str:
        """The character at an offset, empty at the end."""
        return self.src.text[self.src.at + pos : self.src.at + pos + 1]

    def value_end(self, pos: int) -> Reading[int]:
        """The offset behind the JSON value at ``pos``, -1 if it is broken or unfinished."""
        src, scanner = self.src, JsonScanner()
        while True:
            pos = scanner.scan(src.text, src.at + pos) - src.at
            if scanner.broken:
                return -1
            if not scanner.done and not (yield from self.more()):
                scanner.finish()
                return pos if scanner.done else -1
            if scanner.done:
                return pos

    def stops(self) -> tuple[str, ...]:
        """The markers at which a broken call ends at the latest."""
        return (self.end, *self.starts) if self.end else self.starts

    def _first_stop(self, start: int, stop: int) -> int:
        src = self.src
        hits = [src.text.find(m, src.at + start, src.at + stop) for m in self.stops()]
        return min((hit - src.at for hit in hits if hit >= 0), default=-1)

    # ---------------------------------------------------------------------------- arguments

    def arguments(self) -> Reading[bool]:
        """Passes on the JSON value that the source stands at; ``False`` if it doesn't end well.

        An object is passed on as it comes. One in a string is taken out of it, and an empty
        string or ``null`` is no arguments.
        """
        if self.char(0) == "{":
            return (yield from self._object_arguments())
        end = yield from self.value_end(0)
        if end < 0:
            return False
        yield CallPiece(_plain(self.src.take(end)))
        return True

    def _object_arguments(self) -> Reading[bool]:
        src, scanner, pos, held = self.src, JsonScanner(), 0, False
        while True:
            start, pos = pos, scanner.scan(src.text, src.at + pos) - src.at
            free = pos
            if not held and not scanner.done:
                longest = max((len(stop) for stop in self.stops()), default=0)
                stop = self._first_stop(max(0, start - longest), pos)
                held = stop >= 0
                if held:
                    free = stop
                elif not scanner.broken and not src.final:
                    body = src.text[src.at : src.at + pos]
                    free -= max((partial(body, stop) for stop in self.stops()), default=0)
            elif held and not scanner.done:
                free = 0
            if free:
                yield CallPiece(src.take(free))
                pos -= free
            if scanner.done:
                return True
            if scanner.broken or not (yield from self.more()):
                return False

    # ------------------------------------------------------------------------- whole objects

    def object_call(self, before: str) -> Reading[bool]:
        """One call object that the source stands at, up to its closing brace, not closed yet.

        ``False`` when it doesn't end well, or names no tool: then it is over and done with, up
        to its end marker.
        """
        src, pos, name, early = self.src, 1, "", None
        given = False
        while True:
            pos = yield from self.skip(pos)
            char = self.char(pos)
            if char == ",":
                pos += 1
                continue
            if char == "}":
                break
            end = (yield from self.value_end(pos)) if char == '"' else -1
            if end < 0:
                return (yield from self.broken(before, name))
            key = as_string(src.text[src.at + pos : src.at + end])
            pos = yield from self.skip(end)
            if self.char(pos) != ":":
                return (yield from self.broken(before, name))
            pos = yield from self.skip(pos + 1)
            if key in KEYS and name and not given:
                given = True
                src.take(pos)
                if not (yield from self.arguments()):
                    return (yield from self.broken(before, name, inside=True))
                pos = 0
                continue
            end = yield from self.value_end(pos)
            if end < 0:
                return (yield from self.broken(before, name))
            value = src.text[src.at + pos : src.at + end]
            pos = end
            if key in KEYS and not given:
                given, early = True, value
            elif key in ("name", "function") and not name and value.startswith('"'):
                name = as_string(value).strip()
                if name:
                    yield CallOpen(name)
                    if early is not None:
                        src.take(pos)
                        pos = 0
                        yield CallPiece(_plain(early))
        text = src.raw + src.take(pos + 1) if not name else src.take(pos + 1)
        if not name:
            wrapped = _wrapped(text)
            if wrapped is None:
                yield from self.close_broken(before, "the call names no tool")
                return False
            yield CallOpen(wrapped[0])
            yield CallPiece(wrapped[1])
        elif not given:
            yield CallPiece("{}")
        return True

    def broken(self, before: str, name: str, *, inside: bool = False) -> Reading[bool]:
        """The rest of a call that isn't JSON, up to its end; always ``False``.

        Arguments go out as they stand, for whoever repairs them.
        """
        text, ending = yield from self.rest_of_call()
        complete = ending != "over"
        arguments = text if inside else _after_key(text)
        if not name:
            found = _NAME.search(text)
            if found is None:
                reason = "the call isn't JSON" if complete else "the call was cut off"
                yield CallBroken(self.src.raw, reason, complete, before)
                return False
            yield CallOpen(found[2].strip())
            arguments = _after_key(text[found.end() :]) or _after_key(text)
        if complete and arguments:
            arguments = _without_brace(arguments)
        if arguments:
            yield CallPiece(arguments)
        yield CallClose(self.src.raw, complete, before)
        return False

    def rest_of_call(self) -> Reading[tuple[str, Ending]]:
        """Takes all up to the first marker that can end a call, and the end marker with it."""
        src, seen = self.src, 0
        longest = max((len(stop) for stop in self.stops()), default=0)
        while (found := self._first_stop(seen, len(src))) < 0:
            seen = max(0, len(src) - longest)
            if not (yield from self.more()):
                return src.take(len(src)), "over"
        text = src.take(found)
        if self.end and src.starts(self.end):
            src.take(len(self.end))
            return text, "end"
        return text, "stop"

    def close_broken(self, before: str, reason: str) -> Reading[None]:
        """A nameless object: with its end marker, if that comes next."""
        end = (yield from self.ahead(self.end)) if self.end else -1
        self.src.take(max(end, 0))
        yield CallBroken(self.src.raw, reason, end >= 0 or not self.end, before)

    def objects(self, before: str) -> Reading[None]:
        """All call objects up to the end marker, alone, in a list or in a row.

        The source stands at the first brace or bracket, with what came before it taken. An
        object that is followed by other text was a whole call without its end marker.
        """
        src, listed = self.src, False
        while True:
            if self.char(0) == "[":
                listed = True
                src.take(1)
                yield from self.spaces()
            if self.char(0) != "{":
                yield from self.broken(before, "")
                return
            if not (yield from self.object_call(before)):
                return
            pos = 0
            while True:
                while pos < len(src) and self.char(pos) in _JUNK:
                    pos += 1
                if pos < len(src) and not any(self._may_come(m, pos) for m in self.stops()):
                    break
                if not (yield from self.more()):
                    break
            if listed and (bracket := src.text.find("]", src.at, src.at + pos)) >= 0:
                listed = False
                pos -= len(src.take(bracket + 1 - src.at))
            if self.end and src.text.startswith(self.end, src.at + pos):
                src.take(pos + len(self.end))
                yield CallClose(src.raw, True, before)
                return
            another = any(src.text.startswith(start, src.at + pos) for start in self.starts)
            if not another and self.char(pos) in ("{", "["):
                src.take(pos)
                yield CallClose(src.raw, True, before)
                src.mark()
                before = ""
                continue
            over = pos == len(src)
            if over:
                src.take(pos)
            yield CallClose(src.raw, not over or not self.end, before)
            return

    def _may_come(self, marker: str, pos: int) -> bool:
        here = self.src.text[self.src.at + pos : self.src.at + pos + len(marker)]
        return len(here) < len(marker) and marker.startswith(here)


def as_string(text: str) -> str:
    try:
        value = lenient_json(text)
    except ValueError:
        return ""
    return value if isinstance(value, str) else ""


def _plain(text: str) -> str:
    """Arguments that may be in a string, or be none."""
    text = text.strip()
    if text.startswith('"'):
        inner = as_string(text).strip() or "{}"
        return inner if inner[0] == "{" else text
    return "{}" if text in ("null", "None") else text


def _wrapped(text: str) -> tuple[str, str] | None:
    """A call in another's wrapping: ``{"type": "function", "function": {"name": …}}``."""
    try:
        value = lenient_json(text[text.index("{") :])
    except ValueError:
        return None
    inner = value.get("function") if isinstance(value, dict) else None
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(name, str) or not name.strip():
        return None
    arguments: JsonValue = next((inner[key] for key in KEYS if inner.get(key) is not None), {})
    return name.strip(), _plain(json.dumps(arguments, ensure_ascii=False))


def _after_key(text: str) -> str:
    found = _ARGUMENTS.search(text)
    return text[found.end() :].strip() if found else ""


def _without_brace(text: str) -> str:
    """The arguments without the brace that closed the object around them, if there is one."""
    text = text.rstrip()
    inner = text[:-1].rstrip()
    return inner if text.endswith("}") and inner.endswith("}") else text
