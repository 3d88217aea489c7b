"""Putting generated tokens back where a rendered conversation shows the assistant's turns.

A turn is rendered as a mark; the text before the mark is cut back to where the turn begins,
and there the generation tail and the exact tokens go in.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anyclaude.engine.template_messages import StandIn
from anyclaude.engine.template_probe import Seam
from anyclaude.types import ThinkingMarkers, Tokens

_SECRET = secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Insert:
    """What goes in for one message: the tail the model saw, then its tokens."""

    stand_in: StandIn
    seam: Seam
    tail: str
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Spliced:
    """The prompt as runs of text and of tokens, by turns; it begins and ends with text.

    ``spans`` are the parts of the template's own text that the runs of text hold.
    """

    runs: list[str | Tokens]
    spans: list[tuple[int, int]]


class Unspliced(Exception):
    """A mark didn't come out where it can be replaced; ``message_index`` says whose."""

    def __init__(self, message_index: int, reason: str) -> None:
        super().__init__(reason)
        self.message_index = message_index


def stand_in(message_index: int, as_call: bool) -> StandIn:
    """A mark that no client can know, in letters that no template alters."""
    return StandIn(f"anyclaudeecho{_SECRET}n{message_index}e", as_call)


def splice(
    text: str,
    inserts: Mapping[int, Insert],
    ends: Sequence[str],
    thinking: ThinkingMarkers | None,
) -> Spliced:
    """Puts the inserts in. ``ends`` are the texts of the model's end tokens.

    Raises :class:`Unspliced`.
    """
    runs: list[str | Tokens] = []
    spans: list[tuple[int, int]] = []
    done = 0
    for index, insert in inserts.items():
        mark = insert.stand_in.mark
        at = text.find(mark, done)
        if at < 0 or text.find(mark, at + 1) >= 0:
            raise Unspliced(index, "the template left the turn out or repeated it")
        start = _start(text, at, insert.seam, thinking)
        if start is None or start < done:
            raise Unspliced(index, "the template wrote something else before the turn")
        runs += [text[done:start] + insert.tail, insert.tokens]
        spans.append((done, start))
        done = at + len(mark)
        if insert.stand_in.as_call:
            closings = [found for end in ends if (found := text.find(end, done)) >= 0]
            if not closings:
                raise Unspliced(index, "the template doesn't close the turn")
            done = min(closings)
    runs.append(text[done:])
    spans.append((done, len(text)))
    return Spliced(runs, spans)


def _start(text: str, mark_at: int, seam: Seam, thinking: ThinkingMarkers | None) -> int | None:
    """Where the turn that shows the mark begins."""
    for lead in sorted(seam.leads, key=len, reverse=True):
        if text.endswith(seam.core + lead, 0, mark_at):
            return mark_at - len(lead) - len(seam.core)
    if not seam.core or thinking is None:
        return None
    # A template may show an empty thought in places that no probe has tried.
    start = text.rfind(seam.core, 0, mark_at)
    between = text[start + len(seam.core) : mark_at]
    empty_thought = rf"\s*({re.escape(thinking.start)}\s*{re.escape(thinking.end)}\s*)?"
    return start if start >= 0 and re.fullmatch(empty_thought, between) else None
