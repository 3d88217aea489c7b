"""What each request of a session reused, as rows and as a Markdown table for the docs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.client.conftest import Stage

SLACK = 1
"""The last token of a prompt is always computed anew."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of the main loop. All figures are tokens; ``tools`` is what it answered with."""

    prompt: int
    read: int
    output: int
    cause: str
    tools: tuple[str, ...]


async def main_loop(stage: Stage) -> list[Turn]:
    """The main loop's answered requests in their order."""
    rows = await stage.rows(
        """
        select input_tokens + cache_read_tokens + cache_creation_tokens, cache_read_tokens,
               output_tokens, prefix_break_cause,
               (select string_agg(name, ' ') from tool_calls where request_id = r.id)
        from requests r where role = 'main' and status = 200 order by started_at
        """
    )
    return [
        Turn(int(str(p)), int(str(read)), int(str(out)), str(cause), tuple(str(t or "").split()))
        for p, read, out, cause, t in rows
    ]


def lost(turns: Sequence[Turn]) -> list[str]:
    """The turns that computed anything but what is truly new, one sentence each."""
    found = []
    for at, (before, turn) in enumerate(pairwise(turns), 2):
        known = before.prompt + before.output
        if turn.read < known - SLACK:
            found.append(f"turn {at} read {turn.read} of the {known} tokens known ({turn.cause})")
    return found


def table(turns: Sequence[Turn]) -> str:
    """A line a turn: its prompt, what of it was new, and what was computed."""
    lines = [
        "| turn | asks for | prompt | new | reused | computed | reuse |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    known = 0
    for at, turn in enumerate(turns, 1):
        tools = ", ".join(turn.tools) or "text"
        share = 100 * turn.read / turn.prompt
        lines.append(
            f"| {at} | {tools} | {turn.prompt:,} | {turn.prompt - known:,} | {turn.read:,} "
            f"| {turn.prompt - turn.read:,} | {share:.1f} % |"
        )
        known = turn.prompt + turn.output
    return "\n".join(lines) + "\n"
