"""Jump mode: which key stands for which place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_LETTERS = "asdfghjklwertyuiopzxcvbnm"


@dataclass(frozen=True, slots=True)
class Target:
    """A place to jump to, where its key is drawn, and the digit that is its own, if any."""

    name: str
    x: int
    y: int
    digit: str = ""


def keyed(targets: Iterable[Target]) -> dict[str, Target]:
    """A key for each: its own digit, or the next letter of the home row and beyond."""
    letters = iter(_LETTERS)
    found: dict[str, Target] = {}
    for target in targets:
        key = target.digit or next(letters, "")
        if key:
            found[key] = target
    return found
