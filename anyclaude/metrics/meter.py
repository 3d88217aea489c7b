"""Counts and rates of the running process, made of nothing but bus events.

Output is counted by its running total, so that a dropped tick costs precision in time and
never tokens. The first token of an answer is the prefill's product and isn't decode work. A
client that hung up (status 499) is nobody's error.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from anyclaude.events import (
    Event,
    FirstToken,
    McpCall,
    OutputDelta,
    PrefillProgress,
    RequestAdmitted,
    RequestFinished,
    RequestReceived,
    SearchMade,
    ToolCallSeen,
    ToolFailed,
)
from anyclaude.metrics.histogram import Histogram, Recent
from anyclaude.metrics.throughput import Throughput
from anyclaude.metrics.tool_counts import ServedCounts, ToolCounts
from anyclaude.records import RequestRecord

WINDOW_S = 5.0
RECENT_REQUESTS = 200
TTFT_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
DURATION_BOUNDS_S = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
HUNG_UP = 499
FAILED_VERDICTS = ("failed", "unparsed")


@dataclass(slots=True)
class _Running:
    """A request on its way: when its last prefill and decode progress was, and how far."""

    admitted: bool = False
    model: str = ""
    prefill_at: float = 0.0
    prefilled: int = 0
    decode_at: float | None = None
    decoded: int = 0


class Meter:
    """Feed it every bus event; read it at any time. Belongs to the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._decode = Throughput(WINDOW_S)
        self._prefill = Throughput(WINDOW_S)
        self._recent_ttft_ms = Recent(RECENT_REQUESTS)
        #: Finished requests by status class (``2xx``) and role.
        self.requests: Counter[tuple[str, str]] = Counter()
        #: Failed requests by error category.
        self.errors: Counter[str] = Counter()
        #: Tokens of finished requests: input, output, cache_read, cache_creation.
        self.tokens: Counter[str] = Counter()
        #: Tool calls by verdict.
        self.tool_calls: Counter[str] = Counter()
        #: The same by model and tool, and all that is known of them.
        self.tools = ToolCounts()
        #: Calls of MCP servers' tools that ran here.
        self.served = ServedCounts()
        #: Places changed by each canonical-form rule.
        self.canonical: Counter[str] = Counter()
        #: What became of the newest assistant message of each request.
        self.echo: Counter[str] = Counter()
        #: Web searches by provider, whether they were put in unasked, and what came of them.
        self.searches: Counter[tuple[str, str, str]] = Counter()
        #: Tokens of results, by whether they were put in unasked.
        self.search_tokens: Counter[str] = Counter()
        self.ttft_s = Histogram(TTFT_BOUNDS_S)
        self.duration_s = Histogram(DURATION_BOUNDS_S)

    # ----------------------------------------------------------------------------- reading

    @property
    def requests_total(self) -> int:
        return self.requests.total()

    @property
    def errors_total(self) -> int:
        return self.errors.total()

    @property
    def output_tokens_total(self) -> int:
        return self.tokens["output"]

    @property
    def tool_calls_total(self) -> int:
        return self.tool_calls.total()

    @property
    def tool_calls_failed(self) -> int:
        return sum(self.tool_calls[verdict] for verdict in FAILED_VERDICTS)

    @property
    def running(self) -> int:
        """Requests that a backend has taken."""
        return sum(request.admitted for request in self._running.values())

    @property
    def waiting(self) -> int:
        """Requests that were received and that no backend has taken yet."""
        return len(self._running) - self.running

    def decode_tps(self) -> float:
        """Tokens/s decoded by all requests together while any was decoding, last 5 s."""
        return self._decode.rate(self._clock())

    def prefill_tps(self) -> float:
        """Prompt tokens/s computed (reused ones not counted), last 5 s."""
        return self._prefill.rate(self._clock())

    def ttft_ms(self, fraction: float) -> float | None:
        """Percentile (0..1) of the time to first token over the last 200 answered requests."""
        return self._recent_ttft_ms.percentile(fraction)

    # ----------------------------------------------------------------------------- feeding

    def observe(self, event: Event) -> None:
        """Takes any event; those that say nothing about rates or totals are ignored."""
        match event:
            case RequestReceived():
                self._running[event.id] = _Running()
            case RequestAdmitted():
                self._admitted(event)
            case PrefillProgress():
                self._progress(event)
            case FirstToken():
                self._first_token(event.id)
            case OutputDelta():
                self._output(event.id, event.tokens)
            case ToolCallSeen():
                self.tool_calls[event.call.verdict] += 1
                request = self._running.get(event.call.request_id)
                self.tools.call(event.call, request.model if request else "")
            case ToolFailed():
                self.tools.failure(event.failure)
            case SearchMade():
                self._searched(event)
            case McpCall() if event.call.status:
                self.served.ended(event.call)
            case RequestFinished():
                self._finished(event.record)
            case _:
                pass

    def _admitted(self, event: RequestAdmitted) -> None:
        request = self._running.setdefault(event.id, _Running())
        request.admitted = True
        request.model = event.model
        request.prefill_at = self._clock()
        request.prefilled = event.cache_read_tokens
        self.canonical.update(dict(event.canonical))
        if event.echo:
            self.echo[event.echo] += 1

    def _progress(self, event: PrefillProgress) -> None:
        request = self._running.get(event.id)
        if request is None or not request.admitted:
            return
        now = self._clock()
        self._prefill.add(request.prefill_at, now, event.done - request.prefilled)
        request.prefill_at, request.prefilled = now, max(event.done, request.prefilled)

    def _first_token(self, id: str) -> None:
        request = self._running.get(id)
        if request is not None and request.decode_at is None:
            request.decode_at, request.decoded = self._clock(), 1

    def _output(self, id: str, tokens: int) -> None:
        request = self._running.get(id)
        if request is None:
            return
        if request.decode_at is None:
            self._first_token(id)
            request.decoded = tokens
            return
        now = self._clock()
        if tokens > request.decoded and now > request.decode_at:
            self._decode.add(request.decode_at, now, tokens - request.decoded)
            request.decode_at, request.decoded = now, tokens

    def _searched(self, event: SearchMade) -> None:
        search, why = event.search, "inserted" if event.inserted else "asked"
        found = "cached" if search.cached else "found" if search.results else "nothing"
        outcome = search.error.partition(":")[0] if search.error is not None else found
        self.searches[search.provider, why, outcome] += 1
        self.search_tokens[why] += search.tokens

    def _finished(self, record: RequestRecord) -> None:
        if record.output_tokens:
            request = self._running.get(record.id)
            if request is not None and request.decode_at is not None:
                self._output(record.id, record.output_tokens)
        self._running.pop(record.id, None)
        self.requests[f"{record.status // 100}xx", record.role] += 1
        if record.status != HUNG_UP and (record.error_category or record.status >= 400):
            self.errors[record.error_category or "unknown"] += 1
        self.tokens["input"] += record.input_tokens
        self.tokens["output"] += record.output_tokens
        self.tokens["cache_read"] += record.cache_read_tokens
        self.tokens["cache_creation"] += record.cache_creation_tokens
        self.duration_s.observe(record.duration_ms / 1000)
        if record.ttft_ms is not None:
            self.ttft_s.observe(record.ttft_ms / 1000)
            self._recent_ttft_ms.observe(record.ttft_ms)
