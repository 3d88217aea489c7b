"""The values that cross module boundaries.

Everything here is frozen and free of behaviour beyond small derived figures: the wire layer
builds these from JSON, the pipeline passes them down, and backends answer with them (see
:mod:`anyclaude.backend`). Token counts are integers of the served model's own tokenizer, times
are milliseconds unless a name says otherwise, and wall-clock instants are Unix seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

JsonValue: TypeAlias = (
    "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
)
JsonObject: TypeAlias = "Mapping[str, JsonValue]"
Tokens: TypeAlias = tuple[int, ...]


# ----------------------------------------------------------------------------- conversation


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Plain text of any role."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingBlock:
    """Reasoning the model wrote, as the client sends it back; ``signature`` is opaque."""

    thinking: str
    signature: str


@dataclass(frozen=True, slots=True)
class MediaBlock:
    """An image or document. ``data`` is base64 or a URL and is never decoded here."""

    kind: Literal["image", "document"]
    media_type: str
    data: str
    source: Literal["base64", "url", "text", "file"]


@dataclass(frozen=True, slots=True)
class ToolReferenceBlock:
    """A deferred tool that the client's ToolSearch has just made available."""

    tool_name: str


@dataclass(frozen=True, slots=True)
class ToolUseBlock:
    """A call the model made; ``id`` comes back verbatim in later requests."""

    id: str
    name: str
    input: JsonObject


@dataclass(frozen=True, slots=True)
class ToolResultBlock:
    """What a tool answered, matched to its call by ``tool_use_id``."""

    tool_use_id: str
    content: tuple[TextBlock | MediaBlock | ToolReferenceBlock | OpaqueBlock, ...]
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class OpaqueBlock:
    """A block of a type we do not interpret (server tool blocks, search results, …)."""

    type: str
    raw: JsonObject


Block: TypeAlias = (
    TextBlock
    | ThinkingBlock
    | MediaBlock
    | ToolUseBlock
    | ToolResultBlock
    | ToolReferenceBlock
    | OpaqueBlock
)
MessageRole: TypeAlias = Literal["user", "assistant", "system"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``system`` turns may stand anywhere, the last place included."""

    role: MessageRole
    content: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool as the client described it. ``type`` is set for server tools only."""

    name: str
    description: str
    input_schema: JsonObject
    type: str | None = None
    defer_loading: bool = False
    raw: JsonObject = field(default_factory=dict)

    @property
    def function(self) -> JsonObject:
        """The definition in the form that chat templates are written for."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": self.input_schema,
            },
        }


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which calls are allowed: ``auto``, ``any``, ``none`` or one ``tool`` by ``name``."""

    mode: Literal["auto", "any", "none", "tool"] = "auto"
    name: str | None = None
    disable_parallel: bool = False


@dataclass(frozen=True, slots=True)
class Sampling:
    """What the request asked for; ``None`` means the server's default applies."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """The request's ``thinking`` object; the budget is never held against ``max_tokens``."""

    enabled: bool
    budget_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """One parsed ``POST /v1/messages`` body, already valid in form.

    ``cache_mark`` is the index of the last message that carried a ``cache_control`` mark, -1
    when only the system or the tools did, ``None`` without any mark. ``context_edits`` are the
    client's own wishes for a long conversation (``context_management``), as they came.
    """

    model: str
    max_tokens: int
    messages: tuple[Message, ...]
    system: tuple[TextBlock, ...] = ()
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    stop_sequences: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    thinking: Thinking | None = None
    output_schema: JsonObject | None = None
    stream: bool = False
    metadata: JsonObject = field(default_factory=dict)
    cache_mark: int | None = None
    context_edits: tuple[JsonObject, ...] = ()


class Role(enum.StrEnum):
    """What a request is for, told from its headers and shape."""

    MAIN = "main"
    SUBAGENT = "subagent"
    TITLE = "title"
    COUNT = "count"
    SEARCH = "search"
    COMPACT = "compact"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Who asks: the client's own ids from its headers, secrets never among them."""

    session_id: str = ""
    agent_id: str = ""
    user_agent: str = ""
    headers: tuple[tuple[str, str], ...] = ()


# ------------------------------------------------------------------------------------ usage


class Tier(enum.StrEnum):
    """Cache tiers: the words of ``--tier``, of the panes and of the log."""

    KV = "kv"
    KV_DISK = "kv-disk"
    RESPONSE = "response"
    RESPONSE_DISK = "response-disk"
    SEMANTIC = "semantic"
    SHARED = "shared"
    SEARCH = "search"


class PrefixBreak(enum.StrEnum):
    """Why a prompt could not extend what was cached (``prefix_break_cause``).

    First prompts are ``COLD`` while the cache holds nothing at all, else ``NEW_SESSION``.
    ``FLUSHED`` and ``EVICTED`` say that the prompt was fine and the cache was not: emptied on
    purpose, or short of memory. The rest name what changed in the prompt.
    """

    NONE = "none"
    COLD = "cold"
    NEW_SESSION = "new_session"
    OTHER_MODEL = "other_model"
    SYSTEM_CHANGED = "system_changed"
    TOOLS_CHANGED = "tools_changed"
    BILLING_LINE = "billing_line"
    BUDGET_MARKER = "budget_marker"
    SYSTEM_MOVED = "system_moved"
    THINKING_DROPPED = "thinking_dropped"
    HISTORY_CHANGED = "history_changed"
    COMPACTION = "compaction"
    ECHO_CHANGED = "echo_changed"
    EVICTED = "evicted"
    FLUSHED = "flushed"


@dataclass(frozen=True, slots=True)
class PrefixMiss:
    """What of a prompt had been computed before and was not in the cache, and why.

    ``at`` is the first token that differs from the conversation's last prompt, or the first
    that the cache doesn't hold when there is no such difference (``None``: the prompt only goes
    on), and ``message`` the request's message that holds it (-1: the system prompt or the
    tools). ``before`` and ``after`` are the texts around a difference, then and now.
    ``tokens_lost`` had been computed and must be again; ``seconds_lost`` is what that takes at
    the measured prefill speed, 0 while none was measured.
    """

    cause: PrefixBreak = PrefixBreak.NONE
    at: int | None = None
    message: int | None = None
    before: str = ""
    after: str = ""
    tokens_lost: int = 0
    seconds_lost: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Anthropic's disjoint token counts: input + cache_read + cache_creation = the prompt; and
    how many searches of the web the answer took."""

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    output_tokens: int = 0
    web_searches: int = 0

    @property
    def prompt_tokens(self) -> int:
        return self.input_tokens + self.cache_read_tokens + self.cache_creation_tokens


StopReason: TypeAlias = Literal["end_turn", "tool_use", "max_tokens", "stop_sequence"]


@dataclass(frozen=True, slots=True)
class ThinkingMarkers:
    """The text around reasoning, and whether the prompt already opened it."""

    start: str
    end: str
    opened: bool = False
