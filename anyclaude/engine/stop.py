"""Stop sequences over streamed text: nothing of one is ever shown, nothing else held long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StopHit:
    """Text that may be shown, and the sequence that ended it if one did."""

    text: str
    sequence: str | None = None


class StopText:
    """Holds back what could be the beginning of a stop sequence."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = tuple(s for s in sequences if s)
        self._held = ""

    def feed(self, text: str) -> StopHit:
        """Takes the next piece; once a sequence was hit, call it no more."""
        if not self._sequences:
            return StopHit(text)
        self._held += text
        found = [(at, s) for s in self._sequences if (at := self._held.find(s)) >= 0]
        if found:
            at, sequence = min(found)
            shown, self._held = self._held[:at], ""
            return StopHit(shown, sequence)
        keep = max(self._overlap(s) for s in self._sequences)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return StopHit(shown)

    def flush(self) -> str:
        """The end of the answer: what was held back is text after all."""
        held, self._held = self._held, ""
        return held

    def _overlap(self, sequence: str) -> int:
        for size in range(min(len(sequence) - 1, len(self._held)), 0, -1):
            if self._held.endswith(sequence[:size]):
                return size
        return 0
