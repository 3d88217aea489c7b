"""Regular expressions of strangers, run only where they can't run away.

Python's ``re`` backtracks, and holds the interpreter while it does. So an upper bound of the ways
to try is taken from the pattern's form before it runs: an open-ended quantifier can try every
length, an optional part doubles the ways, each group multiplies them by its alternatives, and a
quantified group can do all of that anew at every character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_MAX_PATTERN = 500
_MAX_WAYS = 1e6
_QUANTIFIER = re.compile(r"[*+?]|\{(\d*),?(\d*)\}")
_UNJUDGED = re.compile(r"\(\?(?:P=|\(|[a-zA-Z]*x)")


@dataclass(slots=True)
class _Form:
    """``repeats`` are quantifiers on groups, ``rounds`` the sum of their counts."""

    powers: int = 0
    factor: float = 1.0
    alternatives: int = 0
    repeats: int = 0
    rounds: int = 0

    def ways(self, length: int) -> float:
        ways = float(length + 1) ** self.powers * self.factor
        if self.repeats:
            ways *= float(2 + self.alternatives + self.repeats) ** (length + self.rounds)
        return ways


def search(pattern: str, text: str) -> bool | None:
    """Whether ``pattern`` is found in ``text``; ``None`` when it isn't safe or not Python's."""
    form = _form(pattern)
    try:
        if form is None or form.ways(len(text)) > _MAX_WAYS:
            return None
        return re.search(pattern, text) is not None
    except (re.error, RecursionError, OverflowError):
        return None


@lru_cache(maxsize=512)
def _form(pattern: str) -> _Form | None:
    """``None`` for what isn't judged at all: long patterns, back references, verbose ones."""
    if len(pattern) > _MAX_PATTERN or _UNJUDGED.search(pattern):
        return None
    form = _Form(powers=0 if pattern.startswith("^") and "|" not in pattern else 1)
    groups = [1]
    position, previous = 0, ""
    while position < len(pattern):
        char = pattern[position]
        if char == "\\":
            escaped = pattern[position + 1 : position + 2]
            if escaped.isdigit() or escaped == "k":
                return None
            position, previous = position + 2, "x"
            continue
        if char == "[":
            position, previous = _class_end(pattern, position), "]"
            continue
        found = _QUANTIFIER.match(pattern, position)
        if found and previous not in ("", "("):
            if previous != "q":
                _quantify(form, found, previous == ")")
            position, previous = found.end(), "q"
            continue
        if char == "(":
            groups.append(1)
        elif char == "|":
            groups[-1] += 1
            form.alternatives += 1
        elif char == ")" and len(groups) > 1:
            form.factor *= groups.pop()
        position, previous = position + 1, char
    form.factor *= groups[0]
    return form


def _quantify(form: _Form, found: re.Match[str], group: bool) -> None:
    fixed = found[0].startswith("{") and "," not in found[0]
    if found[0] == "?":
        form.factor *= 2
        return
    if group:
        form.repeats += 1
        form.rounds += sum(int(count) for count in found.groups() if count)
    if not fixed:
        form.powers += 1


def _class_end(pattern: str, start: int) -> int:
    """The position after the character class that opens at ``start``."""
    position = start + 1
    if pattern[position : position + 1] == "^":
        position += 1
    if pattern[position : position + 1] == "]":
        position += 1
    while position < len(pattern) and pattern[position] != "]":
        position += 2 if pattern[position] == "\\" else 1
    return position + 1
