"""Rows of the log, and what the inspector shows of a request beyond its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from anyclaude.types import Role, ThinkingMarkers

ErrorCategory: TypeAlias = Literal[
    "network", "schema", "resource", "timeout", "invalid_input", "not_implemented", "unknown"
]
Verdict: TypeAlias = Literal["valid", "repaired", "regenerated", "failed", "unparsed"]
RepairStage: TypeAlias = Literal["syntax", "alias", "coerced", "regenerated"]
FailureKind: TypeAlias = Literal["input", "unknown_tool", "refused", "tool"]
McpStatus: TypeAlias = Literal["ok", "error", "refused", "timeout", "lost", "cancelled", "limit"]
ExportFormat: TypeAlias = Literal["csv", "json", "parquet"]

UNCHECKED = "unchecked"
"""The rule of an issue that is no fault: it says what of a call was not checked."""


@dataclass(frozen=True, slots=True)
class ToolIssue:
    """What is wrong with a call, and where.

    ``path`` leads to the value, keys and indices joined by dots; empty for the call itself.
    ``rule`` is the keyword of the schema, or ``exists``, ``parse``, ``end``, ``object``,
    ``name``, ``depth``, ``number``, ``regenerate`` or :data:`UNCHECKED`. ``got`` and ``expected``
    are short; without the latter ``got`` is a sentence.
    """

    path: str
    rule: str
    got: str
    expected: str = ""

    @property
    def text(self) -> str:
        """One sentence for a person."""
        if not self.expected:
            return self.got
        where = f"{self.path}: " if self.path else ""
        got = f", got {self.got}" if self.got else ""
        return f"{where}expected {self.expected}{got}"


@dataclass(frozen=True, slots=True)
class Repair:
    """One change that was made to a call: texts before and after, shortened.

    ``path`` is that of the changed value before the change; empty for the name or the whole.
    """

    stage: RepairStage
    path: str
    before: str
    after: str

    @property
    def text(self) -> str:
        """One line for a person."""
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.before or 'nothing'} → {self.after or 'nothing'}"


@dataclass(frozen=True, slots=True)
class ToolVersion:
    """One definition of a tool that a client offered. ``version`` counts from 1; the next one has
    another description or schema, of which ``schema_hash`` is a hash. Instants are Unix seconds;
    ``deprecated``: nobody offers it any more."""

    name: str
    version: int
    schema_hash: str
    first_seen: float
    last_seen: float
    deprecated: bool = False


@dataclass(frozen=True, slots=True)
class ToolCallRecord:
    """One row of ``tool_calls``. ``ms`` is the time from the call's first token to its last."""

    request_id: str
    tool_use_id: str
    name: str
    verdict: Verdict
    issues: tuple[ToolIssue, ...]
    raw: str
    final: str
    version: int = 1
    repaired: bool = False
    tokens: int = 0
    repairs: tuple[Repair, ...] = ()
    ms: float = 0.0

    @property
    def stages(self) -> tuple[RepairStage, ...]:
        """The stages that mended it, each once, in the order they came."""
        return tuple(dict.fromkeys(repair.stage for repair in self.repairs))


def call_of(raw: Mapping[str, object]) -> ToolCallRecord:
    """A call's record out of its JSON object; raises TypeError or KeyError for any other."""
    values = cast("dict[str, Any]", raw)
    issues = tuple(ToolIssue(**issue) for issue in values["issues"])
    repairs = tuple(Repair(**repair) for repair in values["repairs"])
    return ToolCallRecord(**{**values, "issues": issues, "repairs": repairs})


@dataclass(frozen=True, slots=True)
class ToolFailure:
    """One row of ``tool_failures``: the client answered a call with an error.

    ``kind`` is ``input`` when the arguments don't fit the client's schema, ``unknown_tool`` when
    it knows no such tool, ``refused`` when it would not run the call for another reason, ``tool``
    when the tool ran and failed. ``request_id`` is the request that brought the news, not the one
    that made the call.
    """

    tool_use_id: str
    request_id: str
    name: str
    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """One row of ``searches``; ``tokens`` is about what the results take in a prompt.

    ``pages`` are addresses whose text is quoted, each a site that was asked for it. ``error`` is
    Anthropic's code and what went wrong, ``None`` when nothing did.
    """

    request_id: str
    provider: str
    query: str
    results: int = 0
    tokens: int = 0
    ms: float = 0.0
    cached: bool = False
    error: str | None = None
    pages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptSection:
    """One part of a system text, or one tool, and what the tier made of it.

    ``place`` is where in the request it stands, ``title`` how it begins. ``action`` is kept,
    shortened, dropped, duplicate, replaced, deferred (only named) or added.
    """

    place: str
    title: str
    kind: str
    importance: float
    protected: bool
    action: str
    tokens_before: int
    tokens_after: int


@dataclass(frozen=True, slots=True)
class McpCallRecord:
    """One row of ``mcp_calls``: a call that ran here, or was refused.

    ``arguments`` is JSON, ``result`` its text for the model, both cut for the log; ``chars``
    counts the whole result. ``suspicious`` is what in it reads like instructions. ``status`` is
    empty while it runs.
    """

    request_id: str
    tool_use_id: str
    server: str
    tool: str
    round: int
    arguments: str
    status: McpStatus | Literal[""] = ""
    result: str = ""
    chars: int = 0
    cached: bool = False
    suspicious: str = ""
    ms: float = 0.0


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One row of ``requests``: the names are the columns of the log database."""

    id: str
    started_at: float
    session_id: str = ""
    role: str = Role.MAIN.value
    model_requested: str = ""
    model: str = ""
    backend: str = ""
    route_reason: str = ""
    streaming: bool = False
    status: int = 0
    stop_reason: str | None = None
    error_category: str | None = None
    error_message: str | None = None
    system_tokens: int = 0
    user_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_level: str = "MISS"
    cache_tier: str | None = None
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    kv_bytes: int = 0
    tokens_reused: int = 0
    time_saved_ms: float = 0.0
    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    ttft_ms: float | None = None
    decode_ms: float = 0.0
    duration_ms: float = 0.0
    tokens_per_second: float | None = None
    tool_count: int = 0
    retries: int = 0
    prefix_break_at: int | None = None
    prefix_break_cause: str | None = None
    tokens_from_disk: int = 0
    tokens_lost: int = 0
    prefix_lost_ms: float = 0.0
    prefix_break_message: int | None = None
    prefix_break_before: str | None = None
    prefix_break_after: str | None = None
    system_id: str = ""
    key_name: str = ""
    cost_usd: float = 0.0
    prompt_tier: str = ""
    prompt_id: str = ""
    prompt_tokens_before: int = 0
    prompt_tokens_after: int = 0
    window_tokens: int = 0
    overflow: str = ""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message body for the log, stored once by ``hash`` however often it is resent."""

    hash: str
    role: str
    body: str


@dataclass(frozen=True, slots=True)
class SqlResult:
    """Rows of one query; ``truncated`` when more than the asked-for limit existed."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class RequestDetail:
    """What the inspector shows of one request beyond its row; secrets already masked.

    ``body`` and ``response`` are JSON text as received and as sent; ``prompt`` is the text the
    model was given; ``output`` is its own text, markers and all. ``dialect`` names the family
    whose calls the model writes, ``thinking`` is what stands around its reasoning. ``stream`` has
    the events as they were sent, a line of JSON each with its ``ms``, where they were written down.
    """

    id: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    prompt: str = ""
    output: str = ""
    response: str = ""
    canonical: tuple[tuple[str, int], ...] = ()
    tool_calls: tuple[ToolCallRecord, ...] = ()
    dialect: str = ""
    thinking: ThinkingMarkers | None = None
    stream: str = ""
    sections: tuple[PromptSection, ...] = ()
