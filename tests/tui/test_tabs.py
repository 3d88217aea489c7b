"""What the panes beside the list say, and the columns of the list."""

from __future__ import annotations

import pytest

from anyclaude.events import EngineState, SystemEvent, TierStats, ToolCallSeen, ToolFailed
from anyclaude.records import ToolCallRecord, ToolFailure
from tests.tui.fake_source import LOADING, MISSING, NOON, READY, REPAIRED, session
from tui.beside import ROWS
from tui.columns import Moment, cells, columns, heading
from tui.lines import plain_text
from tui.panels import (
    Welcome,
    cache_lines,
    error_lines,
    event_lines,
    welcome_lines,
)
from tui.series import History
from tui.state import Store, ToolError


def test_columns_fill_the_width_exactly() -> None:
    store = Store()
    for event in session():
        store.apply(event, NOON)
    row, moment = store.rows["req_0000000000000000a3f5"], Moment(NOON + 4.4)
    for width in (20, 37, 49, 50, 57, 71, 72, 77, 140):
        chosen = columns(width)
        text = "".join(t for t, _ in cells(row, chosen, moment, width))
        assert len(text) == len(heading(chosen, width)) == width


def test_columns_drop_in_order() -> None:
    names = [[column.heading for column in columns(width)] for width in (77, 57, 37)]
    assert set(names[0]) - set(names[1]) == {"MODEL>BACKEND", "TTFT"}
    assert set(names[1]) - set(names[2]) == {"OUT", "CACHE", "TOK/S"}


def test_cache_pane_shows_only_what_exists() -> None:
    history = History()
    assert "when the model is ready" in plain_text(cache_lines((), history, 37))
    tiers = (TierStats("kv", True, 0, 6, 12, 2_202_009, 4_404_019, 3), TierStats("x", False))
    text = plain_text(cache_lines(tiers, history, 37))
    assert "kv" in text and " 0%" in text and "2.1 MB" in text and "off" in text
    assert "saved" not in text and "reused" not in text


@pytest.mark.parametrize("width", [37, 57, 77, 117])
def test_cache_pane_says_what_each_tier_saved_and_plots_the_reuse(width: int) -> None:
    history = History()
    history.admitted(9_000, 9_000, NOON - 100)
    history.admitted(0, 3_000, NOON)
    stats = (44, 6, 12, 6_871_947_674, 9_663_676_416, 3, 1_420_000, 1180.0)
    lines = cache_lines((TierStats("kv", True, *stats),), history, width)
    assert all(len(entry.plain) <= width for entry in lines)
    text = plain_text(lines)
    for part in ("44", " 88%", "12", "6.4 GB", "of 9.0 GB", "1.42M", "19m40s"):
        assert part in text
    assert "prompt tokens reused 75%" in text and "100% ┤" in text and "-2m" in text
    columns = {len(entry.plain.rstrip()) for entry in lines[:2]}
    assert width < 57 or len(columns) == 1


def test_tool_errors_show_the_selected_one_in_full() -> None:
    store = Store()
    for event in session():
        store.apply(event, NOON)
    errors = list(reversed(store.tool_errors))
    closed = plain_text(error_lines(errors, None, 37))
    assert "as written" not in closed and "expecting ',' delimiter" in closed
    opened = plain_text(error_lines(errors, 0, 37))
    assert "- parse expected JSON" in opened and "<tool_call>" in opened
    assert opened.index("as written") < opened.index("as delivered") < opened.index("(not deliv")


def test_a_long_raw_call_is_cut_and_says_so() -> None:
    store = Store()
    for event in session():
        store.apply(event, NOON)
    known = store.tool_errors[0]
    long = type(known.call)(
        "r", "t", "Edit", "failed", (MISSING,), "\n".join("x" * 9 for _ in range(40)), ""
    )
    text = plain_text(error_lines([ToolError(NOON, long)], 0, 37))
    assert f"… {40 - ROWS} more lines" in text


def test_a_wide_pane_has_text_and_input_side_by_side() -> None:
    lines = plain_text(error_lines([ToolError(NOON, REPAIRED)], 0, 100)).splitlines()
    assert " - exists expected one of the tools Bash, got bash" in lines
    assert " - unchecked odd" in lines
    assert " + alias bash → Bash" in lines and ' + coerced a.0: "5" → 5' in lines
    head = next(line for line in lines if "as written" in line)
    bar = head.index("│")
    assert head[bar:] == "│ as delivered"
    rows = lines[lines.index(head) + 1 :]
    assert rows[0].startswith("   <tool_call>") and rows[0][bar:] == "│ {"
    assert rows[1][bar:] == '│   "command": "ls"'
    assert all(len(row) <= 100 for row in rows)


def test_a_refusal_is_shown_with_the_call_that_caused_it() -> None:
    store = Store()
    good = ToolCallRecord("r", "toolu_2", "Bash", "valid", (), "{}", "{}")
    for call in (REPAIRED, good):
        store.apply(ToolCallSeen(NOON, call), NOON)
    for id, kind in (("toolu_2", "input"), ("toolu_1", "refused"), ("toolu_9", "input")):
        failure = ToolFailure(id, "r2", "Bash", kind, f"{kind}:\nno {id}")  # type: ignore[arg-type]
        store.apply(ToolFailed(NOON + 1, failure), NOON + 1)
    store.apply(ToolFailed(NOON, ToolFailure("toolu_2", "r2", "Bash", "tool", "exit 1")), NOON)
    assert (store.tool_calls_bad, store.tool_calls_refused) == (1, 2)
    assert [error.call for error in store.tool_errors] == [REPAIRED, good]
    text = plain_text(error_lines(list(store.tool_errors), 0, 60))
    assert "x client: refused: no toolu_1" in text
    assert "   client: input: no toolu_2" in text


def test_events_carry_a_mark_for_their_level() -> None:
    events = [SystemEvent(NOON, level, "error", level) for level in ("info", "warning", "error")]
    text = plain_text(event_lines(events))
    assert [line.split()[1] for line in text.splitlines()] == ["·", "!", "x"]


def test_welcome_follows_the_engine() -> None:
    loading = plain_text(welcome_lines(Welcome(LOADING, env_lines=("eval x",)), 70))
    assert "62%" in loading and "converting weights" in loading and "eval x" in loading
    ready = plain_text(welcome_lines(Welcome(READY, True, "http://h:1", (), ("better",)), 70))
    assert "8,192 tokens of context" in ready and "http://h:1" in ready and "better" in ready
    unloaded = plain_text(welcome_lines(Welcome(EngineState("unloaded"), True), 70))
    assert "m picks one" in unloaded
    broken = Welcome(EngineState("failed", detail="no room"), offers=(("R", "starts it again"),))
    failed = plain_text(welcome_lines(broken, 70))
    assert "no room" in failed and "R starts it again" in failed


def test_welcome_says_why_it_could_not_start() -> None:
    text = plain_text(welcome_lines(Welcome(READY, problem="Port 1 is taken.\nTry 2."), 70))
    assert "could not start" in text and "Port 1 is taken." in text and "q quits" in text
