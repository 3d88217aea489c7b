"""Where every answer's calls are handled: the settings and what is shared between answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anyclaude.tools.call_stream import ArgumentMatcher, CallStream, OnInvalid
from anyclaude.tools.judge import Judged, judge, judge_aside
from anyclaude.types import ToolDefinition

ASIDE_CHARS = 1024
"""Arguments longer than this are judged on another thread: broken ones of 4,000 characters take
15 ms to mend (measured)."""


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """``stream`` sends arguments while they are written, ``regenerate`` has a call that can't be
    repaired written once more, ``on_invalid`` delivers what is wrong after all or shows it."""

    stream: bool = True
    regenerate: bool = True
    on_invalid: OnInvalid = "deliver"


class ToolDesk:
    """Makes a :class:`CallStream` for each answer."""

    def __init__(self, options: ToolOptions) -> None:
        self._options = options

    def calls(
        self, request_id: str, tools: Sequence[ToolDefinition], new_id: Callable[[str], str]
    ) -> CallStream:
        async def judged(name: str, text: str, complete: bool) -> Judged:
            if len(text) > ASIDE_CHARS:
                return await judge_aside(name, text, tools, complete=complete)
            return judge(name, text, tools, complete=complete)

        return CallStream(
            request_id,
            {tool.name: tool for tool in tools},
            self._matcher,
            judged,
            new_id,
            on_invalid=self._options.on_invalid,
            regenerate=self._options.regenerate,
        )

    def _matcher(self, tool: ToolDefinition) -> ArgumentMatcher | None:
        if not self._options.stream:
            return None
        from anyclaude.grammar.matcher import ArgumentMatcher as Matcher  # Heavy: llguidance.

        return Matcher(tool.input_schema)
