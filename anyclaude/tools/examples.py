"""``input_examples`` of tools, told to the model where it reads of the tool: in its description.

Chat templates have no place of their own for them. One example is one line of compact JSON, so
equal definitions are equal text in every request. An example that doesn't fit the tool's schema
would teach the model to write what is refused, and is left out.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from anyclaude.tools.canonical import canonical_text
from anyclaude.tools.validate import check_input
from anyclaude.types import MessagesRequest, ToolDefinition

KEY = "input_examples"
HEADING = "Examples of input:"


@dataclass(frozen=True, slots=True)
class Examples:
    """A tool's examples: the ``lines`` of those shown, and why others are ``left_out``, by index.

    ``note`` is why there are none at all though the key is there.
    """

    lines: tuple[str, ...] = ()
    left_out: tuple[tuple[int, str], ...] = ()
    note: str = ""


def with_examples(request: MessagesRequest) -> MessagesRequest:
    """The request with every tool's examples in its description."""
    tools = tuple(_shown(tool) for tool in request.tools)
    changed = any(new is not old for new, old in zip(tools, request.tools, strict=True))
    return replace(request, tools=tools) if changed else request


def examples_of(tool: ToolDefinition) -> Examples:
    """What of the tool's examples is shown; tools of Anthropic's servers have none."""
    given = tool.raw.get(KEY)
    if given is None or tool.type is not None:
        return Examples()
    if not isinstance(given, Sequence) or isinstance(given, str):
        return Examples(note=f"{KEY} is no list")
    return _checked(canonical_text(tool.input_schema), json.dumps(list(given), ensure_ascii=False))


def _shown(tool: ToolDefinition) -> ToolDefinition:
    lines = examples_of(tool).lines
    if not lines:
        return tool
    parts = [tool.description, "\n".join([HEADING, *lines])]
    return replace(tool, description="\n\n".join(part for part in parts if part))


@functools.lru_cache(maxsize=256)
def _checked(schema_text: str, given_text: str) -> Examples:
    schema = json.loads(schema_text)
    lines: dict[str, None] = {}
    left_out: list[tuple[int, str]] = []
    for index, example in enumerate(json.loads(given_text)):
        if issues := check_input(schema, example).issues:
            left_out.append((index, issues[0].text))
        else:
            lines[json.dumps(example, ensure_ascii=False, separators=(",", ":"))] = None
    return Examples(tuple(lines), tuple(left_out))
