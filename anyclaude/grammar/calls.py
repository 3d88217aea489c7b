"""The grammar of a whole answer: when a call may or must come, of which tools, and how many.

Three modes. ``free``: text is free until the family's opening marker, from where on ``lark``
holds for the call. ``whole``: ``lark`` is the whole answer, after any reasoning. ``closed``: text
is free, but the opening marker may not be written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from anyclaude.dialect import Dialect, GrammarTool
from anyclaude.grammar.forms import MOST_CALLS
from anyclaude.grammar.lark import json_rule
from anyclaude.grammar.schema import Loss, for_grammar
from anyclaude.types import JsonObject, ToolChoice, ToolDefinition

GAP = r"/\n{1,2}/"


@dataclass(frozen=True, slots=True)
class AnswerGrammar:
    """See this module. ``start`` is the marker, empty where calls have none: they then stand at
    the start of an answer. ``once``: after the call the answer ends. ``names`` are the tools',
    ``losses`` those of the schema of an answer in JSON.
    """

    mode: Literal["free", "whole", "closed"]
    start: str
    lark: str = ""
    once: bool = False
    names: tuple[str, ...] = ()
    losses: tuple[Loss, ...] = ()

    @property
    def key(self) -> str:
        """The same for grammars that allow the same."""
        text = "\0".join([self.mode, self.start, str(self.once), self.lark])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def answer_grammar(
    dialect: Dialect | None,
    tools: Sequence[ToolDefinition],
    choice: ToolChoice,
    output_schema: JsonObject | None,
    terminal: Callable[[str], str],
    *,
    inside: bool = False,
) -> AnswerGrammar | None:
    """What the request asks of the answer's form; ``None`` when nothing, or it can't be said.

    ``inside``: a section of calls is open already, and one more call is to stand in it.
    """
    losses: tuple[Loss, ...] = ()
    output = ""
    if output_schema is not None:
        own = for_grammar(output_schema)
        losses, output = own.losses, json_rule(own.schema)
    calls = ""
    if tools and dialect is not None and choice.mode != "none":
        calls, names = _calls(dialect, tools, choice, terminal)
    if not calls:
        if output:
            return AnswerGrammar(
                "whole", "", f"start: gap? output\n{_FIXED}output: {output}", losses=losses
            )
        if tools and dialect is not None and choice.mode == "none" and dialect.start:
            return AnswerGrammar("closed", dialect.start)
        return None
    assert dialect is not None
    once = choice.disable_parallel
    several = "calls" if _defines(calls, "calls") and not once else ""
    if inside and _defines(calls, "later"):
        several = "later"
    if choice.mode == "auto" and not output:
        lark = f"start: {several or 'call'}\n{_FIXED}{calls}"
        return AnswerGrammar("free", dialect.start, lark, once, names, losses)
    if not several:
        several = "call" if once else f"call (gap? call){{0,{MOST_CALLS - 1}}}"
    if choice.mode == "auto":
        several = f"({several}) | output"
        calls += f"\noutput: {output}"
    lark = f"start: gap? body\nbody: {several}\n{_FIXED}{calls}"
    return AnswerGrammar("whole", dialect.start, lark, once, names, losses)


_FIXED = f"gap: GAP\nGAP: {GAP}\n"


def _calls(
    dialect: Dialect,
    tools: Sequence[ToolDefinition],
    choice: ToolChoice,
    terminal: Callable[[str], str],
) -> tuple[str, tuple[str, ...]]:
    if dialect.grammar is None:
        return "", ()
    if choice.mode == "tool":
        tools = [tool for tool in tools if tool.name == choice.name]
    known = [
        GrammarTool(tool.name, for_grammar(tool.input_schema, closed=True).schema)
        for tool in {tool.name: tool for tool in tools}.values()
    ]
    if not known:
        return "", ()
    return dialect.grammar(known, terminal), tuple(tool.name for tool in known)


def _defines(lark: str, rule: str) -> bool:
    return any(line.startswith(f"{rule}:") for line in lark.splitlines())
