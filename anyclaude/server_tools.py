"""Tools that run here and not at the client: the seam between answers and who runs their calls."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from anyclaude.records import McpCallRecord
from anyclaude.types import JsonObject, ToolDefinition

LOGGED = 4_000
"""Characters of arguments and results that the log keeps."""

_NAME = re.compile(r"mcp__(?P<server>[A-Za-z0-9_-]+?)__(?P<tool>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ServerCall:
    """A call that the model made in an answer's round ``round``, counted from 1."""

    request_id: str
    use_id: str
    server: str
    tool: str
    arguments: JsonObject
    round: int

    def begun(self) -> McpCallRecord:
        """The call as the log has it before there is a result."""
        arguments = json.dumps(self.arguments, ensure_ascii=False)[:LOGGED]
        return McpCallRecord(
            self.request_id, self.use_id, self.server, self.tool, self.round, arguments
        )


@dataclass(frozen=True, slots=True)
class ServerResult:
    """What the model and the person are told that a call returned."""

    text: str
    is_error: bool


class ServerTools(Protocol):
    """Who offers tools that run here, and runs them."""

    async def offer(self, conversation: str, taken: Collection[str]) -> tuple[ToolDefinition, ...]:
        """Those for a conversation whose client has tools named ``taken``: the same every time."""
        ...

    async def call(self, call: ServerCall) -> ServerResult:
        """Never raises but for cancellation, which stops the call."""
        ...


def model_name(server: str, tool: str) -> str:
    """What the model calls a server's tool; ``server`` has no ``__`` in it."""
    return f"mcp__{server}__{tool}"


def split_name(name: str) -> tuple[str, str]:
    """The server and its tool of a :func:`model_name`; raises ValueError for another name."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is no tool of an MCP server")
    return found["server"], found["tool"]
