"""The views against rows whose answers can be worked out by hand."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from anyclaude.events import ToolFailed
from anyclaude.logs.database import connect
from anyclaude.logs.log import RequestLog
from anyclaude.logs.migrations import migrate
from anyclaude.logs.views import VIEWS
from anyclaude.records import Repair, ToolFailure, ToolIssue
from tests.logs.clock import START, call, record

HOUR = 3600.0
TOP = START - START % HOUR


@pytest.fixture
async def filled(log: RequestLog) -> RequestLog:
    one = {"session_id": "s1", "model": "m", "backend": "mlx"}
    warm = {"cache_level": "L1", "cache_tier": "kv"}
    for ttft in (100.0, 200.0, 300.0):
        n = int(ttft)
        await log.record(
            record(
                f"req_{n}", TOP + n, **one, **(warm if n > 100 else {}),
                ttft_ms=ttft, duration_ms=ttft * 10, queue_ms=0.0, tokens_per_second=40.0,
                input_tokens=400 if n == 100 else 50,
                cache_creation_tokens=0 if n == 100 else 50,
                cache_read_tokens=0 if n == 100 else 300,
                tokens_reused=0 if n == 100 else 300,
                time_saved_ms=0.0 if n == 100 else 1500.0,
                output_tokens=10,
            ),
            (call(f"req_{n}", "Bash", tokens=5), call(f"req_{n}", "Edit", verdict="unparsed")),
        )  # fmt: skip
    await log.record(record("req_count", TOP + 5, role="count", **one, input_tokens=9999))
    await log.record(
        record("req_sub", TOP + HOUR, role="subagent", **one, status=500, error_category="resource",
               error_message="the model failed", input_tokens=100),
        (call("req_sub", "Edit", verdict="repaired", repaired=True),),
    )  # fmt: skip
    await log.record(
        record("req_gone", TOP + HOUR + 1, session_id="s2", status=499, error_category="network")
    )
    return log


def test_what_each_key_used_today() -> None:
    rows = [
        # key, seconds ago, role, status, four kinds of tokens, dollars
        ("a", 0, "main", 200, 1, 2, 3, 4, 0.5),
        ("a", 0, "subagent", 429, 0, 0, 0, 0, 0.0),
        ("a", 0, "title", 499, 5, 0, 0, 5, 0.25),
        ("a", 0, "count", 200, 999, 0, 0, 0, 0.0),
        ("a", 86_400, "main", 200, 999, 0, 0, 0, 9.0),
        ("b", 0, "main", 500, 100, 0, 0, 0, 0.0),
        ("", 0, "main", 200, 999, 0, 0, 0, 9.0),
    ]
    with connect(":memory:") as con:
        migrate(con)
        con.begin()  # All of it is one instant, so that midnight can't fall between.
        for number, row in enumerate(rows):
            con.execute(
                "INSERT INTO requests (id, key_name, started_at, role, status, input_tokens, "
                "cache_read_tokens, cache_creation_tokens, output_tokens, cost_usd) VALUES "
                "(?, ?, CAST(now() AS TIMESTAMP) - to_seconds(?), ?, ?, ?, ?, ?, ?, ?)",
                [str(number), *row],
            )
        found = con.execute("SELECT key_name, requests, tokens, errors, cost_usd FROM keys")
        assert found.fetchall() == [("b", 1, 100, 1, 0.0), ("a", 3, 20, 1, 0.75)]


async def _rows(log: RequestLog, view: str) -> list[dict[str, object]]:
    result = await log.query(f"SELECT * FROM {view}", 100)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


async def test_latency(filled: RequestLog) -> None:
    (row,) = await _rows(filled, "latency")
    assert row == {
        "model": "m", "backend": "mlx", "requests": 3,
        "ttft_p50_ms": 200.0, "ttft_p95_ms": pytest.approx(290.0),
        "ttft_p99_ms": pytest.approx(298.0),
        "duration_p50_ms": 2000.0, "duration_p95_ms": pytest.approx(2900.0),
        "queue_p95_ms": 0.0, "decode_p50_tps": 40.0,
    }  # fmt: skip


async def test_hit_rate(filled: RequestLog) -> None:
    (row,) = await _rows(filled, "hit_rate")
    assert row == {
        "hour": datetime(2026, 9, 21, 14), "requests": 3, "hits": 2,
        "hit_rate": pytest.approx(2 / 3), "prompt_tokens": 1200, "cache_read_tokens": 600,
        "token_hit_rate": 0.5,
    }  # fmt: skip


async def test_tool_success(filled: RequestLog) -> None:
    rows = await _rows(filled, "tool_success")
    assert [(r["name"], r["calls"], r["success_rate"]) for r in rows] == [
        ("Edit", 4, 0.25),
        ("Bash", 3, 1.0),
    ]
    assert (rows[0]["valid"], rows[0]["repaired"], rows[0]["unparsed"]) == (0, 1, 3)


async def test_tools_used(filled: RequestLog) -> None:
    rows = await _rows(filled, "tools_used")
    assert [(r["name"], r["calls"], r["requests"], r["sessions"], r["tokens"]) for r in rows] == [
        ("Edit", 4, 4, 1, 0),
        ("Bash", 3, 3, 1, 15),
    ]
    assert rows[0]["last_used"] == datetime(2026, 9, 21, 15)


async def test_tool_quality(log: RequestLog) -> None:
    def stages(*names: str) -> tuple[Repair, ...]:
        return tuple(Repair(name, "a", "1", "2") for name in names)  # type: ignore[arg-type]

    await log.record(
        record("req_1", TOP, model="m"),
        (
            call("req_1", tool_use_id="t1", tokens=10, ms=500.0),
            call("req_1", tool_use_id="t2", verdict="repaired", repairs=stages("alias", "coerced")),
            call("req_1", tool_use_id="t3", verdict="repaired", repairs=stages("syntax", "syntax")),
            call("req_1", tool_use_id="t4", verdict="regenerated", repairs=stages("regenerated")),
            call("req_1", tool_use_id="t5", verdict="failed", ms=1500.0),
            call("req_1", tool_use_id="", verdict="unparsed"),
            call("req_1", "Edit", tool_use_id="t6"),
        ),
    )
    await log.record(record("req_2", TOP, model="n"), (call("req_2", tool_use_id="t7"),))
    for number, kind in (("t1", "tool"), ("t5", "input"), ("t5", "tool"), ("", "input")):
        log.post(ToolFailed(TOP, ToolFailure(number, "req_3", "Bash", kind, "said")))  # type: ignore[arg-type]
    await log.record(record("req_3", TOP))
    rows = await _rows(log, "tool_quality")
    assert [(r["model"], r["name"], r["calls"]) for r in rows] == [
        ("m", "Bash", 6), ("m", "Edit", 1), ("n", "Bash", 1),
    ]  # fmt: skip
    assert rows[0] == {
        "model": "m", "name": "Bash", "calls": 6, "valid_at_once": 1, "mended_syntax": 1,
        "mended_alias": 1, "mended_coerced": 1, "regenerated": 1, "failed": 1, "unparsed": 1,
        "refused_by_client": 1, "failed_when_run": 1, "tokens": 10, "seconds": 2.0,
        "valid_share": pytest.approx(1 / 6), "usable_share": pytest.approx(4 / 6),
    }  # fmt: skip
    assert (rows[1]["valid_share"], rows[1]["refused_by_client"]) == (1.0, 0)


async def test_tool_issues(log: RequestLog) -> None:
    first = ToolIssue("todos.0.id", "type", "1", "string")
    second = ToolIssue("todos.12.id", "type", "2", "string")
    missing = ToolIssue("a", "required", "nothing", "x")
    unchecked = ToolIssue("", "unchecked", "the pattern 'x' was not checked")
    await log.record(
        record("req_1", TOP, model="m"),
        (
            call("req_1", verdict="repaired", issues=(first, second)),
            call("req_1", verdict="failed", issues=(first, missing)),
            call("req_1", issues=(unchecked,)),
        ),
    )  # fmt: skip
    rows = await _rows(log, "tool_issues")
    assert [(r["rule"], r["path"], r["times"], r["mended"]) for r in rows] == [
        ("type", "todos.*.id", 3, 2), ("required", "a", 1, 0),
    ]  # fmt: skip
    assert (rows[0]["expected"], rows[0]["name"], rows[0]["model"]) == ("string", "Bash", "m")


async def test_tool_refusals(log: RequestLog) -> None:
    made = call("req_1", tool_use_id="t1", raw="as written", final="{}")
    await log.record(record("req_1", TOP, model="m"), (made,))
    said = ToolFailure("t1", "req_2", "Bash", "input", "InputValidationError: command is missing")
    log.post(ToolFailed(TOP + 5, said))
    log.post(ToolFailed(TOP + 6, ToolFailure("t0", "req_2", "Old", "tool", "exit 1")))
    await log.record(record("req_2", TOP + 5))
    old, new = await _rows(log, "tool_refusals")
    assert (old["name"], old["verdict"], old["model"]) == ("Old", None, None)
    assert (new["message"], new["raw"], new["verdict"], new["model"]) == (
        "InputValidationError: command is missing", "as written", "valid", "m",
    )  # fmt: skip
    assert (new["call_request_id"], new["result_request_id"]) == ("req_1", "req_2")


async def test_tokens_saved(filled: RequestLog) -> None:
    rows = await _rows(filled, "tokens_saved")
    by_tier = {row["tier"]: row for row in rows}
    assert by_tier["kv"] == {
        "day": date(2026, 9, 21), "tier": "kv", "requests": 2, "prompt_tokens": 800,
        "tokens_reused": 600, "seconds_saved": 3.0,
    }  # fmt: skip
    assert by_tier[None]["requests"] == 3


async def test_sessions(filled: RequestLog) -> None:
    rows = await _rows(filled, "sessions")
    assert [r["session_id"] for r in rows] == ["s2", "s1"]
    assert rows[0]["errors"] == 0
    first = rows[1]
    assert (first["requests"], first["main"], first["subagent"], first["errors"]) == (5, 3, 1, 1)
    assert (first["prompt_tokens"], first["output_tokens"]) == (1300, 30)
    assert first["cache_share"] == pytest.approx(600 / 1300)
    assert first["tool_calls"] == 7


async def test_system_prompts(log: RequestLog) -> None:
    head = {"model": "m", "system_id": "abcd", "system_tokens": 300}
    for number, (reused, ttft, lost) in enumerate(
        [(0, 900.0, 0), (299, 100.0, 0), (500, 200.0, 0), (40, 700.0, 260)]
    ):
        await log.record(
            record(
                f"req_{number}", TOP + number, **head, role="main", ttft_ms=ttft,
                tokens_reused=reused, time_saved_ms=reused * 2.0, tokens_lost=lost,
            )
        )  # fmt: skip
    await log.record(record("req_agent", TOP + 9, **head, role="subagent", tokens_reused=300))
    await log.record(record("req_count", TOP + 10, **head, role="count"))
    await log.record(record("req_failed", TOP + 11, **head, role="main", status=500))
    await log.record(record("req_bare", TOP + 12, model="m"))
    await log.record(record("req_other", TOP + 13, **(head | {"model": "n"}), role="title"))
    rows = await _rows(log, "system_prompts")
    assert [(row["system_id"], row["model"]) for row in rows] == [("abcd", "m"), ("abcd", "n")]
    assert rows[0] == {
        "system_id": "abcd", "model": "m", "tokens": 300, "requests": 5, "hits": 3,
        "first_ttft_ms": 800.0, "cached_ttft_ms": 150.0, "tokens_saved": 1139,
        "seconds_saved": pytest.approx(1.678), "tokens_lost": 260,
        "last_seen": datetime(2026, 9, 21, 14, 0, 9), "roles": "main, subagent",
    }  # fmt: skip
    assert (rows[1]["hits"], rows[1]["first_ttft_ms"], rows[1]["cached_ttft_ms"]) == (0, None, None)


async def test_misses(log: RequestLog) -> None:
    cost = {"tokens_lost": 900, "prefix_lost_ms": 4500.0, "tokens_from_disk": 20}
    place = {"prefix_break_at": 120, "prefix_break_message": -1}
    texts = {"prefix_break_before": "a tool", "prefix_break_after": "another"}
    await log.record(record("req_none", TOP, prefix_break_cause="none"))
    await log.record(record("req_count", TOP + 1, role="count"))
    await log.record(record("req_cold", TOP + 2, prefix_break_cause="cold", prefix_break_at=0))
    await log.record(
        record(
            "req_tools", TOP + 3, prefix_break_cause="tools_changed", **cost, **place, **texts,
            session_id="s", role="main", model="m", input_tokens=880, cache_read_tokens=120,
            tokens_reused=120,
        )
    )  # fmt: skip
    rows = await _rows(log, "misses")
    assert [row["cause"] for row in rows] == ["tools_changed", "cold"]
    assert rows[0] == {
        "started_at": datetime(2026, 9, 21, 14, 0, 3), "id": "req_tools", "session_id": "s",
        "role": "main", "model": "m", "cause": "tools_changed", "token": 120, "message": -1,
        "tokens_lost": 900, "seconds_lost": 4.5, "prompt_tokens": 1000, "tokens_reused": 120,
        "tokens_from_disk": 20, "text_before": "a tool", "text_after": "another",
    }  # fmt: skip


async def test_an_empty_log_has_empty_views(log: RequestLog) -> None:
    for view in VIEWS:
        assert await _rows(log, view.name) == []
