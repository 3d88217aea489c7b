"""The history's view model: pages, days, and the filter as SQL against the filter as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.logs.database import connect
from anyclaude.logs.migrations import migrate
from anyclaude.logs.queries import run
from anyclaude.logs.rows import Entry, store
from anyclaude.records import RequestRecord, SqlResult, ToolCallRecord
from tests.tui.fake_source import NOON
from tests.tui.log_scenes import DAY, HOSTILE, SESSIONS, calls, logged, records
from tui import history
from tui.filters import Part, parse
from tui.history import (
    History,
    RequestPages,
    SessionPages,
    day_of,
    request_heading,
    request_line,
    requests_of,
)
from tui.history_sql import PAGE, conditions, quoted, requests_sql, sessions_sql
from tui.request_row import RequestRow
from tui.sessions import session_heading, session_line, session_of
from tui.state import Store


def _write(
    con: duckdb.DuckDBPyConnection,
    found: Sequence[RequestRecord],
    made: Sequence[ToolCallRecord] = (),
) -> None:
    entries = [
        Entry(record, tuple(call for call in made if call.request_id == record.id))
        for record in found
    ]
    con.execute("BEGIN")
    store(con, entries, bodies=True, again=False, known=())
    con.execute("COMMIT")


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(":memory:") as con:
        migrate(con)
        yield con


def _all(con: duckdb.DuckDBPyConnection, pages: RequestPages | SessionPages) -> int:
    """Loads every page; how many there were."""
    count = 0
    while not pages.complete:
        pages.reader(run(con, pages.page_sql, PAGE))()
        count += 1
    return count


# ------------------------------------------------------------------------------------ pages


def test_pages_follow_each_other_without_gap_or_repetition(con: duckdb.DuckDBPyConnection) -> None:
    # Many at the same instant: the id decides.
    found = [logged(n, NOON - 60 * (n // 7)) for n in range(PAGE * 2 + 9)]
    _write(con, found)
    pages = RequestPages(Store())
    assert _all(con, pages) == 3
    wanted = sorted(found, key=lambda r: (r.started_at, r.id), reverse=True)
    assert [row.id for row in pages.rows] == [record.id for record in wanted]
    assert pages.total == len(found)
    assert [row.record for row in pages.rows] == wanted
    assert [row.seq for row in pages.rows] == list(range(-1, -len(found) - 1, -1))


def test_microseconds_survive_the_way(con: duckdb.DuckDBPyConnection) -> None:
    found = [replace(logged(n, NOON), started_at=NOON + n / 1_000_000) for n in range(PAGE + 5)]
    _write(con, found)
    pages = RequestPages(Store())
    assert _all(con, pages) == 2
    assert len({row.id for row in pages.rows}) == PAGE + 5


def test_days_stand_between_the_rows(con: duckdb.DuckDBPyConnection) -> None:
    _write(con, records(), calls())
    pages = RequestPages(Store())
    _all(con, pages)
    lines = [pages.at(index) for index in range(pages.height)]
    words = [found for found in lines if isinstance(found, str)]
    assert words == [
        day_of(NOON),
        day_of(NOON - DAY),
        day_of(NOON - 3 * DAY),
        "the log begins here",
    ]
    assert words[0] == "Thursday 9 October 2025"
    assert (
        pages.row_at(0) is None and pages.row_at(1) == 0 and pages.row_at(pages.height - 1) is None
    )
    assert [pages.row_at(i) for i in (-1, 99)] == [None, None]
    assert pages.line == 1
    pages.move(6)
    assert (pages.line, pages.cursor) == (8, 6)
    pages.move(999)
    assert pages.selected is pages.rows[-1]
    pages.move(-999)
    assert pages.selected is pages.rows[0]


def test_an_empty_log_is_one_empty_page(con: duckdb.DuckDBPyConnection) -> None:
    for pages in (RequestPages(Store()), SessionPages()):
        assert _all(con, pages) == 1
        assert (pages.height, pages.selected, pages.line) == (0, None, 0)
        assert pages.summary == f"0 {pages.noun}"


def test_the_next_page_is_wanted_before_its_lines_come_in_sight() -> None:
    pages = RequestPages(Store())
    assert pages.wants_more(0)
    pages.add([RequestRow(str(n), -n, NOON) for n in range(PAGE)])
    assert not pages.complete and pages.ending == "…" and pages.summary == "200+ requests"
    assert not pages.wants_more(PAGE - history.AHEAD)
    assert pages.wants_more(PAGE - history.AHEAD + 2)
    pages.total = 10_214
    assert pages.summary == "200 of 10,214 requests"
    pages.add([])
    assert pages.complete and not pages.wants_more(PAGE) and pages.summary == "200 requests"


def test_what_is_loaded_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEEP", PAGE)
    pages = RequestPages(Store())
    pages.add([RequestRow(str(n), -n, NOON) for n in range(PAGE)])
    pages.total = 999
    assert pages.complete and "a filter leads further back" in pages.ending
    assert pages.summary == "200 of 999 requests"


def test_requests_that_the_console_saw_itself_are_its_own_rows(
    con: duckdb.DuckDBPyConnection,
) -> None:
    _write(con, records())
    live = Store()
    live.seed(records()[-2:])
    pages = RequestPages(live)
    _all(con, pages)
    assert [row is live.rows.get(row.id) for row in pages.rows[:3]] == [True, True, False]
    assert all(row.seq < 0 for row in pages.rows[2:])


def test_rows_know_their_calls_and_look_as_in_the_live_list(con: duckdb.DuckDBPyConnection) -> None:
    _write(con, records(), calls())
    found = requests_of(run(con, requests_sql("true", None), PAGE))
    by_id = {row.id[-4:]: row for row in found}
    assert [(c.name, c.verdict) for c in by_id["0004"].calls] == [(HOSTILE, "repaired")]
    assert by_id["0003"].bad_calls == 0 and by_id["0004"].bad_calls == 1
    line = request_line(by_id["0004"], 80).plain
    assert line.startswith(" ! ") and "sonnet>mlx" in line and len(line) == 80
    assert request_line(by_id["0006"], 80).plain.startswith(" x ")
    assert len(request_heading(80)) == 80


def test_calls_come_as_text_from_another_process() -> None:
    row = [getattr(RequestRecord("req_1", 0.0), name) for name in history._RECORD]
    row[1] = 5_000_000
    (found,) = requests_of(SqlResult((), ((*row, '[{"name": "Bash", "verdict": "failed"}]'),)))
    assert found.at == 5.0 and found.bad_calls == 1
    (found,) = requests_of(SqlResult((), ((*row, None),)))
    assert found.calls == []


# --------------------------------------------------------------------------------- sessions


def test_sessions_are_summed_up(con: duckdb.DuckDBPyConnection) -> None:
    count = replace(logged(90, NOON - 10), role="count", input_tokens=9_999, tokens_reused=9_999)
    hung_up = replace(logged(91, NOON - 9), status=499, error_category="network")
    _write(con, [*records(), count, hung_up])
    pages = SessionPages()
    _all(con, pages)
    assert [row.id for row in pages.rows] == list(SESSIONS)
    today = pages.rows[0]
    mine = [r for r in [*records(), hung_up] if r.session_id == SESSIONS[0]]
    assert today.requests == len(mine) + 1
    assert (today.first_at, today.at) == (NOON - 280, NOON - 9)
    assert today.prompt_tokens == sum(r.input_tokens + r.cache_read_tokens for r in mine)
    assert today.reused_tokens == sum(r.tokens_reused for r in mine)
    assert today.errors == 1  # a hang-up is nobody's error
    assert today.model == "claude-sonnet-4-5-20250929"
    assert pages.rows[2].model == "claude-sonnet-4-5-20250929"  # of subagents alone


def test_pages_of_sessions_follow_each_other(con: duckdb.DuckDBPyConnection) -> None:
    found = [
        replace(logged(n, NOON - 60 * (n // 5)), session_id=f"s{n:04d}") for n in range(PAGE + 30)
    ]
    _write(con, [*found, *(replace(r, id=f"{r.id}x", started_at=0.0) for r in found)])
    pages = SessionPages()
    assert _all(con, pages) == 2
    assert len({row.id for row in pages.rows}) == PAGE + 30
    assert {row.requests for row in pages.rows} == {2}


@pytest.mark.parametrize("width", [38, 58, 78, 118, 158])
def test_session_lines_fill_their_width(width: int) -> None:
    values = (SESSIONS[0], 0, 7_200_000_000, 12, 91_500, 1_600, 66_000, 33_000.0, 1, "claude-haiku")
    row = session_of(values)
    line, heading = session_line(row, width).plain, session_heading(width)
    assert len(heading) == width and len(line) <= width
    assert line.startswith(" x 5f0c") and "72%" in line and line.rstrip().endswith("1")
    for word in ("SESSION", "REQ", "HIT", "ERR"):
        assert word in heading
    assert ("2h00m" in line) == (width >= 60) and ("haiku" in line) == (width >= 78)
    assert ("33s" in line) == (width >= 44)


def test_a_session_over_days_and_one_without_a_name() -> None:
    day = 86_400_000_000
    row = session_of(("", 0, 3 * day, 1, 0, 0, 0, 0.0, 0, None))
    line = session_line(row, 118).plain
    assert "(none)" in line and "01 Jan" in line and "3d00h" in line and " - " in line


# ------------------------------------------------------------------------------- the filter

_ROWS = [
    *records(),
    replace(logged(70, NOON - 1), status=499, stop_reason=None, tokens_lost=700),
    replace(logged(71, NOON - 2), input_tokens=0, cache_read_tokens=0, prefix_break_cause=None),
    replace(logged(72, NOON - 3), prefix_break_cause="history_changed", tokens_lost=12_000),
    replace(logged(73, NOON - 4), ttft_ms=None, tokens_per_second=None, role="count"),
    replace(logged(74, NOON - 5), error_message="it's 100% \\ wrong", error_category="schema"),
]
_CALLS = [
    *calls(),
    *(
        ToolCallRecord("req_00000000000000000072", f"t{n}", name, "valid", (), "{}", "{}")
        for n, name in enumerate(("Bash", "Edit"))
    ),
]


def _rows() -> list[RequestRow]:
    live = Store()
    live.seed(_ROWS)
    for call in _CALLS:
        live.rows[call.request_id].calls.append(call)
    return list(live.rows.values())


@pytest.fixture(scope="module")
def filled() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(":memory:") as con:
        migrate(con)
        _write(con, _ROWS, _CALLS)
        yield con


def _agree(con: duckdb.DuckDBPyConnection, text: str) -> None:
    wanted = {row.id for row in _rows() if parse(text).matches(row)}
    where, left_out = conditions(parse(text).parts)
    assert not left_out
    found = run(con, f"SELECT id FROM requests WHERE {where}", 1_000)
    assert {row[0] for row in found.rows} == wanted, where


@pytest.mark.parametrize(
    "text",
    [
        "", "sonnet", "status:failed", "status:529", "status:cancelled", "!status:done",
        "status:tool_use", "model:haiku", "model:SmolLM2", "tool:bash", 'tool:"valid Edit"',
        "tool:repaired", "!tool:bash", "cache:hit", "cache:miss", "cache:kv",
        "cache:history_changed", "role:title", "!role:main", "id:0004", "id:5f0c", "in>18.3k",
        "in<0", "!in>18.3k", "out>400", "out=0", "lost>500", "lost=0", "tps<43", "!tps<43",
        "ttft>1", "ttft>600ms", "time>5", "time>=5s !role:title sonnet", "it's", "100%", "\\",
        '"queue is full"', "status:", "!nothing", "local engine", "a:b", "cache:'",
    ],
)  # fmt: skip
def test_the_log_is_filtered_as_the_list_is(filled: duckdb.DuckDBPyConnection, text: str) -> None:
    _agree(filled, text)


_FIELD = st.sampled_from(["", "status:", "model:", "tool:", "cache:", "role:", "id:"])
_WORD = st.sampled_from(
    ["", "a", "main", "MLX", "valid", "kv", "done", "'", "%", '"b e"', "00", "_"]
)
_FIGURE = st.sampled_from(["ttft", "in", "out", "lost", "tps", "time"])
_SIGN = st.sampled_from([">", "<", ">=", "<=", "="])
_NUMBER = st.sampled_from(["0", "1", ".5", "18.4k", "300", "12k", "4s", "380ms", "x"])
_TERM = st.builds("{}{}{}".format, st.sampled_from(["", "!"]), _FIELD, _WORD) | st.builds(
    "{}{}{}{}".format, st.sampled_from(["", "!"]), _FIGURE, _SIGN, _NUMBER
)


@settings(deadline=None, max_examples=150)
@given(st.lists(_TERM, max_size=4).map(" ".join))
def test_any_filter_means_the_same_to_the_log(filled: duckdb.DuckDBPyConnection, text: str) -> None:
    _agree(filled, text)


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=12))
def test_any_text_can_be_looked_for(filled: duckdb.DuckDBPyConnection, text: str) -> None:
    where, _ = conditions((Part(value=text), Part("tool", text, inverted=True)), text)
    for sql in (requests_sql(where, (1, text)), sessions_sql(where, (1, text))):
        assert run(filled, sql, PAGE).rows == ()


def test_a_text_cannot_leave_its_quotes(filled: duckdb.DuckDBPyConnection) -> None:
    assert quoted("a'b\0") == "'a''b'"
    text = "'; DROP TABLE requests; --"
    assert run(filled, f"SELECT {quoted(text)}", 1).rows == ((text,),)


def test_a_term_that_the_log_does_not_have_is_named() -> None:
    where, left_out = conditions(
        (Part("colour", "red"), Part("tint", sign=">"), Part("role", "main"))
    )
    assert left_out == "colour:" and where == conditions((Part("role", "main"),))[0]


def test_the_filter_and_the_session_narrow_both_views() -> None:
    found = History(Store())
    found.set_filter(parse("role:main"))
    loads = found.requests.loads
    found.set_filter(parse("role:main "))  # the same terms: nothing is asked again
    assert found.requests.loads == loads and found.filter.text == "role:main "
    found.enter(SESSIONS[0])
    assert SESSIONS[0] in found.requests.where and SESSIONS[0] not in found.sessions.where
    assert re.search(r"lower.*main", found.sessions.where)
    found.enter(None)
    assert SESSIONS[0] not in found.requests.where
    found.view = "Sessions"
    assert found.pages is found.sessions and found.rows == [] and found.total == 0
