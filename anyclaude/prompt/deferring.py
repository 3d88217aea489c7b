"""Tools that are only named until the model asks for them: by a tool of ours, which runs here.

What is loaded is told in that call's result, where it stays; the list of tools at the head of the
prompt is the same in every turn. The grammar and the checks have the whole schemas all along, so a
call without asking first is as valid as any.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from anyclaude.prompt.canonical import definition_text
from anyclaude.prompt.shorten import brief
from anyclaude.server_tools import model_name
from anyclaude.types import JsonObject, JsonValue, MessagesRequest, ToolDefinition

SERVER, TOOL = "anyclaude", "describe_tools"
LOADER = model_name(SERVER, TOOL)
_NAMES = "names"
_PURPOSE = 60
"""Characters of what is said of each."""


def deferrable(
    tools: Sequence[ToolDefinition], patterns: Sequence[str]
) -> tuple[ToolDefinition, ...]:
    """Those whose names fit one of the patterns; none where the client has a tool of our name."""
    if any(tool.name == LOADER for tool in tools):
        return ()
    return tuple(tool for tool in tools if any(fnmatchcase(tool.name, p) for p in patterns))


def loader_for(deferred: Sequence[ToolDefinition]) -> ToolDefinition:
    """The tool that tells of these; equal for equal ones."""
    lines = [_line(tool) for tool in deferred]
    description = (
        "Returns the descriptions and parameters of tools that are only named here. You can call"
        " them like all others, but look here first what one takes:\n" + "\n".join(lines)
    )
    names: JsonValue = [tool.name for tool in deferred]
    schema: JsonObject = {
        "type": "object",
        "properties": {
            _NAMES: {"type": "array", "items": {"type": "string", "enum": names}, "minItems": 1}
        },
        "required": [_NAMES],
        "additionalProperties": False,
    }
    return ToolDefinition(LOADER, description, schema)


def _line(tool: ToolDefinition) -> str:
    purpose = brief(tool.description, _PURPOSE)
    return f"- {tool.name}: {purpose}" if purpose else f"- {tool.name}"


def told(deferred: Sequence[ToolDefinition], arguments: JsonObject) -> tuple[str, bool]:
    """What a call of the loader returns, and whether it failed."""
    wanted = arguments.get(_NAMES)
    names = [str(name) for name in wanted] if isinstance(wanted, list | tuple) else []
    known = {tool.name: tool for tool in deferred}
    lines = [
        definition_text(known[name]) if name in known else f"There is no tool {json.dumps(name)}."
        for name in dict.fromkeys(names)
    ]
    if not lines:
        return f"Expected names, a list of: {', '.join(known)}.", True
    return "\n".join(lines), not any(name in known for name in names)


def deferred_names(tools: Iterable[ToolDefinition]) -> frozenset[str]:
    """The tools that the loader among these tells of; none without it."""
    for tool in tools:
        if tool.name == LOADER:
            return frozenset(_enum(tool.input_schema))
    return frozenset()


def _enum(schema: JsonObject) -> Iterable[str]:
    value: JsonValue = schema
    for key in ("properties", _NAMES, "items", "enum"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return [str(name) for name in value] if isinstance(value, list) else []


def without_loader(request: MessagesRequest) -> MessagesRequest:
    """The request as it is where nothing is deferred."""
    tools = tuple(tool for tool in request.tools if tool.name != LOADER)
    return request if len(tools) == len(request.tools) else replace(request, tools=tools)


def callable_beside(
    shown: Sequence[ToolDefinition], tools: tuple[ToolDefinition, ...]
) -> tuple[ToolDefinition, ...]:
    """The tools that may be called where these are shown: the loader only if it is."""
    if any(tool.name == LOADER for tool in shown):
        return tools
    return tuple(tool for tool in tools if tool.name != LOADER)
