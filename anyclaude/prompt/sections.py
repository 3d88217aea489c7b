"""A prompt's text taken apart by its structure: Markdown, XML elements, lists and paragraphs.

Nothing here knows what any client writes. The parts are lossless: joined, they are the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Form: TypeAlias = Literal["heading", "paragraph", "item", "code", "tag", "example"]

_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_HEADING = re.compile(r"[ \t]{0,3}(#{1,6})[ \t]+(\S.*?)[ \t#]*\n?\Z")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S")
_OPEN = re.compile(r"[ \t]*<([A-Za-z][\w:-]*)(?:\s[^<>]*)?>[ \t]*\n?\Z")
_CODE_END = re.compile(r"[{}\[\](),;]\s*\Z|=>\s*\Z|\A\s*//")


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a text. ``path`` has the headings and elements that it stands under."""

    text: str
    form: Form
    path: tuple[str, ...] = ()

    @property
    def body(self) -> str:
        """The text without the empty lines around it."""
        return self.text.strip("\n")

    @property
    def group(self) -> str:
        """The outermost heading or element, empty before the first."""
        return self.path[0] if self.path else ""


def split(text: str) -> tuple[Section, ...]:
    """The parts of ``text`` in their order."""
    return tuple(_sections(text.splitlines(keepends=True), ()))


def join(sections: Sequence[Section]) -> str:
    return "".join(section.text for section in sections)


def _sections(lines: Sequence[str], under: tuple[str, ...]) -> Iterator[Section]:
    headings: list[tuple[int, str]] = []
    at = 0
    pending = ""  # Empty lines that nothing stands before.
    while at < len(lines):
        path = (*under, *(name for _, name in headings))
        line = lines[at]
        if not line.strip():
            pending += line
            at += 1
            continue
        if found := _HEADING.match(line):
            level = len(found[1])
            headings = [(other, name) for other, name in headings if other < level]
            headings.append((level, found[2]))
            path = (*under, *(name for _, name in headings))
            end = _after_blanks(lines, at + 1)
            yield Section(pending + "".join(lines[at:end]), "heading", path)
        elif (closed := _element(lines, at)) is not None:
            name, end = _named(line), closed
            close = _close(lines, at, end)
            if "example" in name.lower():
                yield Section(pending + "".join(lines[at:end]), "example", (*path, name))
            else:
                yield Section(pending + line, "tag", (*path, name))
                yield from _sections(lines[at + 1 : close], (*path, name))
                yield Section("".join(lines[close:end]), "tag", (*path, name))
        else:
            end, form = _plain(lines, at)
            end = _after_blanks(lines, end)
            yield Section(pending + "".join(lines[at:end]), form, path)
        pending = ""
        at = end
    if pending:
        yield Section(pending, "paragraph", under)


def _after_blanks(lines: Sequence[str], at: int) -> int:
    while at < len(lines) and not lines[at].strip():
        at += 1
    return at


def _named(line: str) -> str:
    found = _OPEN.match(line)
    return found[1] if found else ""


def _close(lines: Sequence[str], at: int, end: int) -> int:
    """The line of the closing tag of the element from ``at`` to ``end``."""
    close = end - 1
    while not lines[close].strip():
        close -= 1
    return close


def _element(lines: Sequence[str], at: int) -> int | None:
    """Where an element that begins on a line of its own is over; ``None``: there is none."""
    name = _named(lines[at])
    if not name:
        return None
    depth = 0
    for index in range(at, len(lines)):
        line = lines[index].strip()
        if line == f"</{name}>":
            depth -= 1
            if depth == 0:
                return _after_blanks(lines, index + 1)
        elif _named(lines[index]) == name:
            depth += 1
    return None


def _plain(lines: Sequence[str], at: int) -> tuple[int, Form]:
    """Where the code, list item or paragraph at ``at`` ends, empty lines after it left out."""
    if found := _FENCE.match(lines[at]):
        fence = found[1]
        for index in range(at + 1, len(lines)):
            closing = lines[index].strip()
            if closing.startswith(fence) and not closing.strip(fence[0]):
                return index + 1, "code"
        return len(lines), "code"
    item = _ITEM.match(lines[at]) is not None
    end = at + 1
    while end < len(lines) and lines[end].strip() and not _begins(lines, end):
        end += 1
    if item:
        return end, "item"
    code = sum(1 for line in lines[at:end] if _CODE_END.search(line))
    return end, "code" if end - at >= 3 and 2 * code >= end - at else "paragraph"


def _begins(lines: Sequence[str], at: int) -> bool:
    """Whether another part begins here though no empty line is before it."""
    line = lines[at]
    return (
        _ITEM.match(line) is not None
        or _HEADING.match(line) is not None
        or _FENCE.match(line) is not None
        or _element(lines, at) is not None
    )


# ------------------------------------------------------------------------------- sentences

_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)[\"')\]*]*[ \t]+(?=[\"'(\[`*A-Z])"
)


def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a paragraph, lossless: each has the blanks that follow it."""
    found: list[str] = []
    at = 0
    for match in _SENTENCE_END.finditer(text):
        found.append(text[at : match.end()])
        at = match.end()
    found.append(text[at:])
    return tuple(sentence for sentence in found if sentence)
