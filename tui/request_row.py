"""One request as the console shows it: where it stands, what it has written so far, and what came
of it.
"""

from __future__ import annotations

import copy
import enum
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from anyclaude.events import SearchMade, SystemEvent
from anyclaude.records import McpCallRecord, RequestRecord, ToolCallRecord
from tui.misses import Miss

PieceKind: TypeAlias = Literal["text", "thinking", "tool_use"]


class Phase(enum.StrEnum):
    """Where a request stands."""

    QUEUED = "queued"
    PREFILL = "prefill"
    DECODING = "decoding"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = frozenset({Phase.QUEUED, Phase.PREFILL, Phase.DECODING})


@dataclass(slots=True)
class Piece:
    """A run of output of one kind; ``call`` is what a tool_use turned out to be."""

    kind: PieceKind
    text: str
    call: ToolCallRecord | None = None


@dataclass(slots=True, eq=False)
class RequestRow:
    """One request as the console shows it; ``seq`` orders rows and never changes.

    ``served`` are its calls that ran here, by the call's id; those that run now have no status.
    """

    id: str
    seq: int
    at: float
    session_id: str = ""
    role: str = ""
    model_requested: str = ""
    streaming: bool = False
    tool_count: int = 0
    phase: Phase = Phase.QUEUED
    backend: str = ""
    model: str = ""
    route_reason: str = ""
    prompt_tokens: int | None = None
    cache_read_tokens: int = 0
    cache_tier: str | None = None
    from_disk: int = 0
    miss: Miss = field(default_factory=Miss)
    prefill_done: int = 0
    ttft_ms: float | None = None
    first_token_at: float | None = None
    output_tokens: int = 0
    pieces: list[Piece] = field(default_factory=list)
    calls: list[ToolCallRecord] = field(default_factory=list)
    served: dict[str, McpCallRecord] = field(default_factory=dict)
    notes: list[SystemEvent] = field(default_factory=list)
    searches: list[SearchMade] = field(default_factory=list)
    record: RequestRecord | None = None
    pinned: bool = False
    version: int = 0

    @property
    def active(self) -> bool:
        return self.phase in ACTIVE

    @property
    def failed(self) -> bool:
        return self.phase is Phase.FAILED

    @property
    def bad_calls(self) -> int:
        """How many of its tool calls were not valid as written."""
        return sum(call.verdict != "valid" for call in self.calls)

    def elapsed_ms(self, now: float) -> float:
        """Its duration, or how long it has been going on."""
        return self.record.duration_ms if self.record else max(0.0, now - self.at) * 1000

    def tokens_per_second(self, now: float) -> float | None:
        """The decode rate: the record's own when there is one."""
        if self.record is not None:
            return self.record.tokens_per_second
        if self.first_token_at is None or self.output_tokens < 2:
            return None
        passed = now - self.first_token_at
        return (self.output_tokens - 1) / passed if passed > 0 else None

    def still(self) -> RequestRow:
        """A copy that later events do not touch."""
        row = copy.copy(self)
        if row.active:
            row.pieces = [copy.copy(piece) for piece in self.pieces]
            row.calls = list(self.calls)
            row.served = dict(self.served)
            row.notes = list(self.notes)
            row.searches = list(self.searches)
        return row
