"""Compares what the server says of each request with what its sender knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from anyclaude.types import PrefixBreak
from tests.traffic.talk import Outcome, Shot, Truth

COLUMNS = """id, cache_read_tokens, system_tokens, prefix_break_cause, tokens_from_disk,
    input_tokens + cache_read_tokens + cache_creation_tokens as prompt"""
WORTH_A_CAUSE = 500
SLACK = 1
"""The last token of a prompt is always computed anew."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that is over."""

    number: int
    truth: Truth
    outcome: Outcome
    main: bool

    def missed(self, read: int, prompt: int) -> int:
        return (self.truth.floor if self.truth.extends else prompt) - read


@dataclass
class Judge:
    """Collects disagreements, one sentence each; ``misses`` counts those of over 500 tokens."""

    sent: list[Sent] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    from_disk: int = 0

    def note(self, shot: Shot, outcome: Outcome) -> None:
        self.sent.append(Sent(len(self.sent), shot.truth, outcome, shot.main))

    def wrong(self, rows: Mapping[str, Mapping[str, object]]) -> list[str]:
        """Of each request the row in the log decides."""
        found: list[str] = []
        for sent in self.sent:
            if sent.outcome.status != 200:
                found.append(f"{_name(sent)}: {sent.outcome.status} {sent.outcome.error}")
            elif sent.truth.op != "count":
                found += self._row(sent, rows[sent.outcome.id])
        return found

    def _row(self, sent: Sent, row: Mapping[str, object]) -> list[str]:
        truth = sent.truth
        read, prompt = int(str(row["cache_read_tokens"])), int(str(row["prompt"]))
        cause = str(row["prefix_break_cause"])
        missed = sent.missed(read, prompt)
        self.from_disk += int(str(row["tokens_from_disk"]))
        name = f"{_name(sent)} read {read} of {prompt}, known {truth.floor}"
        found = []
        if truth.strict and read < truth.floor - SLACK:
            found.append(f"{name}: {truth.floor - read} tokens were lost")
        if truth.head and read < int(str(row["system_tokens"])) - SLACK:
            found.append(f"{name}: not even the head of {row['system_tokens']} was reused")
        if missed > WORTH_A_CAUSE:
            self.causes[cause] += 1
            self.misses[f"{truth.op}: {cause}"] += 1
            if cause not in {c.value for c in truth.causes}:
                right = " or ".join(sorted(c.value for c in truth.causes))
                found.append(f"{name}: {missed} missed by {cause}, not by {right}")
        elif truth.extends and missed <= SLACK and cause != PrefixBreak.NONE.value:
            found.append(f"{name}: nothing was missed, yet it is called {cause}")
        return found


def _name(sent: Sent) -> str:
    return f"#{sent.number} {sent.truth.op}"
