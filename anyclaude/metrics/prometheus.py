"""The text of ``GET /metrics`` in Prometheus' exposition format 0.0.4.

Figures that aren't known yet have no line rather than a made-up one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from anyclaude.control import Stats
from anyclaude.events import TierStats
from anyclaude.metrics.histogram import Histogram
from anyclaude.metrics.meter import Meter
from anyclaude.metrics.tool_counts import ServedCounts, ToolCounts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Mapping[str, str], float]


def prometheus(stats: Stats, meter: Meter, tiers: Sequence[TierStats]) -> str:
    """Everything that is counted and measured, ending in a newline."""
    vitals, engine = stats.vitals, stats.engine
    page = _Page()
    page.gauge(
        "info", "The release and the model; always 1.",
        [({"version": stats.version, "model": engine.model}, 1)],
    )  # fmt: skip
    page.gauge("uptime_seconds", "Time since the start.", _one(stats.uptime_s))
    page.gauge("ready", "1 while the model answers, else 0.", _one(float(engine.phase == "ready")))
    page.counter(
        "requests_total", "Finished requests by status class and role.",
        [
            ({"status": status, "role": role}, count)
            for (status, role), count in sorted(meter.requests.items())
        ],
    )  # fmt: skip
    page.counter(
        "errors_total", "Failed requests by error category; hang-ups aren't errors.",
        _labelled("category", meter.errors),
    )  # fmt: skip
    page.counter("tokens_total", "Tokens of finished requests.", _labelled("kind", meter.tokens))
    _tools(page, meter.tools)
    _served(page, meter.served)
    page.counter(
        "canonical_total", "Places that a canonical-form rule changed.",
        _labelled("rule", meter.canonical),
    )  # fmt: skip
    page.counter(
        "echo_total", "What became of each request's newest assistant message.",
        _labelled("fate", meter.echo),
    )  # fmt: skip
    page.counter(
        "searches_total", "Web searches by provider, kind (asked, inserted) and outcome.",
        _many(("provider", "kind", "outcome"), meter.searches),
    )  # fmt: skip
    page.counter(
        "search_tokens_total", "Tokens of their results, about.",
        _labelled("kind", meter.search_tokens),
    )  # fmt: skip
    page.histogram("ttft_seconds", "From arrival to the first token.", meter.ttft_s)
    page.histogram("request_duration_seconds", "From arrival to the last byte.", meter.duration_s)
    page.gauge("requests_running", "Requests that a backend has taken.", _one(vitals.running))
    page.gauge("requests_waiting", "Requests that none has taken yet.", _one(vitals.waiting))
    page.gauge(
        "decode_tokens_per_second", "Decode speed of the last seconds.", _one(vitals.decode_tps)
    )
    page.gauge(
        "prefill_tokens_per_second", "Prefill speed of the last seconds.", _one(vitals.prefill_tps)
    )
    page.gauge("memory_bytes", "Memory in use.", _one(vitals.memory_bytes))
    page.gauge("memory_total_bytes", "The machine's memory.", _one(vitals.memory_total_bytes))
    page.gauge("mlx_active_bytes", "Memory that MLX holds.", _one(vitals.mlx_active_bytes))
    page.gauge(
        "mlx_busy_ratio", "Share of time the MLX thread worked, 0 to 1.", _one(vitals.mlx_busy)
    )
    page.gauge(
        "loop_lag_p99_seconds", "99th percentile of the event loop's delay.",
        _one(vitals.loop_lag_p99_ms / 1000),
    )  # fmt: skip
    _tiers(page, [tier for tier in tiers if tier.enabled])
    return page.text()


def _tools(page: _Page, tools: ToolCounts) -> None:
    call, verdict, stage = (
        ("model", "tool"),
        ("model", "tool", "verdict"),
        ("model", "tool", "stage"),
    )
    page.counter(
        "tool_calls_total", "Tool calls by model, tool and verdict.",
        _many(verdict, tools.calls),
    )  # fmt: skip
    page.counter(
        "tool_call_repairs_total", "Tool calls that a stage of repair had a part in.",
        _many(stage, tools.repairs),
    )  # fmt: skip
    page.counter(
        "tool_call_issues_total", "What was wrong with tool calls as written, by rule.",
        _many(("tool", "rule"), tools.issues),
    )  # fmt: skip
    page.counter("tool_call_tokens_total", "Tokens of tool calls.", _many(call, tools.tokens))
    page.counter(
        "tool_call_seconds_total", "Time that writing tool calls took.",
        _many(call, tools.seconds),
    )  # fmt: skip
    page.counter(
        "tool_failures_total", "Tool calls that the client answered with an error, by kind.",
        _many(("tool", "kind"), tools.failures),
    )  # fmt: skip


def _served(page: _Page, served: ServedCounts) -> None:
    tool = ("server", "tool")
    page.counter(
        "mcp_calls_total", "Calls of MCP servers' tools that ran here, by how they ended.",
        _many((*tool, "status"), served.calls),
    )  # fmt: skip
    page.counter(
        "mcp_calls_cached_total", "Those that an earlier result answered.",
        _many(tool, served.cached),
    )  # fmt: skip
    page.counter("mcp_call_seconds_total", "Time that they took.", _many(tool, served.seconds))


def _tiers(page: _Page, tiers: Sequence[TierStats]) -> None:
    def by_tier(values: Iterable[float]) -> list[Sample]:
        return [({"tier": t.tier}, value) for t, value in zip(tiers, values, strict=True)]

    page.counter("cache_hits_total", "Requests that hit a tier.", by_tier(t.hits for t in tiers))
    page.counter(
        "cache_misses_total", "Requests that missed a tier.", by_tier(t.misses for t in tiers)
    )
    page.counter(
        "cache_evictions_total", "Entries pushed out.", by_tier(t.evictions for t in tiers)
    )
    page.counter(
        "cache_tokens_saved_total", "Prompt tokens that needed no prefill.",
        by_tier(t.tokens_saved for t in tiers),
    )  # fmt: skip
    page.counter(
        "cache_saved_seconds_total", "Time that reuse saved.",
        by_tier(t.seconds_saved for t in tiers),
    )  # fmt: skip
    page.gauge("cache_entries", "Entries in a tier.", by_tier(t.entries for t in tiers))
    page.gauge("cache_bytes", "Bytes in a tier.", by_tier(t.bytes for t in tiers))
    page.gauge("cache_limit_bytes", "Bytes a tier may take.", by_tier(t.limit_bytes for t in tiers))


class _Page:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def gauge(self, name: str, help: str, samples: Sequence[Sample]) -> None:
        self._family(name, help, "gauge", samples)

    def counter(self, name: str, help: str, samples: Sequence[Sample]) -> None:
        self._family(name, help, "counter", samples)

    def histogram(self, name: str, help: str, histogram: Histogram) -> None:
        self._head(name, help, "histogram")
        for bound, count in histogram.cumulative():
            self._line(f"{name}_bucket", {"le": _number(bound)}, count)
        self._line(f"{name}_bucket", {"le": "+Inf"}, histogram.count)
        self._line(f"{name}_sum", {}, histogram.sum)
        self._line(f"{name}_count", {}, histogram.count)

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def _family(self, name: str, help: str, kind: str, samples: Sequence[Sample]) -> None:
        if samples:
            self._head(name, help, kind)
        for labels, value in samples:
            self._line(name, labels, value)

    def _head(self, name: str, help: str, kind: str) -> None:
        self._lines.append(f"# HELP anyclaude_{name} {help}")
        self._lines.append(f"# TYPE anyclaude_{name} {kind}")

    def _line(self, name: str, labels: Mapping[str, str], value: float) -> None:
        shown = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        self._lines.append(
            f"anyclaude_{name}{{{shown}}} {_number(value)}"
            if shown
            else f"anyclaude_{name} {_number(value)}"
        )


def _one(value: float) -> list[Sample]:
    return [({}, value)]


def _labelled(label: str, counts: Mapping[str, int]) -> list[Sample]:
    return [({label: key}, count) for key, count in sorted(counts.items())]


_Key = TypeVar("_Key", bound=tuple[str, ...])


def _many(labels: tuple[str, ...], counts: Mapping[_Key, float]) -> list[Sample]:
    return [(dict(zip(labels, key, strict=True)), count) for key, count in sorted(counts.items())]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
