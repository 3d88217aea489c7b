"""Requests that never were: the events of a busy day, at any instant and without end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from anyclaude.events import (
    Event,
    FirstToken,
    OutputDelta,
    PrefillProgress,
    RequestAdmitted,
    RequestFinished,
    RequestReceived,
    SystemEvent,
    TierStats,
    ToolCallSeen,
    Vitals,
)
from anyclaude.records import RequestRecord, ToolCallRecord, ToolIssue

MODEL = "bench-model"
RATE = 50
_LATER = 1 << 40
_ASKED = "claude-sonnet-4-5-20250929"
_SESSION = "5f0c9a52-3d1e-4f6b-9a57-c0ffee000001"
_TEXT = "The parser reads the whole file before it looks at the first line, which is too late. "
_ISSUE = ToolIssue("old_string", "required", "nothing", "string")
_RAW = '<tool_call>\n{"name": "Edit", "arguments": {"file_path": "parser.py"}}\n</tool_call>'


def traffic(at: float) -> Iterator[Event]:
    """Four conversations side by side, 50 events a second from the Unix time ``at`` on."""
    now = at

    def clock() -> float:
        return now

    numbers = itertools.count(1)
    lanes = [_lane(clock, numbers) for _ in range(4)]
    for turn in itertools.count():
        now = at + turn / RATE
        yield next(lanes[turn % len(lanes)]) if turn % RATE else _vitals(now, turn)


def logged(count: int, at: float) -> Iterator[Event]:
    """``count`` requests that ended before ``at``, one a second."""
    for number in range(count):
        began = at - count + number
        request_id = f"req_{number:020x}"
        yield RequestReceived(request_id, began, _SESSION, "main", _ASKED, True, 18)
        yield RequestFinished(_record(request_id, began, number))


def _lane(clock: Callable[[], float], numbers: Iterator[int]) -> Iterator[Event]:
    """One request after another, about nine events each."""
    for number in numbers:
        request_id, began = f"req_{(number + _LATER):020x}", clock()
        yield RequestReceived(request_id, began, _SESSION, "main", _ASKED, True, 18)
        yield RequestAdmitted(
            request_id, "mlx", MODEL, "the local engine", 18_400, 17_850, "kv", "none"
        )
        yield PrefillProgress(request_id, 18_100, 18_400)
        yield FirstToken(request_id, 380.0)
        for piece in range(4):
            yield OutputDelta(request_id, "text", _TEXT, 40 * (piece + 1))
        if number % 3 == 0:
            yield ToolCallSeen(clock(), _call(request_id, number))
        if number % 20 == 0:
            yield SystemEvent(clock(), "warning", "memory", "92% of memory in use", request_id)
        yield RequestFinished(_record(request_id, began, number))


def _call(request_id: str, number: int) -> ToolCallRecord:
    bad = number % 9 == 0
    return ToolCallRecord(
        request_id=request_id,
        tool_use_id=f"toolu_{number}",
        name="Edit",
        verdict="failed" if bad else "valid",
        issues=(_ISSUE,) if bad else (),
        raw=_RAW,
        final='{"file_path": "parser.py"}',
    )


def _record(request_id: str, began: float, number: int) -> RequestRecord:
    failed = number % 50 == 49
    return RequestRecord(
        id=request_id,
        started_at=began,
        session_id=_SESSION,
        role="main",
        model_requested=_ASKED,
        model=MODEL,
        backend="mlx",
        route_reason="the local engine",
        streaming=True,
        status=529 if failed else 200,
        stop_reason=None if failed else "tool_use",
        error_category="resource" if failed else None,
        error_message="the queue is full" if failed else None,
        input_tokens=550,
        output_tokens=0 if failed else 160,
        cache_level="L1",
        cache_tier="kv",
        cache_read_tokens=17_850,
        tokens_reused=17_850,
        time_saved_ms=8_900.0,
        queue_ms=12.0,
        prefill_ms=368.0,
        ttft_ms=380.0,
        decode_ms=3_800.0,
        duration_ms=4_180.0,
        tokens_per_second=42.1,
        tool_count=18,
    )


def _vitals(at: float, turn: int) -> Vitals:
    kv = TierStats("kv", True, turn, 6, 12, 6 << 30, 9 << 30, 3, 1_000 * turn, 0.5 * turn)
    return Vitals(
        at=at,
        running=3,
        waiting=1,
        decode_tps=35.0 + turn % 12,
        prefill_tps=1900.0,
        ttft_p50_ms=400.0,
        ttft_p95_ms=950.0,
        memory_bytes=22 << 30,
        memory_total_bytes=36 << 30,
        mlx_active_bytes=20 << 30,
        mlx_busy=0.71,
        loop_lag_p99_ms=1.2,
        tiers=(kv,),
    )
