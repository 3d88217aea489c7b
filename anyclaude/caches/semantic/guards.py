"""When two questions may have one answer, whatever their vectors say.

Vectors of sentences hardly see a number, a "not" or which of two names comes first. So each text is
brought into a plain form first (politeness, articles, contractions and a few words that mean the
same are evened out), and what is left must be the same: every number, name, quoted text, negation
and word with an opposite in its order, and no word may stand in one text alone. That makes the
cache answer little more than the same question put a little differently, which is all that can be
answered without a reader.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias

from anyclaude.caches.semantic.words import (
    ALIKE,
    ASKING,
    ASKS,
    CONTRACTIONS,
    COPULAS,
    FILLERS,
    MOVABLE,
    NEGATIONS,
    NUMBERS,
    OPENINGS,
    OPPOSITES,
    PHRASES,
)

Kind: TypeAlias = Literal["quoted", "name", "number", "negation", "opposite", "word"]

_QUOTED = re.compile(
    r"""```.*?```|`[^`]+`|"[^"]+"|“[^”]+”|(?<!\w)'[^'\n]+'(?!\w)""",
    re.DOTALL,
)
_HELD = "\ue000"
"""Stands around the number of a quoted text while the words around it are looked at."""
_TOKEN = re.compile(
    r"""
      (?P<quoted> \ue000\d+\ue000 )
    | (?P<number> [-+]?\d[\d_,.:]*\d[%°]? | [-+]?\d[%°]? ) (?![\w])
    | (?P<word> [^\W_](?:[\w'’]|[-./\\:@#$+*=~](?=[\w/\\]))* [+\#]* )
    | (?P<sign> [^\s\w,.;!?] | [_/\\.]\S+ | [,.;!?](?=[^\s"')\]}]) )
    """,
    re.VERBOSE,
)
_CODE = re.compile(r"[_./\\:@#$*=~\d+]|[a-z][A-Z]")

_SAME = {word: group[0] for group in ALIKE for word in group}
_OPENING = re.compile(
    r"(?:\A|(?<=[.!?\n]))\s*(?:"
    + "|".join(OPENINGS).replace("{asking}", "|".join(sorted(ASKING)))
    + r")(?![\w'])[\s,!.:]*",
    re.IGNORECASE,
)
_BEGS = re.compile(r"\s*(?:can|could|would|will|do)\b", re.IGNORECASE)
"""An opening that the question mark at the end belongs to."""
_CHANGES = tuple(
    (re.compile(rf"{before}{re.escape(form)}(?!\w)", re.IGNORECASE), f"{space}{plain}{space}")
    for forms, before, space in (
        (CONTRACTIONS, "", ""),
        (tuple(sorted(PHRASES, key=lambda pair: -len(pair[0]))), r"(?<!\w)", " "),
    )
    for form, plain in forms
)
_OPPOSED = frozenset(word for pair in OPPOSITES for side in pair for word in side.split())


@dataclass(frozen=True, slots=True)
class Item:
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Gist:
    """A question in its plain form. ``text`` is what is embedded."""

    items: tuple[Item, ...]

    @property
    def text(self) -> str:
        return " ".join(item.text for item in self.items)


def gist_of(text: str) -> Gist:
    """The plain form of a question."""
    quoted: list[str] = []

    def hold(found: re.Match[str]) -> str:
        quoted.append(found.group())
        return f"{_HELD}{len(quoted) - 1}{_HELD}"

    plain = _QUOTED.sub(hold, text.replace(_HELD, "\ufffd"))
    plain = re.sub(r"[ \t]+", " ", plain.replace("’", "'"))
    for pattern, instead in _CHANGES:
        plain = pattern.sub(instead, plain)
    opened = False
    while (found := _OPENING.search(plain)) is not None:
        opened = opened or _BEGS.match(found.group()) is not None
        plain = f"{plain[: found.start()]} {plain[found.end() :]}"
    items = _items(plain, quoted)
    # "This works?" is not "This works."
    if plain.rstrip().endswith("?") and not opened and items and items[0].text not in ASKS:
        items.append(Item("opposite", "?"))
    return Gist(tuple(items))


def differ(one: Gist, other: Gist) -> str:
    """Why two questions may not have one answer; empty when they may."""
    for kind in ("quoted", "name", "number", "negation", "opposite"):
        if _of(one, kind) != _of(other, kind):
            return f"{kind}s differ"
    if Counter(one.items) != Counter(other.items):
        return "words differ"
    if _fixed(one) != _fixed(other):
        return "the order differs"
    return ""


def _of(gist: Gist, kind: str) -> list[str]:
    return [item.text for item in gist.items if item.kind == kind]


def _fixed(gist: Gist) -> list[Item]:
    """What must stand in the same order."""
    items = [item for item in gist.items if item.text not in MOVABLE]
    return items[:1] + [item for item in items[1:] if item.text not in COPULAS]


def _items(plain: str, quoted: list[str]) -> list[Item]:
    tokens = list(_TOKEN.finditer(plain))
    often = Counter(found.group().lower() for found in tokens)
    items: list[Item] = []
    begins = True
    for found in tokens:
        token = found.group()
        if found.lastgroup == "quoted":
            items.append(Item("quoted", quoted[int(token.strip(_HELD))]))
        elif token.lower() not in FILLERS:
            # A capital says nothing where each sentence has one, unless the word comes both ways.
            usual = begins and token[1:] == token[1:].lower() and often[token.lower()] == 1
            items.append(_item(token, found.lastgroup or "", usual))
        else:
            continue
        begins = plain[found.end() : found.end() + 1] in (".", "!", "?", "\n")
    return items


def _item(token: str, group: str, usual: bool) -> Item:
    small = token.lower()
    word = _SAME.get(small, small)
    if group == "number" or small in NUMBERS:
        return Item("number", NUMBERS.get(small, token.lstrip("+")))
    named = token != small and not usual and small != "i"
    if group == "sign" or named or _CODE.search(token):
        return Item("name", token)
    if word in NEGATIONS:
        return Item("negation", word)
    return Item("opposite" if small in _OPPOSED else "word", word)
