"""What simulated sessions talk about: seeded prose, tools and system prompts.

Sizes are those of the wire page, section 4, divided by about eight: a prompt of the real client
begins with 13,000 tokens, one of these with some 1,500.
"""

from __future__ import annotations

import json
import random
from typing import Any, TypeAlias

Tools: TypeAlias = tuple[dict[str, Any], ...]

_NAMES = (
    "parse token cache tree node lease batch queue event loop thread file path line error test "
    "model prompt answer stream chunk layer key value row table index query client server header "
    "body field block tool call result edit write read shell branch commit merge diff patch build "
    "check type class method module import config option limit budget memory disk page frame width"
)
_BETWEEN = "the of in and then for with after before when into from over under against"
_STEMS, _LINKS = _NAMES.split(), _BETWEEN.split()

BILLING = "x-anthropic-billing-header: cc_version=2.1.330.{hash}; cc_entrypoint=cli;"
IDENTITY = "You are Claude Code, Anthropic's official CLI for Claude."
HEAD_WORDS = 420
TOOL_WORDS = 45


def prose(rng: random.Random, words: int) -> str:
    """About as many tokens as words, hardly ever the same twice."""
    said = []
    for at in range(words):
        word = rng.choice(_LINKS if at % 3 == 2 else _STEMS)
        said.append(f"{word}{rng.randrange(100)}" if at % 17 == 0 else word)
    return " ".join(said)


def call(name: str, **arguments: object) -> str:
    """A tool call as a Hermes-style model writes it."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def system_prompt(project: str) -> str:
    """The long system block; half way it names a folder that differs between projects."""
    first, second = (prose(random.Random(half), HEAD_WORDS // 2) for half in ("head", "rest"))
    return f"{first}\n\nMemory folder: /home/u/.claude/{project}/memory\n\n{second}"


def agent_prompt(kind: str) -> str:
    return f"You are a {kind} agent.\n{prose(random.Random(kind), HEAD_WORDS // 2)}"


def environment(project: str, rng: random.Random) -> str:
    """The system-role message after the first prompt, today's date at its end."""
    return (
        f"Primary working directory: /home/u/{project}\nPlatform: darwin\n"
        f"Deferred tools: {', '.join(DEFERRED)}\n{prose(rng, 120)}\nToday's date: 2026-11-22"
    )


def _tool(name: str, required: dict[str, str], optional: dict[str, str] | None = None) -> Any:
    fields = {**required, **(optional or {})}
    return {
        "name": name,
        "description": f"{name}: {prose(random.Random(name), TOOL_WORDS)}.",
        "input_schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {key: {"type": kind} for key, kind in fields.items()},
            "required": list(required),
            "additionalProperties": False,
        },
    }


TOOLS: Tools = (
    _tool("Agent", {"description": "string", "prompt": "string"}, {"subagent_type": "string"}),
    _tool("Bash", {"command": "string"}, {"description": "string", "timeout": "number"}),
    {**_tool("DeferredToolPlaceholder", {}), "defer_loading": True},
    _tool(
        "Edit",
        {"file_path": "string", "old_string": "string", "new_string": "string"},
        {"replace_all": "boolean"},
    ),
    _tool("Read", {"file_path": "string"}, {"limit": "number"}),
    _tool("ToolSearch", {"query": "string"}, {"max_results": "number"}),
    _tool("Write", {"file_path": "string", "content": "string"}),
)
AGENT_TOOLS = tuple(t for t in TOOLS if t["name"] in ("Bash", "Read", "Write"))
DEFERRED = {
    name: {**_tool(name, {"url": "string"}), "defer_loading": True}
    for name in ("Monitor", "NotebookEdit", "WebFetch", "WebSearch")
}
MCP = _tool("mcp__tracker__search", {"query": "string"}, {"limit": "number"})
SEARCH_TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
TITLE_FORMAT = {
    "type": "json_schema",
    "schema": {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
        "additionalProperties": False,
    },
}
SUMMARISE = (
    "Write a detailed summary of the conversation so far in <summary> tags. Answer with text "
    "only; do not call any tools. "
)
CONTINUED = "This session is being continued from a previous conversation. Its summary:\n"
CLEARED = "[Old tool result content cleared]"
INTERRUPTED = "[Request interrupted by user]"


def with_tool(
    tools: tuple[dict[str, Any], ...], tool: dict[str, Any]
) -> tuple[dict[str, Any], ...]:
    """The tools with one more, in the order of their names as the client keeps them."""
    return tuple(sorted((*tools, tool), key=lambda t: str(t["name"])))


def budget_marker(left: int) -> str:
    return f"<total_tokens>{left} tokens left</total_tokens>"
