"""Reasoning and stop sequences inside the text of an answer."""

from __future__ import annotations

from collections.abc import Sequence

OPEN, CLOSE = "<think>", "</think>"


class ThinkTags:
    """Parts the text of an answer that begins with ``<think>``.

    Only the very start counts, so that the word in prose stays prose.
    """

    def __init__(self) -> None:
        self._where = "start"
        self._held = ""

    def feed(self, text: str) -> tuple[str, str]:
        """The reasoning and the text that are certain by now."""
        self._held += text
        if self._where == "start":
            begun = self._held.lstrip()
            if begun.startswith(OPEN):
                self._where, self._held = "inside", begun[len(OPEN) :]
            elif OPEN.startswith(begun):
                return "", ""
            else:
                self._where = "after"
        if self._where == "after":
            held, self._held = self._held, ""
            return "", held
        thought, found, rest = self._held.partition(CLOSE)
        if found:
            self._where, self._held = "after", ""
            return thought, rest
        keep = _overlap(self._held, (CLOSE,))
        thought, self._held = self._held[: len(self._held) - keep], self._held[-keep:] * bool(keep)
        return thought, ""

    def finish(self) -> tuple[str, str]:
        """What is held back; an answer that goes on after it has begun."""
        held, self._held = self._held, ""
        if self._where == "inside":
            return held, ""
        self._where = "after"
        return "", held


class StopWatch:
    """Ends the text at the first of ``stops``, for servers that don't."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.met: str | None = None

    def feed(self, text: str) -> str:
        """The text that comes before any stop sequence for certain."""
        if not self._stops or self.met is not None:
            return text if self.met is None else ""
        self._held += text
        found = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            # The one that was complete first, however the text was cut.
            at, self.met = min(found, key=lambda pair: (pair[0] + len(pair[1]), pair[0]))
            said, self._held = self._held[:at], ""
            return said
        keep = _overlap(self._held, self._stops)
        said = self._held[: len(self._held) - keep]
        self._held = self._held[len(said) :]
        return said

    def finish(self) -> str:
        held, self._held = self._held, ""
        return held


def _overlap(text: str, markers: Sequence[str]) -> int:
    """How many characters at the end of ``text`` may begin one of ``markers``."""
    longest = 0
    for marker in markers:
        for size in range(min(len(marker) - 1, len(text)), longest, -1):
            if text.endswith(marker[:size]):
                longest = size
                break
    return longest
