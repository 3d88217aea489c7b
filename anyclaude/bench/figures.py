"""What was measured, by phase and by whom, and what is made of it: medians and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from anyclaude.types import JsonValue

Unit: TypeAlias = Literal["s", "tok/s", "x", "bytes"]

OURS = "anyclaude"
PEER = "mlx_lm.server"
FLOOR = "floor"
_MEGABYTE = 1e6


@dataclass(slots=True)
class Figure:
    """One thing measured. ``words`` is the size of its prompt, 0 where that says nothing.

    ``samples`` has as many values a round, one or more, for everybody it was measured of.
    """

    phase: str
    words: int
    unit: Unit
    samples: dict[str, list[float]] = field(default_factory=dict)

    def median(self, who: str) -> float | None:
        values = self.samples.get(who)
        return statistics.median(values) if values else None

    def ratio(self, other: str) -> float | None:
        """Our median to theirs; ``None`` where one is missing or is nothing."""
        ours, theirs = self.median(OURS), self.median(other)
        return ours / theirs if ours is not None and theirs else None

    def shown(self, who: str) -> str:
        """The median for a person; empty where it wasn't measured."""
        value = self.median(who)
        if value is None:
            return ""
        match self.unit:
            case "s":
                return f"{value:.3f} s"
            case "tok/s":
                return f"{value:.1f} tok/s"
            case "x":
                return f"{value:.2f} x"
            case "bytes":
                return f"{value / _MEGABYTE:.1f} MB"


class Figures:
    """All of a run, in the order in which they were first measured, and its notes."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, int], Figure] = {}
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Figure]:
        return iter(self._figures.values())

    def add(self, phase: str, words: int, unit: Unit, who: str, value: float) -> None:
        figure = self._figures.setdefault((phase, words), Figure(phase, words, unit))
        figure.samples.setdefault(who, []).append(value)

    def note(self, text: str) -> None:
        """Something a reader of the figures has to know, once."""
        if text not in self.notes:
            self.notes.append(text)

    def find(self, phase: str, words: int = 0) -> Figure | None:
        return self._figures.get((phase, words))

    def compare(self, name: str, phase: str, base: str) -> None:
        """Adds the ratios of one phase to the median of another, for each prompt size."""
        for figure in [f for f in self if f.phase == phase]:
            if (other := self.find(base, figure.words)) is None:
                continue
            for who, values in figure.samples.items():
                if against := other.median(who):
                    for value in values:
                        self.add(name, figure.words, "x", who, value / against)


HEADINGS = ("phase", "words", OURS, "forward pass", PEER, "/ forward", "/ mlx_lm")


def rows_of(figures: Figures) -> list[tuple[str, ...]]:
    """A row of text under :data:`HEADINGS` for every figure."""
    return [
        (
            figure.phase,
            str(figure.words or ""),
            *(figure.shown(who) for who in (OURS, FLOOR, PEER)),
            *(_ratio(figure, who) for who in (FLOOR, PEER)),
        )
        for figure in figures
    ]


def markdown(figures: Figures) -> str:
    """The rows as a Markdown table."""
    lines = [HEADINGS, ("---", "---:", *["---:"] * 5), *rows_of(figures)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(figures: Figures) -> list[JsonValue]:
    """Every figure with its samples, medians and ratios."""
    found: list[JsonValue] = []
    for figure in figures:
        medians: dict[str, JsonValue] = {who: figure.median(who) for who in figure.samples}
        samples: dict[str, JsonValue] = {who: list(v) for who, v in figure.samples.items()}
        found.append(
            {
                "phase": figure.phase,
                "words": figure.words,
                "unit": figure.unit,
                "median": medians,
                "to_forward": figure.ratio(FLOOR),
                "to_peer": figure.ratio(PEER),
                "samples": samples,
            }
        )
    return found


def _ratio(figure: Figure, who: str) -> str:
    ratio = figure.ratio(who)
    return "" if ratio is None else f"{ratio:.2f}"
