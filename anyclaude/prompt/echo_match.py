"""Whether an assistant message is what the model wrote, after the client's own rewriting.

The client edits an answer before it sends it back, always in the same few ways. Each is modelled
here in its one direction, from what was generated to what may come back. Any other difference
means that a hook or the user changed the turn, and then what they sent must reach the model.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from anyclaude.types import (
    Block,
    JsonObject,
    JsonValue,
    Message,
    MessagesRequest,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)

_SameText: TypeAlias = Callable[[JsonObject, JsonValue, JsonValue], bool]

_LINE_END = re.compile(r"(\r\n|\n|\r)")
_JS_BLANKS = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_JS_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?")
_LEADING_CD = re.compile(r"cd (/[^\n]*?) && ")
_ANY_CD = re.compile(r"(?:^|[;&|(\n])\s*cd\s+(\"[^\"\n]+\"|'[^'\n]+'|[^\s;&|()\"']+)")
_MARKDOWN = (".md", ".mdx")
_UNPARSED = "__unparsedToolInput"
_CWD_LINE = re.compile(
    r"^[ \t]*(?:[-*][ \t]*)?(?:primary |current )?working directory:[ \t]*(/.*?)[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn without its blank blocks; ``offsets`` has the text length before each call."""

    thinking: tuple[str, ...]
    text: str
    uses: tuple[ToolUseBlock, ...]
    offsets: tuple[int, ...]


def same_turn(
    generated: Sequence[Block], echoed: Sequence[Block], directories: frozenset[str] | None
) -> bool:
    """True if the client's rewriting alone turns ``generated`` into ``echoed``.

    ``directories`` are those the client's shell may have stood in, ``None`` when unknown: a
    leading ``cd`` into one of them may be missing from a Bash command.
    """
    ours, theirs = _turn(generated), _turn(echoed)
    if ours is None or theirs is None or ours.text != theirs.text:
        return False
    if theirs.thinking and theirs.thinking != ours.thinking:
        return False
    if len(ours.uses) != len(theirs.uses):
        return False
    # Text is moved ahead of calls, never back behind them.
    if any(a > b for a, b in zip(ours.offsets, theirs.offsets, strict=True)):
        return False
    return all(
        a.id == b.id and a.name == b.name and same_input(a.name, a.input, b.input, directories)
        for a, b in zip(ours.uses, theirs.uses, strict=True)
    )


def same_input(
    name: str, generated: JsonObject, echoed: JsonObject, directories: frozenset[str] | None
) -> bool:
    """True if ``echoed`` is what the client makes of the arguments ``generated`` for a tool."""
    if same_json(generated, echoed):
        return True
    if set(echoed) == {_UNPARSED}:
        return _same_unparsed(generated, echoed[_UNPARSED])
    match name:
        case "Edit":
            filled = {"replace_all": False, **generated}
            return _same_but(filled, echoed, "new_string", _same_trimmed)
        case "Write":
            return _same_but(generated, echoed, "content", _same_trimmed)
        case "Bash":
            return _same_bash(generated, echoed, directories)
    return False


def same_json(a: JsonValue, b: JsonValue) -> bool:
    """Equality of JSON values: key order is nothing, ``1`` is ``1.0`` but never ``true``."""
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and a == b
    if isinstance(a, Mapping):
        return (
            isinstance(b, Mapping)
            and a.keys() == b.keys()
            and all(same_json(a[key], b[key]) for key in a)
        )
    if isinstance(a, Sequence):
        return (
            isinstance(b, Sequence)
            and len(a) == len(b)
            and all(same_json(x, y) for x, y in zip(a, b, strict=True))
        )
    return isinstance(b, int | float) and a == b


def working_directory(request: MessagesRequest) -> str | None:
    """Where the client says it works: the path in its system texts or reminders."""
    texts = [b.text for b in request.system]
    for message in request.messages:
        for block in message.content:
            if isinstance(block, TextBlock) and (
                message.role == "system"
                or (message.role == "user" and block.text.lstrip().startswith("<system-reminder>"))
            ):
                texts.append(block.text)
    for text in texts:
        found = _CWD_LINE.search(text)
        if found:
            return _folder(found[1])
    return None


class Directories:
    """The folders a session's shell may stand in: where it began, and where its ``cd``s led."""

    def __init__(self, start: str | None) -> None:
        self._current = start
        self._known: set[str] = {start} if start else set()

    @property
    def known(self) -> frozenset[str] | None:
        """The folders, or ``None`` when the first one is unknown."""
        return frozenset(self._known) if self._current else None

    def follow(self, message: Message) -> None:
        """Takes note of every ``cd`` in the Bash calls of an assistant message."""
        if self._current is None:
            return
        for block in message.content:
            if isinstance(block, ToolUseBlock) and block.name == "Bash":
                command = block.input.get("command")
                if isinstance(command, str) and "cd" in command:
                    self._walk(command, self._current)

    def _walk(self, command: str, current: str) -> None:
        for found in _ANY_CD.finditer(command):
            current = _folder(posixpath.join(current, found[1].strip("\"'")))
            self._known.add(current)
        self._current = current


def _folder(path: str) -> str:
    return posixpath.normpath(path)


def _turn(content: Sequence[Block]) -> _Turn | None:
    thinking: list[str] = []
    texts: list[str] = []
    uses: list[ToolUseBlock] = []
    offsets: list[int] = []
    length = 0
    for block in content:
        match block:
            case ThinkingBlock():
                if block.thinking.strip():
                    thinking.append(block.thinking)
            case TextBlock():
                if block.text.strip():
                    texts.append(block.text)
                    length += len(block.text)
            case ToolUseBlock():
                uses.append(block)
                offsets.append(length)
            case _:
                return None
    return _Turn(tuple(thinking), "".join(texts), tuple(uses), tuple(offsets))


def _same_but(generated: JsonObject, echoed: JsonObject, key: str, same: _SameText) -> bool:
    """Equal in everything but ``key``, where ``same`` decides on the two strings."""
    if generated.keys() != echoed.keys():
        return False
    return all(
        same_json(generated[k], echoed[k])
        or (k == key and same(generated, generated[k], echoed[k]))
        for k in generated
    )


def _same_trimmed(call: JsonObject, generated: JsonValue, echoed: JsonValue) -> bool:
    path = call.get("file_path")
    if not isinstance(path, str) or path.lower().endswith(_MARKDOWN):
        return False
    return isinstance(generated, str) and _trim_lines(generated) == echoed


def _trim_lines(text: str) -> str:
    parts = _LINE_END.split(text)
    parts[::2] = [line.rstrip(_JS_BLANKS) for line in parts[::2]]
    return "".join(parts)


def _same_bash(
    generated: JsonObject, echoed: JsonObject, directories: frozenset[str] | None
) -> bool:
    if generated.keys() != echoed.keys():
        return False
    for key, value in generated.items():
        sent = echoed[key]
        if same_json(value, sent):
            continue
        if key == "command" and _same_command(value, sent, directories):
            continue
        if key == "timeout" and _same_number(value, sent):
            continue
        return False
    return True


def _same_command(
    generated: JsonValue, echoed: JsonValue, directories: frozenset[str] | None
) -> bool:
    if not isinstance(generated, str):
        return False
    found = _LEADING_CD.match(generated)
    if found is None or generated[found.end() :] != echoed:
        return False
    return directories is not None and found[1] in directories


def _same_number(generated: JsonValue, echoed: JsonValue) -> bool:
    if not isinstance(generated, str) or _JS_NUMBER.fullmatch(generated) is None:
        return False
    return same_json(float(generated), echoed)


def _same_unparsed(generated: JsonObject, unparsed: JsonValue) -> bool:
    """The client could not read our JSON and sends its text back, cut when it is long."""
    if not isinstance(unparsed, Mapping):
        return False
    raw = unparsed.get("raw")
    if not isinstance(raw, str) or unparsed.get("len") != _js_length(raw):
        return False
    try:
        return same_json(generated, json.loads(raw, strict=False))
    except (ValueError, RecursionError):
        return False


def _js_length(text: str) -> int:
    """UTF-16 units, which is what the client counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
