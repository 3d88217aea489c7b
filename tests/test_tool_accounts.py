"""Calls broken in twelve ways: the verdict, the row, the counters and the pane say the same."""

from __future__ import annotations

import json
from pathlib import Path

from anyclaude.event_json import from_json, to_json
from anyclaude.events import RequestAdmitted, RequestReceived, ToolCallSeen, ToolFailed
from anyclaude.logs.log import RequestLog
from anyclaude.metrics.meter import Meter
from anyclaude.records import RequestRecord, ToolCallRecord, ToolFailure
from anyclaude.tools.judge import judge
from anyclaude.types import ToolDefinition
from tui.lines import plain_text
from tui.panels import error_lines
from tui.state import Store

SCHEMA = {
    "type": "object",
    "properties": {"file_path": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
    "required": ["file_path"],
    "additionalProperties": False,
}
TOOLS = (ToolDefinition("Read", "", SCHEMA), ToolDefinition("Bash", "", {"type": "object"}))

WAYS = {
    "trailing comma": ("Read", '{"file_path": "a",}', "repaired", "syntax"),
    "no closing brace": ("Read", '{"file_path": "a"', "repaired", "syntax"),
    "single quotes": ("Read", "{'file_path': 'a'}", "repaired", "syntax"),
    "key by another name": ("Read", '{"path": "a"}', "repaired", "alias"),
    "tool in other case": ("read", '{"file_path": "a"}', "repaired", "alias"),
    "number as text": ("Read", '{"file_path": "a", "limit": "5"}', "repaired", "coerced"),
    "null for nothing": ("Read", '{"file_path": "a", "limit": null}', "repaired", "coerced"),
    "missing key": ("Read", '{"limit": 5}', "failed", ""),
    "out of range": ("Read", '{"file_path": "a", "limit": 0}', "failed", ""),
    "unknown key": ("Read", '{"file_path": "a", "mode": "r"}', "failed", ""),
    "unknown tool": ("Grep", '{"pattern": "a"}', "failed", ""),
    "cut off": ("Read", '{"file_path": "a', "unparsed", ""),
}


def records() -> list[ToolCallRecord]:
    made = []
    for number, (name, text, verdict, stage) in enumerate(WAYS.values()):
        judged = judge(name, text, TOOLS)
        assert (judged.verdict, "".join(r.stage for r in judged.repairs)) == (verdict, stage)
        delivered = judged.input is not None
        made.append(
            ToolCallRecord(
                request_id="req_1",
                tool_use_id=f"toolu_{number}" if delivered else "",
                name=judged.name,
                verdict=judged.verdict,
                issues=judged.issues,
                raw=text,
                final=json.dumps(judged.input) if delivered else "",
                repaired=bool(judged.repairs),
                tokens=10,
                repairs=judged.repairs,
                ms=100.0,
            )
        )
    return made


async def test_row_counters_and_pane_agree(tmp_path: Path) -> None:
    calls = records()
    refused = ToolFailure("toolu_7", "req_2", "Read", "input", "file_path is missing")
    meter, store = Meter(), Store()
    events = [
        RequestReceived("req_1", 0.0, "", "main", "x", True, 2),
        RequestAdmitted("req_1", "mlx", "smol", "", 1, 0, None, "none"),
        *(ToolCallSeen(1.0, call) for call in calls),
        ToolFailed(2.0, refused),
    ]
    for event in events:
        again = from_json(json.loads(json.dumps(to_json(event))))
        assert again == event
        meter.observe(event)
        store.apply(event, 3.0)
    log = await RequestLog.open(
        tmp_path / "log.duckdb", retention_days=0, bodies=True, report=lambda event: None
    )
    log.post(ToolFailed(2.0, refused))
    await log.record(RequestRecord("req_1", 1.0, model="smol", status=200), calls)
    assert list(await log.tool_calls("req_1")) == calls
    quality = await log.query("SELECT * FROM tool_quality", 9)
    await log.close()
    rows = [dict(zip(quality.columns, row, strict=True)) for row in quality.rows]

    verdicts = {
        verdict: sum(w[2] == verdict for w in WAYS.values()) for verdict in meter.tool_calls
    }
    assert verdicts == meter.tool_calls == {"repaired": 7, "failed": 4, "unparsed": 1}
    for verdict in ("failed", "unparsed"):
        assert sum(row[verdict] for row in rows) == meter.tool_calls[verdict]
    for stage in ("syntax", "alias", "coerced"):
        counted = sum(n for (_, _, s), n in meter.tools.repairs.items() if s == stage)
        assert counted == sum(row[f"mended_{stage}"] for row in rows)
        assert counted == sum(w[3] == stage for w in WAYS.values())
    assert sum(row["refused_by_client"] for row in rows) == 1
    assert meter.tools.failures == {("Read", "input"): 1}
    assert sum(row["tokens"] for row in rows) == sum(meter.tools.tokens.values()) == 120

    assert (store.tool_calls_total, store.tool_calls_bad, store.tool_calls_refused) == (12, 12, 1)
    assert [error.call for error in store.tool_errors] == calls
    for index, call in enumerate(calls):
        shown = plain_text(error_lines(list(store.tool_errors), index, 140))
        assert all(issue.text in shown for issue in call.issues)
        assert all(repair.text in shown for repair in call.repairs)
        assert call.raw in shown and ("(not delivered)" in shown) is (call.final == "")
    assert "client: file_path is missing" in plain_text(
        error_lines(list(store.tool_errors), 7, 140)
    )
