"""Why a request was slow, in words; and which requests were a turn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyclaude.mcp.server.slow import REASONS, Typical, explain, one_line, ran_here_of, typical_of
from anyclaude.mcp.server.turns import OWN_SESSION, slowest, turns_of
from anyclaude.records import RequestRecord
from anyclaude.types import PrefixBreak

SLOW = RequestRecord(
    "req_1",
    1_800_000_000.0,
    session_id="s",
    model="smol",
    backend="mlx",
    status=200,
    stop_reason="end_turn",
    input_tokens=9_000,
    cache_read_tokens=1_000,
    tokens_reused=1_000,
    output_tokens=40,
    queue_ms=100.0,
    prefill_ms=30_000.0,
    ttft_ms=30_200.0,
    decode_ms=2_000.0,
    duration_ms=33_000.0,
    tokens_per_second=20.0,
    prefix_break_cause="system_changed",
    prefix_break_at=1_000,
    prefix_break_message=-1,
    prefix_break_before="it is Monday",
    prefix_break_after='it is "Tuesday"',
    tokens_lost=8_000,
    prefix_lost_ms=26_000.0,
)


def test_all_figures_of_the_row_are_told() -> None:
    assert explain(SLOW, Typical(12, 900.0, 4_000.0, 21.5)).splitlines()[1:] == [
        "",
        "Where the time went:",
        "- 30.0 s (91%) reading the prompt: 9,000 of its 10,000 tokens were new,"
        " 1,000 came from a cache",
        "- 2.00 s (6%) writing the answer: 40 tokens at 20.0 tokens/s",
        "- 0.90 s (3%) everything else: routing, rendering, the network of a backend elsewhere,"
        " tools run here, delivery",
        "",
        "Why:",
        "- system_changed: the system prompt isn't the one of the request before,"
        " from token 1,000 on, in the system prompt or the tools",
        "- 8,000 tokens had been read before and were read again, which took about 26.0 s",
        '- the text there before: "it is Monday"',
        '- the text there now: "it is \\"Tuesday\\""',
        f"- what to do: {REASONS[PrefixBreak.SYSTEM_CHANGED][1]}",
        "",
        "The median of this model's 12 requests before it: 4.00 s in all,"
        " first token after 0.90 s, 21.5 tokens/s.",
    ]


def test_a_request_that_only_waited_blames_no_cache() -> None:
    waited = RequestRecord(
        "req_2", 1.0, model="m", queue_ms=9_000.0, duration_ms=9_500.0, prefix_break_cause="none"
    )
    text = explain(waited, Typical())
    assert "9.00 s (95%) waiting for the model" in text
    assert "Why:" not in text
    assert "median" not in text


def test_calls_that_ran_here_are_told() -> None:
    ran = ran_here_of(("files", "read", 3, 12_000.0))
    text = explain(SLOW, Typical(), [ran])
    line = "- 3 of its calls ran here: read of the MCP server files, up to 12.0 s each"
    assert line in text.splitlines()


def test_failures_and_retries_are_told() -> None:
    failed = replace(SLOW, status=529, error_message="the queue is full", retries=2)
    text = explain(failed, Typical())
    assert "failed with status 529: the queue is full" in text
    assert "2 attempts failed before" in text


def test_every_cause_has_a_reason_and_advice() -> None:
    assert set(REASONS) == set(PrefixBreak) - {PrefixBreak.NONE}
    assert all(reason and advice for reason, advice in REASONS.values())


def test_a_cause_of_a_newer_release_is_passed_on() -> None:
    text = explain(replace(SLOW, prefix_break_cause="sunspots"), Typical())
    assert "the prefix cache broke: sunspots" in text


def test_medians_of_no_requests_are_nothing() -> None:
    assert typical_of((0, None, None, None)) == Typical()
    assert typical_of((3, 1.5, 2.5, None)) == Typical(3, 1.5, 2.5, 0.0)


def record(number: int, stop: str, *, session: str = "s", role: str = "main") -> RequestRecord:
    return RequestRecord(
        f"req_{number}", float(number), session_id=session, role=role, stop_reason=stop
    )


def test_a_turn_is_its_answers_up_to_one_that_calls_nothing() -> None:
    newest_first = [
        record(9, "end_turn", session=OWN_SESSION, role="subagent"),
        record(8, "end_turn", role="title"),
        record(7, "tool_use"),
        record(6, "end_turn"),
        record(5, "tool_use"),
        record(4, "end_turn", session="other"),
        record(3, "tool_use"),
        record(2, "end_turn"),
        record(1, "tool_use"),
    ]
    turns = turns_of(newest_first)
    assert [r.id for r in turns.running] == ["req_7"]
    assert [r.id for r in turns.last] == ["req_3", "req_5", "req_6"]
    assert turns.asked_about == turns.last


@pytest.mark.parametrize("records", [[], [record(1, "end_turn", role="count")]])
def test_without_conversations_there_is_no_turn(records: list[RequestRecord]) -> None:
    assert turns_of(records).asked_about == ()


def test_the_first_turn_is_asked_about_while_it_runs() -> None:
    turns = turns_of([record(2, "tool_use"), record(1, "tool_use")])
    assert [r.id for r in turns.asked_about] == ["req_1", "req_2"]


def test_the_slowest_of_a_turn_and_its_line() -> None:
    fast = replace(SLOW, id="req_0", duration_ms=10.0)
    assert slowest([fast, SLOW]) is SLOW
    line = one_line(SLOW)
    assert "req_1 main status 200: 33.0 s in all, first token after 30.2 s, 10,000 prompt" in line
    assert line.endswith("break: system_changed")
