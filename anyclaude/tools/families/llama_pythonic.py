r"""Calls written as Python: Llama 3.2 and 4 where their prompt asks for it, and LFM2.

    [Bash(command="ls -l", timeout=5), Read(file_path='a.py')]
    <|python_start|>[Bash(command="ls")]<|python_end|>
    <|tool_call_start|>[Bash(command="ls")]<|tool_call_end|>

From Meta's prompt formats for Llama 3.2 and 4, and the chat templates of Llama 4 and LFM2.
Without a marker a list is a call only at the very start of the answer, and only if its first
item calls a tool that was offered with keywords. Values are Python literals; JSON's ``true`` and
``null`` are read too, and strings may run over lines.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import cast

from anyclaude.dialect import CallBroken, CallClose, CallOpen, CallPiece, Dialect
from anyclaude.grammar.forms import Marker, keyword_calls
from anyclaude.grammar.kept import kept_by_keywords
from anyclaude.tools.families.base import Reading
from anyclaude.tools.families.json_calls import JsonCallParser
from anyclaude.tools.families.values import lenient_json, string_piece
from anyclaude.types import JsonObject, JsonValue

_MARKERS = {"<|python_start|>": "<|python_end|>", "<|tool_call_start|>": "<|tool_call_end|>"}
_NAME = re.compile(r"[\w.-]{0,128}")
_PLAIN_KEY = re.compile(r"-{0,2}\w[\w.-]*")
_KEYWORD = re.compile(r"\s*(\)|\*\*\s*\{|([\w.-]{1,128})\s*=(?!=))")
_MAYBE_KEYWORD = re.compile(r"\s*(?:\*{0,2}\s*|[\w.-]{0,128}\s*=?)\Z")
_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "/": "/", "\n": "",
}  # fmt: skip
_LONGEST_ESCAPE = 100
_HEX = {"x": 2, "u": 4, "U": 8}
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_OCTAL = re.compile(r"[0-7]{1,3}")
_WORDS = {"true": True, "false": False, "null": None}


def render(name: str, arguments: JsonObject) -> str:
    """One call as the model is to write it."""
    parts = [
        f"{key}={_python(value)}" if _PLAIN_KEY.fullmatch(key) else f"**{_python({key: value})}"
        for key, value in arguments.items()
    ]
    return f"[{name}({', '.join(parts)})]"


def render_marked(name: str, arguments: JsonObject) -> str:
    """One call as LFM2 is to write it."""
    return f"<|tool_call_start|>{render(name, arguments)}<|tool_call_end|>"


def _python(value: JsonValue) -> str:
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False)
        case Mapping():
            items = (f"{json.dumps(k, ensure_ascii=False)}: {_python(v)}" for k, v in value.items())
            return f"{{{', '.join(items)}}}"
        case list() | tuple():
            return f"[{', '.join(map(_python, value))}]"
    return repr(value)


class PythonicParser(JsonCallParser):
    """Reads lists of Python calls."""

    starts = tuple(_MARKERS)

    def call(self, before: str) -> Reading[bool]:
        src = self.src
        marker = next(m for m in _MARKERS if src.starts(m))
        src.take(len(marker))
        end = _MARKERS[marker]
        yield from self.spaces()
        if self.char(0) == "[":
            src.take(1)
            yield from self.spaces()
        if not (yield from self._opens(0)):
            src.back()
            src.take(len(marker))
            found = src.find(end)
            while found < 0 and (yield from self.more()):
                found = src.find(end)
            if found < 0:
                return False
            src.take(found + len(end))
            yield CallBroken(src.raw, "there is no call between the markers", True, before)
            return True
        yield from self.python_calls(before, end)
        return True

    def call_at_start(self) -> Reading[bool]:
        pos = yield from self.skip(0)
        if self.char(pos) != "[":
            return False
        inner = yield from self.skip(pos + 1)
        if not (yield from self._opens(inner, offered=True)):
            return False
        before = self.src.take(pos)
        self.src.mark()
        self.src.take(inner - pos)
        yield from self.python_calls(before, "")
        return True

    def _opens(self, pos: int, *, offered: bool = False) -> Reading[bool]:
        """Whether a call begins at ``pos``; with ``offered`` one with keywords, of a known tool."""
        src = self.src
        while True:
            match = _NAME.match(src.text, src.at + pos)
            end = match.end() if match else src.at + pos
            if end < len(src.text) or not (yield from self.more()):
                break
        name = src.text[src.at + pos : end]
        if not name or src.text[end : end + 1] != "(" or (offered and name not in self.schemas):
            return False
        if offered and (yield from self._keyword(end + 1 - src.at)) is None:
            # An answer that ends here was cut off in a call.
            return src.final and _MAYBE_KEYWORD.match(src.text, end + 1) is not None
        return True

    def _keyword(self, pos: int) -> Reading[re.Match[str] | None]:
        """A keyword, two asterisks or the closing parenthesis, if one comes next."""
        src = self.src
        while True:
            found = _KEYWORD.match(src.text, src.at + pos)
            if found is not None and (found.end() < len(src.text) or src.final or found[1] == ")"):
                return found
            if found is None and not _MAYBE_KEYWORD.match(src.text, src.at + pos):
                return None
            if not (yield from self.more()):
                return found

    # --------------------------------------------------------------------------------- calls

    def python_calls(self, before: str, end: str) -> Reading[None]:
        """The calls of a list, the source at the first one's name."""
        src = self.src
        while True:
            name = yield from self.run_of(_NAME)
            src.take(1)
            yield CallOpen(name)
            if not (yield from self._keywords(name)):
                yield CallClose(src.raw, False, before)
                return
            pos = yield from self.skip(0)
            if self.char(pos) in (",", ";"):
                pos = yield from self.skip(pos + 1)
                if (yield from self._opens(pos)):
                    src.take(pos)
                    yield CallClose(src.raw, True, before)
                    src.mark()
                    before = ""
                    continue
                if self.char(pos) != "]":
                    pos = yield from self.skip(0)
            closed = self.char(pos) == "]"
            if closed:
                src.take(pos + 1)
            if end:
                found = yield from self.ahead(end)
                src.take(max(found, 0))
            yield CallClose(src.raw, closed, before)
            return

    def _keywords(self, name: str) -> Reading[bool]:
        """Arguments up to and with the closing parenthesis; ``False`` at the answer's end."""
        src, first, place = self.src, True, 0
        while True:
            yield from self.spaces()
            if self.char(0) == ",":
                src.take(1)
                continue
            if self.char(0) in (")", "]"):
                # A bracket too soon closes the call as well.
                src.take(1 if self.char(0) == ")" else 0)
                yield CallPiece("{}" if first else "}")
                return True
            lead = "{" if first else ", "
            found = yield from self._keyword(0)
            if found is None and src.final and _MAYBE_KEYWORD.match(src.text, src.at):
                src.take(len(src))
                return False
            if found is not None and found[2] is None:
                src.take(found.end() - 1 - src.at)
                text = yield from self._literal_text()
                if text is None:
                    return False
                inner = _as_json(text)[1:-1] if _as_json(text).startswith("{") else ""
                if inner:
                    yield CallPiece(lead + inner)
                    first = False
                continue
            key = found[2] if found else self._nth(name, place)
            src.take(found.end() - src.at if found else 0)
            place += 1
            yield from self.spaces()
            yield CallPiece(f"{lead}{json.dumps(key, ensure_ascii=False)}: ")
            first = False
            if not (yield from self._value()):
                return False

    def _nth(self, name: str, place: int) -> str:
        """The key of an argument without one: that of its place in the tool's schema."""
        properties = self.schemas.get(name, {}).get("properties")
        keys = list(properties) if isinstance(properties, Mapping) else []
        return keys[place] if place < len(keys) else str(place)

    # -------------------------------------------------------------------------------- values

    def _value(self) -> Reading[bool]:
        if self.char(0) in ("'", '"'):
            return (yield from self._string())
        text = yield from self._literal_text()
        if text is None:
            return False
        yield CallPiece(_as_json(text))
        return True

    def _string(self) -> Reading[bool]:
        """A string in quotes, passed on as it comes."""
        src, quote = self.src, self.char(0)
        while src.may_start(quote * 3) and (yield from self.more()):
            pass
        if src.starts(quote * 3):
            quote *= 3
        src.take(len(quote))
        yield CallPiece('"')
        breaks = re.compile(rf"\\|{quote}")
        while True:
            found = breaks.search(src.text, src.at)
            if found is None:
                held = 0
                while held < len(quote) - 1 and src.rest.endswith(quote[: held + 1]):
                    held += 1
                if piece := src.take(len(src) - (0 if src.final else held)):
                    yield CallPiece(string_piece(piece))
                if not (yield from self.more()):
                    return False
                continue
            if piece := src.take(found.start() - src.at):
                yield CallPiece(string_piece(piece))
            if found[0] == quote:
                src.take(len(quote))
                yield CallPiece('"')
                return True
            while (size := _escape_size(src.ahead(_LONGEST_ESCAPE))) is None and (
                yield from self.more()
            ):
                pass
            yield CallPiece(_unescape(src.take(size or len(src))))

    def _literal_text(self) -> Reading[str | None]:
        """Takes a value that isn't a string, up to the comma or parenthesis behind it."""
        src, pos, depth, quote = self.src, 0, 0, ""
        while True:
            while pos < len(src):
                char = self.char(pos)
                if quote:
                    if char == "\\":
                        pos += 1
                    elif char == quote:
                        quote = ""
                elif char in "'\"":
                    quote = char
                elif char in "([{":
                    depth += 1
                elif char in ")]}" and depth:
                    depth -= 1
                elif char in ",)]" and not depth:
                    return src.take(pos).strip()
                pos += 1
            if not (yield from self.more()):
                src.take(len(src))
                return None


def _escape_size(text: str) -> int | None:
    """How long the escape is that ``text`` begins with; ``None`` if more of it may come."""
    if len(text) < 2:
        return None
    kind = text[1]
    if kind in _HEX:
        digits = text[2 : 2 + _HEX[kind]]
        if digits and set(digits) - _HEX_DIGITS:
            return 2
        return 2 + len(digits) if len(digits) == _HEX[kind] else None
    if kind in "01234567":
        octal = _OCTAL.match(text, 1)
        size = octal.end() if octal else 2
        return size if size == 4 or len(text) > size else None
    if kind == "N":
        end = text.find("}")
        return end + 1 if end > 0 else (None if len(text) < _LONGEST_ESCAPE else 2)
    return 2


def _unescape(escape: str) -> str:
    """A Python escape as part of a JSON string; one that is none stands for itself."""
    kind, code = escape[1:2], escape[2:]
    try:
        if kind in _HEX and len(code) == _HEX[kind]:
            number = int(code, 16)
            # Halves of a pair stay escapes: together they are a character.
            return f"\\u{number:04x}" if 0xD800 <= number <= 0xDFFF else string_piece(chr(number))
        if kind and kind in "01234567":
            return string_piece(chr(int(escape[1:], 8)))
        if kind == "N" and len(code) > 1:
            return string_piece(unicodedata.lookup(code[1:-1]))
    except (ValueError, KeyError, OverflowError):
        return string_piece(escape)
    return string_piece(_ESCAPES.get(kind, escape))


def _as_json(text: str) -> str:
    """A Python or JSON literal as JSON; what can't be read, as a string."""
    try:
        tree = ast.parse(text, mode="eval")
        value = ast.literal_eval(_JsonWords().visit(tree).body)
        return json.dumps(_jsonable(value), ensure_ascii=False, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        pass
    try:
        return json.dumps(lenient_json(text), ensure_ascii=False)
    except ValueError:
        return json.dumps(text, ensure_ascii=False)


class _JsonWords(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in _WORDS:
            return node
        return ast.copy_location(ast.Constant(_WORDS[node.id]), node)


def _jsonable(value: object) -> JsonValue:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): _jsonable(item) for key, item in value.items()}
        case list() | tuple() | set():
            return [_jsonable(item) for item in cast(Sequence[object], value)]
    raise ValueError("no JSON")


DIALECT = Dialect(
    "llama_pythonic",
    "",
    PythonicParser,
    render,
    keyword_calls(section=(["["], ["]"])),
    kept_by_keywords,
)
_LFM2_START, _LFM2_END = "<|tool_call_start|>", "<|tool_call_end|>"
LFM2_DIALECT = Dialect(
    "lfm2",
    _LFM2_START,
    PythonicParser,
    render_marked,
    keyword_calls(section=([Marker(_LFM2_START), "["], ["]", Marker(_LFM2_END)])),
    kept_by_keywords,
    section=_LFM2_START + "[",
)
