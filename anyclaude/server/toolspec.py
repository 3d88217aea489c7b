"""Tools and tool choice, from the wire to values."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from anyclaude.server.fields import Node
from anyclaude.types import JsonObject, ToolChoice, ToolDefinition

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}", re.ASCII)
_CACHED_SCHEMA_CHARS = 32_768


def read_tools(node: Node | None) -> tuple[tuple[ToolDefinition, ...], bool]:
    """The tools in the client's order, and whether any carries a ``cache_control`` mark."""
    if node is None:
        return (), False
    nodes = list(node.items())
    tools = tuple(_tool(item) for item in nodes)
    names = [tool.name for tool in tools]
    if len(set(names)) != len(names):
        raise node.fail("Tool names must be unique.")
    return tools, any(item.marked for item in nodes)


def _tool(node: Node) -> ToolDefinition:
    kind = node.optional_text("type", "custom")
    server_tool = kind != "custom"
    name = node.find("name") if server_tool else node.need("name")
    if name is not None and not _NAME.fullmatch(name.text()):
        raise name.fail("String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
    schema = node.find("input_schema") if server_tool else node.need("input_schema")
    return ToolDefinition(
        name=kind if name is None else name.text(),
        description=node.optional_text("description"),
        input_schema={} if schema is None else read_schema(schema),
        type=kind if server_tool else None,
        defer_loading=node.optional_flag("defer_loading"),
        raw=node.unmarked(),
    )


def read_schema(node: Node) -> JsonObject:
    """A JSON Schema (draft 2020-12) of an object."""
    schema = node.object()
    kind = node.find("type")
    if kind is not None:
        kind.choice("object")
    text = json.dumps(schema)
    check = _fault if len(text) <= _CACHED_SCHEMA_CHARS else _fault.__wrapped__
    fault = check(text)
    if fault is not None:
        place, message = fault
        broken = Node(None, node, place) if place else node
        raise broken.fail(f"JSON schema is invalid (draft 2020-12): {message}")
    return schema


@lru_cache(maxsize=512)
def _fault(text: str) -> tuple[str, str] | None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    # Without a format checker: patterns are ECMAScript, which Python's "re" would refuse.
    validator = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    try:
        error = best_match(validator.iter_errors(json.loads(text)))
    except RecursionError:
        return "", "it is nested too deeply"
    if error is None:
        return None
    return ".".join(str(step) for step in error.absolute_path), error.message[:300]


def read_tool_choice(node: Node | None, tools: tuple[ToolDefinition, ...]) -> ToolChoice:
    if node is None:
        return ToolChoice()
    no_parallel = node.optional_flag("disable_parallel_tool_use")
    match node.need("type").choice("auto", "any", "none", "tool"):
        case "tool":
            name = node.need("name")
            if name.text() not in {tool.name for tool in tools}:
                raise name.fail(f"Tool '{name.text()[:128]}' not found in provided tools")
            return ToolChoice("tool", name.text(), no_parallel)
        case "any":
            if not tools:
                raise node.fail("'any' may only be specified while providing tools")
            return ToolChoice("any", None, no_parallel)
        case "none":
            return ToolChoice("none", None, no_parallel)
        case _:
            return ToolChoice("auto", None, no_parallel)
