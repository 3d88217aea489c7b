"""What the model and the grammar are given of a tool, against what the client sent.

A tool goes through two transformations. The prompt has what the model's chat template shows of
it, with the examples that fit; the grammar has a copy of its schema without what can't be
compiled, and holds a call to as much of that as the family's form of calls can say. Whatever is
lost on the way, the finished call is checked against the client's own schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from anyclaude.dialect import Dialect
from anyclaude.events import SystemEvent
from anyclaude.grammar.lark import plain
from anyclaude.grammar.schema import for_grammar
from anyclaude.records import ToolVersion
from anyclaude.tools.examples import KEY, examples_of
from anyclaude.tools.trace import Diff, diff, removal
from anyclaude.types import JsonObject, ToolDefinition

Step: TypeAlias = Literal["prompt", "grammar"]
Hidden: TypeAlias = Callable[[ToolDefinition], Sequence[tuple[str | int, ...]]]
"""Paths in a tool's ``description`` and ``input_schema`` that the prompt doesn't have."""

MOST_LOST = 3
"""Keys that may get lost in one transformation before it is a warning."""
_MAX_LINES = 200
_SAID_BY = {"oneOf": "anyOf", "pattern": "allOf"}
"""What the compiler doesn't know, and what takes its place."""


@dataclass(frozen=True, slots=True)
class Transformation:
    """What one step did to a definition; ``reasons`` say why something is gone."""

    step: Step
    diff: Diff
    reasons: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What came of it in a few words."""
        done = self.diff
        parts = [
            f"lost {_count(done.lost, 'key')}" if done.lost else "",
            f"changed {_count(len(done.changed), 'place')}" if done.changed else "",
            f"gained {_count(len(done.added), 'key')}" if done.added else "",
        ]
        return f"the {self.step} " + ", ".join(part for part in parts if part)


def in_prompt(tool: ToolDefinition, hidden: Hidden) -> Transformation:
    """What the prompt has of ``tool``; may take a while."""
    examples = examples_of(tool)
    sent: JsonObject = {"description": tool.description, "input_schema": tool.input_schema}
    gone = removal(sent, hidden(tool))
    left = [f"{KEY}.{index}" for index, _ in examples.left_out] + [KEY] * bool(examples.note)
    reasons = [f"{KEY}.{index}: {why}" for index, why in examples.left_out]
    reasons += [examples.note] if examples.note else []
    whole = Diff(removed=(*gone.removed, *left), lost=gone.lost + len(left))
    return Transformation("prompt", whole, tuple(reasons))


def in_grammar(tool: ToolDefinition, dialect: Dialect) -> Transformation:
    """What the grammar of ``dialect`` has of ``tool``'s schema; may take a while."""
    own = for_grammar(tool.input_schema, closed=True)
    kept = own.schema if dialect.kept is None else dialect.kept(own.schema)
    done = diff(plain(tool.input_schema), kept, _SAID_BY)
    return Transformation("grammar", done, tuple(loss.text for loss in own.losses))


def event_of(
    version: ToolVersion, done: Iterable[Transformation], at: float, request_id: str
) -> SystemEvent | None:
    """What is said of a tool's new version; ``None`` when nothing was done to it."""
    told = [one for one in done if one.diff]
    if not told:
        return None
    lines = [f"{one.step}: {line}" for one in told for line in (*one.diff.lines, *one.reasons)]
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES:] = [f"and {len(lines) - _MAX_LINES} more"]
    return SystemEvent(
        at,
        "warning" if any(one.diff.lost > MOST_LOST for one in told) else "info",
        "tools",
        f"{version.name} (version {version.version}): " + "; ".join(one.text for one in told),
        request_id,
        "\n".join(lines),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number != 1 else "")
