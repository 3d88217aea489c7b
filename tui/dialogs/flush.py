"""The question before caches are emptied: which tier, and what that would free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from anyclaude.events import TierStats
from anyclaude.types import Tier
from tui import format as f
from tui.dialogs.choices import Choice, Chooser
from tui.lines import Tone, fit, line

ALL = "all"
_HOLDS: dict[str, str] = {
    Tier.KV: "prompts in memory",
    Tier.KV_DISK: "prompts on disk",
    Tier.RESPONSE: "whole answers",
    Tier.RESPONSE_DISK: "whole answers on disk",
    Tier.SEMANTIC: "answers to like questions",
    Tier.SHARED: "answers of every instance",
    Tier.SEARCH: "results of searches",
}


class FlushChooser(Chooser):
    """Ends with a tier's name, or :data:`ALL`; the key that asked means all when pressed again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("F", "all", "All of it", tooltip="Flush every tier", id="flush.all"),
    ]

    def __init__(self, tiers: Sequence[TierStats]) -> None:
        super().__init__(
            "Flush caches",
            flush_choices(tiers),
            "What is flushed is computed or fetched again when it is next needed.",
        )

    def action_all(self) -> None:
        self.dismiss(ALL)


def flush_choices(tiers: Sequence[TierStats]) -> list[Choice]:
    """Everything first, then one line per tier with what it would free."""
    used = [tier for tier in tiers if tier.enabled]
    entries, size = sum(t.entries for t in used), sum(t.bytes for t in used)
    choices = [_choice(ALL, "every tier", "", entries, size)]
    return choices + [_choice(t.tier, t.tier, _HOLDS.get(t.tier, ""), *_figures(t)) for t in used]


def _figures(tier: TierStats) -> tuple[int, int]:
    return tier.entries, tier.bytes


def _choice(id: str, name: str, holds: str, entries: int, size: int) -> Choice:
    tone: Tone = "text" if entries else "muted"
    return Choice(
        id,
        line(
            (f" {fit(name, 13)}", "strong" if entries else "muted"),
            (f"{f.count(entries):>6} entries  {f.size(size):>8}  ", tone),
            (holds, "muted"),
        ),
    )
