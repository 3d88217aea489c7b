from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from anyclaude.control import Stats
from anyclaude.events import (
    EngineState,
    McpCall,
    RequestFinished,
    SearchMade,
    TierStats,
    ToolCallSeen,
    ToolFailed,
    Vitals,
)
from anyclaude.metrics.meter import Meter
from anyclaude.metrics.prometheus import prometheus
from anyclaude.records import (
    McpCallRecord,
    RequestRecord,
    SearchRecord,
    ToolCallRecord,
    ToolFailure,
)

VITALS = Vitals(
    at=0.0, running=1, waiting=2, decode_tps=41.5, prefill_tps=1900.0, ttft_p50_ms=None,
    ttft_p95_ms=None, memory_bytes=10, memory_total_bytes=20, mlx_active_bytes=5, mlx_busy=0.71,
    loop_lag_p99_ms=1.5,
)  # fmt: skip
STATS = Stats(
    version="0.1.0", address="http://127.0.0.1:8082", uptime_s=12.5,
    engine=EngineState("ready", "smol"), vitals=VITALS, requests_total=0, errors_total=0,
    output_tokens_total=0, tool_calls_total=0, tool_calls_failed=0,
)  # fmt: skip

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABELS = rf'\{{{_NAME}="(?:[^"\\\n]|\\["\\n])*"(?:,{_NAME}="(?:[^"\\\n]|\\["\\n])*")*\}}'
_SAMPLE = re.compile(rf"({_NAME})({_LABELS})? (-?[0-9.e+-]+)")


def parse(text: str) -> dict[str, float]:
    """Samples by name and labels; fails on a line that isn't of the format."""
    assert text.endswith("\n")
    samples: dict[str, float] = {}
    kinds: dict[str, str] = {}
    family = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in kinds, f"{family} comes twice"
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family
            kinds[name] = kind
            continue
        found = _SAMPLE.fullmatch(line)
        assert found, line
        name, labels, value = found.groups()
        suffixes = ("_bucket", "_sum", "_count") if kinds[family] == "histogram" else ("",)
        assert name in {family + suffix for suffix in suffixes}
        key = name + (labels or "")
        assert key not in samples
        samples[key] = float(value)
    return samples


def test_a_fresh_process_has_no_made_up_figures() -> None:
    samples = parse(prometheus(STATS, Meter(), ()))
    assert samples["anyclaude_ready"] == 1
    assert samples['anyclaude_info{version="0.1.0",model="smol"}'] == 1
    assert samples["anyclaude_uptime_seconds"] == 12.5
    assert samples["anyclaude_decode_tokens_per_second"] == 41.5
    assert samples["anyclaude_loop_lag_p99_seconds"] == 0.0015
    assert samples["anyclaude_ttft_seconds_count"] == 0
    assert not [name for name in samples if name.startswith("anyclaude_requests_total")]
    assert not [name for name in samples if name.startswith("anyclaude_cache")]


def test_counts_are_the_meters() -> None:
    meter = Meter()
    for ttft in (40.0, 700.0, 1e6):
        record = RequestRecord("a", 0.0, status=200, output_tokens=3, ttft_ms=ttft)
        meter.observe(RequestFinished(replace(record, duration_ms=ttft * 2)))
    meter.observe(RequestFinished(RequestRecord("b", 0.0, status=529, error_category="resource")))
    meter.observe(ToolCallSeen(0.0, ToolCallRecord("a", "t", "B", "unparsed", (), "", "")))
    failure = ToolFailure("t", "b", "Bash", "input", "no command")
    meter.observe(ToolFailed(0.0, failure))
    ran = McpCallRecord("a", "t", "files", "read", 1, "{}")
    meter.observe(McpCall(0.0, ran))
    for cached, ms in ((False, 1_500.0), (True, 0.0)):
        meter.observe(McpCall(0.0, replace(ran, status="ok", cached=cached, ms=ms)))
    tiers = (
        TierStats("kv", True, hits=2, misses=1, entries=3, bytes=4096, limit_bytes=8192),
        TierStats("semantic", False),
    )
    samples = parse(prometheus(STATS, meter, tiers))
    assert samples['anyclaude_requests_total{status="2xx",role="main"}'] == 3
    assert samples['anyclaude_requests_total{status="5xx",role="main"}'] == 1
    assert samples['anyclaude_errors_total{category="resource"}'] == 1
    assert samples['anyclaude_tokens_total{kind="output"}'] == 9
    labels = 'model="",tool="B"'
    assert samples[f'anyclaude_tool_calls_total{{{labels},verdict="unparsed"}}'] == 1
    assert samples[f"anyclaude_tool_call_seconds_total{{{labels}}}"] == 0
    assert samples['anyclaude_tool_failures_total{tool="Bash",kind="input"}'] == 1
    tool = 'server="files",tool="read"'
    assert samples[f'anyclaude_mcp_calls_total{{{tool},status="ok"}}'] == 2
    assert samples[f"anyclaude_mcp_calls_cached_total{{{tool}}}"] == 1
    assert samples[f"anyclaude_mcp_call_seconds_total{{{tool}}}"] == 1.5
    assert samples['anyclaude_ttft_seconds_bucket{le="0.05"}'] == 1
    assert samples['anyclaude_ttft_seconds_bucket{le="1"}'] == 2
    assert samples['anyclaude_ttft_seconds_bucket{le="300"}'] == 2
    assert samples["anyclaude_ttft_seconds_sum"] == 1000.74
    assert samples['anyclaude_cache_hits_total{tier="kv"}'] == 2
    assert samples['anyclaude_cache_bytes{tier="kv"}'] == 4096
    assert 'anyclaude_cache_hits_total{tier="semantic"}' not in samples


def test_the_last_bucket_is_the_count() -> None:
    meter = Meter()
    meter.observe(RequestFinished(RequestRecord("a", 0.0, status=200, ttft_ms=1e9)))
    text = prometheus(STATS, meter, ())
    assert 'anyclaude_ttft_seconds_bucket{le="+Inf"} 1\n' in text
    assert "anyclaude_ttft_seconds_count 1\n" in text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_model_name_is_escaped(name: str) -> None:
    stats = replace(STATS, engine=EngineState("loading", name))
    text = prometheus(stats, Meter(), ())
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert parse(text)[f'anyclaude_info{{version="0.1.0",model="{escaped}"}}'] == 1
    assert parse(text)["anyclaude_ready"] == 0


def test_searches_by_provider_kind_and_outcome() -> None:
    meter = Meter()
    for made in (
        SearchMade(0.0, SearchRecord("a", "brave", "q", 5, 600)),
        SearchMade(0.0, SearchRecord("b", "brave", "q", 5, 600, cached=True), inserted=True),
        SearchMade(0.0, SearchRecord("c", "brave", "q")),
        SearchMade(0.0, SearchRecord("d", "brave", "q", error="too_many_requests: later: on")),
    ):
        meter.observe(made)
    samples = parse(prometheus(STATS, meter, ()))
    for kind, outcome in (
        ("asked", "found"),
        ("inserted", "cached"),
        ("asked", "nothing"),
        ("asked", "too_many_requests"),
    ):
        labels = f'provider="brave",kind="{kind}",outcome="{outcome}"'
        assert samples[f"anyclaude_searches_total{{{labels}}}"] == 1
    assert samples['anyclaude_search_tokens_total{kind="asked"}'] == 600
    assert samples['anyclaude_search_tokens_total{kind="inserted"}'] == 600
