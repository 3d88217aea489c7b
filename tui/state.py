"""What the console knows: requests, vitals, events, searches and tool errors, from bus events.

No widget and no textual here. The store is the model of the request list: rows are kept in
order of arrival, changed in place, and the view above them is told which ones changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from anyclaude.events import (
    EngineState,
    Event,
    FirstToken,
    McpCall,
    OutputDelta,
    PrefillProgress,
    PullState,
    RequestAdmitted,
    RequestFinished,
    RequestReceived,
    SearchMade,
    SystemEvent,
    ToolCallSeen,
    ToolFailed,
    Vitals,
)
from anyclaude.records import McpCallRecord, RequestRecord, ToolCallRecord, ToolFailure
from tui.misses import SystemPrompt, miss_of_admission, miss_of_record
from tui.request_row import Phase, Piece, RequestRow
from tui.series import History
from tui.troubles import Watch

KEEP_ROWS = 5_000
KEEP_OUTPUTS = 200
KEEP_EVENTS = 500
SPARK_POINTS = 60


@dataclass(frozen=True, slots=True)
class ToolError:
    """A tool call that was not valid as the model wrote it, or that the client refused."""

    at: float
    call: ToolCallRecord
    refusal: ToolFailure | None = None


@dataclass(slots=True)
class Changes:
    """What one batch of events did to the rows."""

    added: list[RequestRow] = field(default_factory=list)
    changed: dict[str, RequestRow] = field(default_factory=dict)
    removed: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Store:
    """Everything shown, bounded: :data:`KEEP_ROWS` requests, :data:`KEEP_EVENTS` events.

    The text of answers is kept for running requests and the last :data:`KEEP_OUTPUTS`
    finished ones; older answers are asked for again when someone looks.
    """

    def __init__(self, keep_rows: int = KEEP_ROWS) -> None:
        self.rows: dict[str, RequestRow] = {}
        self.engine = EngineState("unloaded")
        self.vitals: Vitals | None = None
        self.decode_history: deque[float] = deque(maxlen=SPARK_POINTS)
        self.history = History()
        self.events: deque[SystemEvent] = deque(maxlen=KEEP_EVENTS)
        self.tool_errors: deque[ToolError] = deque(maxlen=KEEP_EVENTS)
        self.searches: deque[SearchMade] = deque(maxlen=KEEP_EVENTS)
        self.heads: tuple[SystemPrompt, ...] = ()
        self.watch = Watch()
        self.pull: PullState | None = None
        self.pinned: set[str] = set()
        self.requests_total = 0
        self.finished_total = 0
        self.tool_calls_total = 0
        self.tool_calls_bad = 0
        self.tool_calls_refused = 0
        self.revision = 0
        self._calls: dict[str, ToolCallRecord] = {}
        self._active: dict[str, RequestRow] = {}
        self._keep = keep_rows
        self._next_seq = 0
        self._with_output: deque[str] = deque()
        self._changes = Changes()

    @property
    def running(self) -> int:
        return len(self._active) - self.waiting

    @property
    def waiting(self) -> int:
        return sum(r.phase is Phase.QUEUED for r in self._active.values())

    @property
    def active(self) -> tuple[RequestRow, ...]:
        """Requests that have not ended, oldest first."""
        return tuple(self._active.values())

    def queue_position(self, row: RequestRow) -> int:
        """1 for the request that has waited longest."""
        return 1 + sum(r.phase is Phase.QUEUED and r.seq < row.seq for r in self.active)

    def take_changes(self) -> Changes:
        """What happened to the rows since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def seed(self, records: Iterable[RequestRecord]) -> None:
        """Rows that had ended before the console looked, in any order."""
        for record in sorted(records, key=lambda r: r.started_at):
            if record.id not in self.rows:
                self._finish(record)
                prompt = self.rows[record.id].prompt_tokens or 0
                self.history.admitted(record.cache_read_tokens, prompt, record.started_at)

    def pin(self, session_id: str, pinned: bool) -> None:
        """Marks a session, and its rows, as pinned in the prefix tree or not."""
        (self.pinned.add if pinned else self.pinned.discard)(session_id)
        for row in self.rows.values():
            if row.session_id == session_id:
                row.pinned = pinned
                self._touch(row)
        self.revision += 1

    def apply(self, event: Event, now: float) -> None:
        """Takes in one event that is seen at the Unix time ``now``."""
        self.revision += 1
        self.watch.apply(event)
        match event:
            case Vitals():
                self.vitals = event
                self.decode_history.append(event.decode_tps)
                self.history.vitals(event, now)
            case EngineState():
                self.engine = event
            case PullState():
                self.pull = event
            case SystemEvent():
                self._system(event)
            case SearchMade():
                self._searched(event)
            case RequestReceived():
                self._receive(event)
            case RequestFinished():
                self._finish(event.record)
            case ToolCallSeen():
                self._tool_call(event)
            case ToolFailed():
                self._tool_failed(event)
            case McpCall():
                self._served(event.call)
            case RequestAdmitted() | PrefillProgress() | FirstToken() | OutputDelta():
                row = self.rows.get(event.id)
                # A late tick of a request that has ended says nothing new.
                if row is not None and row.active:
                    self._progress(row, event, now)

    def _progress(
        self,
        row: RequestRow,
        event: RequestAdmitted | PrefillProgress | FirstToken | OutputDelta,
        now: float,
    ) -> None:
        match event:
            case RequestAdmitted():
                row.backend, row.model = event.backend, event.model
                row.route_reason = event.route_reason
                row.prompt_tokens = event.prompt_tokens
                row.cache_read_tokens = event.cache_read_tokens
                row.cache_tier, row.from_disk = event.cache_tier, event.from_disk
                row.miss = miss_of_admission(event)
                row.prefill_done = event.cache_read_tokens
                self.history.admitted(event.cache_read_tokens, event.prompt_tokens, now)
            case PrefillProgress():
                row.phase = Phase.PREFILL
                row.prefill_done = event.done
            case FirstToken():
                row.phase = Phase.DECODING
                row.ttft_ms = event.ttft_ms
                row.first_token_at = now
            case OutputDelta():
                row.phase = Phase.DECODING
                row.first_token_at = row.first_token_at or now
                row.output_tokens = max(row.output_tokens, event.tokens)
                last = row.pieces[-1] if row.pieces else None
                if last is not None and last.kind == event.kind and last.call is None:
                    last.text += event.text
                else:
                    row.pieces.append(Piece(event.kind, event.text))
        self._touch(row)

    def _receive(self, event: RequestReceived) -> None:
        if event.id in self.rows:
            return
        row = self._add(event.id, event.at)
        row.session_id, row.role = event.session_id, event.role
        row.pinned = event.session_id in self.pinned
        row.model_requested = event.model_requested
        row.streaming, row.tool_count = event.streaming, event.tool_count

    def _finish(self, record: RequestRecord) -> None:
        row = self.rows.get(record.id) or self._add(record.id, record.started_at)
        row.record = record
        row.session_id, row.role = record.session_id, record.role
        row.pinned = record.session_id in self.pinned
        row.model_requested, row.model = record.model_requested, record.model
        row.backend, row.route_reason = record.backend, record.route_reason
        row.streaming, row.tool_count = record.streaming, record.tool_count
        prompt = record.input_tokens + record.cache_read_tokens + record.cache_creation_tokens
        if prompt or row.prompt_tokens is not None:
            row.prompt_tokens = prompt or row.prompt_tokens
        row.cache_read_tokens = record.cache_read_tokens
        row.cache_tier = record.cache_tier
        row.from_disk = record.tokens_from_disk
        row.miss = miss_of_record(record, row.miss)
        row.ttft_ms = record.ttft_ms
        row.output_tokens = record.output_tokens
        if record.status == 499:
            row.phase = Phase.CANCELLED
        else:
            row.phase = Phase.DONE if record.status < 400 else Phase.FAILED
        self.finished_total += 1
        self._active.pop(row.id, None)
        self._touch(row)
        self._with_output.append(row.id)
        while len(self._with_output) > KEEP_OUTPUTS:
            old = self.rows.get(self._with_output.popleft())
            if old is not None:
                old.pieces = []

    def _tool_call(self, event: ToolCallSeen) -> None:
        self.tool_calls_total += 1
        if event.call.tool_use_id:
            self._calls[event.call.tool_use_id] = event.call
            while len(self._calls) > KEEP_EVENTS:
                self._calls.pop(next(iter(self._calls)))
        if event.call.verdict != "valid":
            self.tool_calls_bad += 1
            self.tool_errors.append(ToolError(event.at, event.call))
        row = self.rows.get(event.call.request_id)
        if row is not None:
            row.calls.append(event.call)
            unread = (p for p in row.pieces if p.kind == "tool_use" and p.call is None)
            piece = next(unread, None)
            if piece is None:
                row.pieces.append(Piece("tool_use", event.call.raw, event.call))
            else:
                piece.call = event.call
            self._touch(row)

    def _tool_failed(self, event: ToolFailed) -> None:
        failure = event.failure
        call = self._calls.get(failure.tool_use_id)
        # A tool that ran and failed is no fault of the call.
        if call is None or failure.kind == "tool":
            return
        self.tool_calls_refused += 1
        refused = ToolError(event.at, call, failure)
        for index, error in enumerate(self.tool_errors):
            if error.call is call:
                self.tool_errors[index] = refused
                return
        self.tool_errors.append(refused)

    def _served(self, call: McpCallRecord) -> None:
        row = self.rows.get(call.request_id)
        if row is not None:
            row.served[call.tool_use_id] = call
            self._touch(row)

    def _system(self, event: SystemEvent) -> None:
        self.events.append(event)
        row = self.rows.get(event.request_id) if event.request_id else None
        if row is not None:
            row.notes.append(event)
            self._touch(row)

    def _searched(self, event: SearchMade) -> None:
        self.searches.append(event)
        if (row := self.rows.get(event.search.request_id)) is not None:
            row.searches.append(event)
            self._touch(row)

    def _add(self, request_id: str, at: float) -> RequestRow:
        row = RequestRow(request_id, self._next_seq, at)
        self._next_seq += 1
        self.requests_total += 1
        self.rows[request_id] = self._active[request_id] = row
        self._changes.added.append(row)
        while len(self.rows) > self._keep:
            oldest = next(iter(self.rows))
            del self.rows[oldest]
            self._active.pop(oldest, None)
            self._changes.removed += 1
        return row

    def _touch(self, row: RequestRow) -> None:
        row.version += 1
        self._changes.changed[row.id] = row
