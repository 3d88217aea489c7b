"""How far a prompt is shortened: the tiers, and what each of them does.

A tier is a frozen set of limits in characters; the texts it makes depend on nothing but the text
they are made from, so that they are the same in every turn.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class PromptTier(enum.StrEnum):
    """From untouched to as short as the rules allow."""

    OFF = "off"
    LIGHT = "light"
    STANDARD = "standard"
    STRONG = "strong"


@dataclass(frozen=True, slots=True)
class Limits:
    """``None`` is no limit, 0 leaves nothing.

    ``example`` is the longest example that stays, ``entry`` what a catalogue says of one thing,
    ``reference`` the longest explanation that stays in a system text; ``tool`` what is told of a
    tool besides its rules, ``property`` what is told of one of its parameters. ``constraints``:
    a schema keeps bounds, defaults and patterns. ``reorder``: what matters most comes first and
    last. ``defers``: tools that the user calls rare are only named.
    """

    example: int | None = None
    entry: int | None = None
    reference: int | None = None
    tool: int | None = None
    property: int | None = None
    constraints: bool = True
    reorder: bool = False
    defers: bool = False


LIMITS = {
    PromptTier.LIGHT: Limits(),
    PromptTier.STANDARD: Limits(
        example=240,
        entry=160,
        tool=420,
        property=80,
        constraints=False,
        reorder=True,
        defers=True,
    ),
    PromptTier.STRONG: Limits(
        example=0,
        entry=56,
        reference=60,
        tool=90,
        property=0,
        constraints=False,
        reorder=True,
        defers=True,
    ),
}
ORDER = (PromptTier.OFF, PromptTier.LIGHT, PromptTier.STANDARD, PromptTier.STRONG)
