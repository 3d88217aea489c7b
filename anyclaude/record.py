"""Builds the one row that a request leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, Unpack

from anyclaude.backend import Admission, Finish
from anyclaude.errors import AnyclaudeError, ApiError
from anyclaude.records import ErrorCategory, RequestRecord
from anyclaude.types import Tier, Usage


class Facts(TypedDict, total=False):
    """Columns that are known by themselves."""

    session_id: str
    role: str
    model_requested: str
    streaming: bool
    tool_count: int
    retries: int
    key_name: str
    model: str
    prompt_tier: str
    prompt_id: str
    prompt_tokens_before: int
    prompt_tokens_after: int
    window_tokens: int
    overflow: str


class _Row(Facts, total=False):
    """Those, and columns that come from somewhere."""

    backend: str
    route_reason: str
    status: int
    stop_reason: str
    error_category: ErrorCategory
    error_message: str
    system_tokens: int
    user_tokens: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    tokens_reused: int
    cache_level: str
    cache_tier: str | None
    kv_bytes: int
    time_saved_ms: float
    queue_ms: float
    prefill_ms: float
    decode_ms: float
    tokens_per_second: float | None
    prefix_break_at: int | None
    prefix_break_cause: str
    prefix_break_message: int | None
    prefix_break_before: str | None
    prefix_break_after: str | None
    tokens_from_disk: int
    tokens_lost: int
    prefix_lost_ms: float
    system_id: str


class Recorder:
    """Collects a request's figures; the clock starts when it is made.

    The row is made when it is asked for: it has too many columns to be copied for each of them.
    """

    def __init__(self, request_id: str, started_at: float, clock: Callable[[], float]) -> None:
        self.id = request_id
        self._clock = clock
        self._started = clock()
        self._first: float | None = None
        self._started_at = started_at
        self._known: _Row = {}

    @property
    def session_id(self) -> str:
        return self._known.get("session_id", "")

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since arrival."""
        return (self._clock() - self._started) * 1000

    @property
    def ttft_ms(self) -> float:
        """Milliseconds from arrival to the first piece of the answer; 0 before it."""
        return (self._first - self._started) * 1000 if self._first is not None else 0.0

    @property
    def so_far(self) -> RequestRecord:
        """The row of a request that isn't over: status 0, the time since it arrived."""
        return self._ended()

    def set(self, **facts: Unpack[Facts]) -> None:
        self._known = {**self._known, **facts}

    def admitted(self, admission: Admission, reason: str) -> None:
        usage, miss = admission.usage, admission.miss
        known = _Row(
            backend=admission.backend,
            model=admission.model,
            route_reason=reason,
            system_tokens=admission.system_tokens,
            user_tokens=usage.prompt_tokens - admission.system_tokens,
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_creation_tokens=usage.cache_creation_tokens,
            tokens_reused=usage.cache_read_tokens,
            cache_level=_level(admission.tier, usage),
            cache_tier=admission.tier,
            prefix_break_at=miss.at,
            prefix_break_cause=miss.cause.value,
            prefix_break_message=miss.message,
            prefix_break_before=miss.before or None,
            prefix_break_after=miss.after or None,
            tokens_from_disk=admission.from_disk,
            tokens_lost=miss.tokens_lost,
            prefix_lost_ms=miss.seconds_lost * 1000,
            system_id=admission.system_id,
        )
        self._known = {**self._known, **known}

    def first_token(self) -> bool:
        """Notes the first piece of the answer; true the first time."""
        if self._first is not None:
            return False
        self._first = self._clock()
        return True

    def finished(self, finish: Finish, stop_reason: str) -> RequestRecord:
        """The row of an answer that came to its end."""
        usage, tier = finish.usage, self._known.get("cache_tier")
        steps = usage.output_tokens - 1
        return self._ended(
            status=200,
            stop_reason=stop_reason,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_creation_tokens=usage.cache_creation_tokens,
            tokens_reused=usage.cache_read_tokens,
            cache_level=_level(tier, usage),
            cache_tier=tier or Tier.KV.value if usage.cache_read_tokens else None,
            kv_bytes=finish.kv_bytes,
            time_saved_ms=finish.time_saved_ms,
            queue_ms=finish.queue_ms,
            prefill_ms=finish.prefill_ms,
            decode_ms=finish.decode_ms,
            tokens_per_second=(
                steps / (finish.decode_ms / 1000) if steps > 0 and finish.decode_ms else None
            ),
        )

    def counted(self, backend: str, reason: str, tokens: int) -> RequestRecord:
        """The row of a ``count_tokens`` call."""
        return self._ended(status=200, backend=backend, route_reason=reason, input_tokens=tokens)

    def refused(self, error: BaseException) -> RequestRecord:
        """The row of a request that ended in ``error``, before or after its first byte."""
        status = error.status if isinstance(error, ApiError) else 500
        category = error.category if isinstance(error, AnyclaudeError) else "unknown"
        return self.failed(status, category, str(error) or type(error).__name__)

    def failed(
        self, status: int, category: ErrorCategory, message: str, *, tokens: int = 0
    ) -> RequestRecord:
        return self._ended(
            status=status,
            error_category=category,
            error_message=message,
            output_tokens=tokens,
        )

    def _ended(self, **end: Unpack[_Row]) -> RequestRecord:
        known: _Row = {**self._known, **end}
        return RequestRecord(
            self.id,
            self._started_at,
            duration_ms=self.elapsed_ms,
            ttft_ms=self.ttft_ms if self._first is not None else None,
            **known,
        )


_LEVELS = {
    Tier.RESPONSE.value: "L2",
    Tier.SHARED.value: "L2",
    Tier.SEMANTIC.value: "L2",
    Tier.RESPONSE_DISK.value: "L3",
}


def _level(tier: str | None, usage: Usage) -> str:
    """``cache_level``: of whole answers by their tier, of prompts L1 wherever they were."""
    return _LEVELS.get(tier or "", "L1" if usage.cache_read_tokens else "MISS")
