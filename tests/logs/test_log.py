from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.errors import InvalidRequest, Unavailable
from anyclaude.events import McpCall, SearchMade, SystemEvent, ToolFailed
from anyclaude.logs import writer as writer_module
from anyclaude.logs.database import connect
from anyclaude.logs.log import RequestLog
from anyclaude.logs.migrations import migrate
from anyclaude.logs.rows import Entry, request_of, store
from anyclaude.logs.schema import REQUESTS
from anyclaude.records import (
    McpCallRecord,
    Repair,
    RequestRecord,
    SearchRecord,
    ToolFailure,
    ToolIssue,
)
from tests.logs.clock import DAY, START, Clock, call, message, record
from tests.logs.conftest import OpenLog

ISSUES = (ToolIssue("", "parse", "cut off", "JSON"), ToolIssue("a.0", "type", '"é"', "number"))
REPAIRS = (Repair("alias", "", "bash", "Bash"), Repair("coerced", "a", '"5"', "5"))


async def test_a_recorded_request_is_visible_to_the_next_query(log: RequestLog) -> None:
    await log.record(record("req_1"))
    result = await log.query("SELECT id, status FROM requests", 10)
    assert result.columns == ("id", "status")
    assert result.rows == (("req_1", 200),)
    assert not result.truncated


async def test_who_asks_sees_rows_that_nobody_waited_for(
    log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "GATHER_S", 60.0)
    rows = [log.record(record(f"req_{n}"), hurry=False) for n in range(3)]
    writing = asyncio.gather(*rows)
    await asyncio.sleep(0)  # They are on their way, and no more than that.
    assert (await log.query("SELECT count(*) FROM requests", 1)).rows == ((3,),)
    assert await log.request("req_2") is not None
    await writing


async def test_calls_and_messages_come_back_in_order(log: RequestLog) -> None:
    calls = (
        call("req_1", "Write", tokens=7),
        call("req_1", "Bash", verdict="unparsed", issues=ISSUES, repairs=REPAIRS, repaired=True),
    )
    messages = (message("hello"), message("hi", "assistant"), message("hello"))
    await log.record(record("req_1"), calls, messages)
    assert await log.tool_calls("req_1") == calls
    assert await log.messages("req_1") == messages
    assert await log.tool_calls("req_2") == ()
    assert await log.request("req_2") is None


async def test_what_keys_have_used(log: RequestLog) -> None:
    four = {"input_tokens": 1, "cache_read_tokens": 2, "cache_creation_tokens": 3}
    a, b = {"key_name": "a"}, {"key_name": "b"}
    await log.record(record("req_0", START - 1, **a, output_tokens=99))
    await log.record(record("req_1", START, **a, **four, output_tokens=4, cost_usd=0.25))
    await log.record(record("req_2", START + 5, **a, status=499, output_tokens=10, cost_usd=0.5))
    await log.record(record("req_3", START + 5, **a, role="count", input_tokens=99))
    await log.record(record("req_4", START + 5, **b, status=429))
    await log.record(record("req_5", START + 5, output_tokens=99))
    assert await log.used_since(START) == (("a", 20, 0.75), ("b", 0, 0.0))


async def test_a_body_is_stored_once_however_often_it_is_sent(log: RequestLog) -> None:
    await log.record(record("req_1"), (), (message("a"),))
    await log.record(record("req_2"), (), (message("a"), message("b")))
    result = await log.query("SELECT body FROM messages ORDER BY body", 10)
    assert result.rows == (("a",), ("b",))
    assert await log.messages("req_2") == (message("a"), message("b"))


async def test_a_failure_that_comes_again_is_one_row(open_log: OpenLog) -> None:
    for bodies, words in ((True, "said"), (False, None)):
        log = await open_log(bodies=bodies)
        for request in ("req_1", "req_2"):
            failure = ToolFailure(f"toolu_{bodies}", request, "Bash", "input", "said")
            log.post(ToolFailed(START, failure))
        await log.record(record(f"req_{bodies}"))
        sql = f"SELECT request_id, name, kind, message FROM tool_failures WHERE {_is(bodies)}"
        assert (await log.query(sql, 9)).rows == (("req_1", "Bash", "input", words),)
        await log.close()


async def test_a_search_is_a_row_and_goes_with_its_request(open_log: OpenLog) -> None:
    for bodies, query in ((True, "newest \ufffd"), (False, "")):
        log = await open_log(bodies=bodies)
        made = SearchRecord(
            f"req_{bodies}", "brave", "newest \ud83d", 5, 640, 12.5, True, "e", ("https://a.org/é",)
        )
        pages = '["https://a.org/é"]' if bodies else "[]"
        log.post(SearchMade(START, made))
        await log.record(record(f"req_{bodies}"))
        found = await log.query(f"SELECT * FROM searches WHERE request_id = 'req_{bodies}'", 9)
        assert found.rows == ((f"req_{bodies}", "brave", query, 5, 640, 12.5, True, "e", pages),)


async def test_a_call_that_ran_here_is_a_row_once_it_has_ended(open_log: OpenLog) -> None:
    for bodies, arguments, result in ((True, "{}", "text"), (False, None, None)):
        log = await open_log(bodies=bodies)
        begun = McpCallRecord("req_1", f"toolu_{bodies}", "files", "read", 2, "{}")
        ended = replace(
            begun, status="ok", result="text", chars=4, cached=True, suspicious="obey", ms=5.0
        )
        log.post(McpCall(START, begun))
        log.post(McpCall(START, ended))
        await log.record(record(f"req_{bodies}"))
        sql = "SELECT server, tool, round, arguments, status, result, chars, cached, suspicious, ms"
        found = await log.query(f"{sql} FROM mcp_calls WHERE {_is(bodies)}", 9)
        suspicious = "obey" if bodies else ""
        row = ("files", "read", 2, arguments, "ok", result, 4, True, suspicious, 5.0)
        assert found.rows == (row,)
        (tool,) = (await log.query("SELECT calls, ok, cached FROM mcp_tools", 9)).rows
        assert tool[0] == tool[1] == tool[2]
        await log.close()


def _is(bodies: bool) -> str:
    return f"tool_use_id = 'toolu_{bodies}'"


async def test_texts_of_prompts_are_kept_only_with_bodies(open_log: OpenLog) -> None:
    said = {"prefix_break_before": "then", "prefix_break_after": "now", "tokens_lost": 7}
    for bodies, texts in ((True, ("then", "now")), (False, (None, None))):
        log = await open_log(bodies=bodies)
        await log.record(record(f"req_{bodies}", **said))
        kept = await log.request(f"req_{bodies}")
        assert kept is not None
        assert (kept.prefix_break_before, kept.prefix_break_after) == texts
        assert kept.tokens_lost == 7
        await log.close()


async def test_bodies_switched_off_leave_hashes_and_later_ones_fill_in(open_log: OpenLog) -> None:
    log = await open_log(bodies=False)
    await log.record(record("req_1"), (), (message("a"), message("b", "assistant")))
    assert [(m.hash, m.role, m.body) for m in await log.messages("req_1")] == [
        ("hash of a", "user", ""),
        ("hash of b", "assistant", ""),
    ]
    await log.close()
    log = await open_log(bodies=True)
    await log.record(record("req_2"), (), (message("a"),))
    assert (await log.messages("req_1"))[0] == message("a")


async def test_requests_are_newest_first_and_page_by_time(log: RequestLog) -> None:
    records = [record(f"req_{n}", START + n + 0.123456) for n in range(5)]
    await asyncio.gather(*(log.record(r) for r in records))
    first = await log.requests(2)
    assert [r.id for r in first] == ["req_4", "req_3"]
    rest = await log.requests(10, before=first[-1].started_at)
    assert rest == (records[2], records[1], records[0])
    with pytest.raises(InvalidRequest, match="before"):
        await log.requests(10, before=float("nan"))


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": st.integers(0, 2**31 - 1),
    "int | None": st.none() | st.integers(0, 2**31 - 1),
    "float": st.floats(0, 1e9, allow_nan=False),
    "float | None": st.none() | st.floats(0, 1e9, allow_nan=False),
    "str": _text,
    "str | None": st.none() | _text,
}


def _records() -> st.SearchStrategy[RequestRecord]:
    values = {f.name: _VALUES[str(f.type)] for f in fields(RequestRecord)}
    values["started_at"] = st.integers(0, 4_000_000_000_000_000).map(lambda us: us / 1e6)
    return st.builds(RequestRecord, **values)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(":memory:") as con:
        migrate(con)
        yield con


@settings(max_examples=40, deadline=None)
@given(batch=st.lists(_records(), min_size=1, max_size=4, unique_by=lambda r: r.id))
def test_a_record_comes_back_as_it_went_in(
    con: duckdb.DuckDBPyConnection, batch: list[RequestRecord]
) -> None:
    con.begin()
    store(con, [Entry(r) for r in batch], bodies=True, again=False, known=())
    rows = con.execute(f"SELECT {', '.join(REQUESTS.column_names)} FROM requests").fetchall()
    con.rollback()
    assert [request_of(row) for row in rows] == batch


async def test_a_client_that_leaves_while_its_row_is_written_costs_no_row(
    log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = threading.Event(), threading.Event()

    def held_store(con: Any, entries: Any, **options: Any) -> set[str]:
        entered.set()
        assert release.wait(60)
        return store(con, entries, **options)

    monkeypatch.setattr(writer_module, "store", held_store)
    task = asyncio.create_task(log.record(record("req_1")))
    await asyncio.to_thread(entered.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    await log.record(record("req_2"))
    assert {r.id for r in await log.requests(10)} == {"req_1", "req_2"}


async def test_text_with_lone_surrogates_is_stored_with_replacements(log: RequestLog) -> None:
    await log.record(
        record("req_1", error_message="a\ud800é"),
        (call("req_1", issues=(ToolIssue("", "parse", "x\udfff"),)),),
    )
    (stored,) = await log.requests(1)
    assert stored.error_message == "a\ufffdé"
    assert (await log.tool_calls("req_1"))[0].issues[0].got == "x\ufffd"


async def test_requests_that_end_together_are_committed_together(
    log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    entered, release = threading.Event(), threading.Event()

    def held_store(con: Any, entries: Any, **options: Any) -> set[str]:
        batches.append(len(entries))
        entered.set()
        assert release.wait(60)
        return store(con, entries, **options)

    monkeypatch.setattr(writer_module, "store", held_store)
    first = asyncio.create_task(log.record(record("req_0")))
    await asyncio.to_thread(entered.wait, 60)
    others = [asyncio.create_task(log.record(record(f"req_{n}"))) for n in range(1, 21)]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(first, *others)
    assert batches == [1, 20]
    assert (await log.query("SELECT count(*) FROM requests", 1)).rows == ((21,),)


async def test_a_row_that_cannot_be_stored_is_reported_and_costs_no_other(
    log: RequestLog, reported: list[SystemEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = threading.Event(), threading.Event()

    def held_store(con: Any, entries: Any, **options: Any) -> set[str]:
        entered.set()
        assert release.wait(60)
        return store(con, entries, **options)

    monkeypatch.setattr(writer_module, "store", held_store)
    first = asyncio.create_task(log.record(record("req_0")))
    await asyncio.to_thread(entered.wait, 60)
    batch = [record("req_1"), record("req_bad", input_tokens=2**70), record("req_2")]
    tasks = [asyncio.create_task(log.record(r)) for r in batch]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(first, *tasks)
    assert {r.id for r in await log.requests(10)} == {"req_0", "req_1", "req_2"}
    assert [(e.level, e.kind, e.request_id) for e in reported] == [("error", "log", "req_bad")]


async def test_a_repeated_id_is_refused(log: RequestLog, reported: list[SystemEvent]) -> None:
    await log.record(record("req_1", model="a"))
    await log.record(record("req_1", model="b"))
    assert [r.model for r in await log.requests(10)] == ["a"]
    assert [e.request_id for e in reported] == ["req_1"]


async def test_events_are_rows(log: RequestLog) -> None:
    log.post(SystemEvent(START, "warning", "memory", "tight", "req_1", "97 %"))
    await log.record(record("req_1"))
    result = await log.query("SELECT epoch(happened_at), * EXCLUDE (happened_at) FROM events", 10)
    assert result.rows == ((START, "warning", "memory", "tight", "req_1", "97 %"),)


async def test_a_silent_disk_holds_up_one_request_and_no_more(
    open_log: OpenLog, reported: list[SystemEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log(patience=0.05)
    release = threading.Event()

    def held_store(con: Any, entries: Any, **options: Any) -> set[str]:
        assert release.wait(60)
        return store(con, entries, **options)

    monkeypatch.setattr(writer_module, "store", held_store)
    await log.record(record("req_1"))
    await log.record(record("req_2"))
    assert [(e.level, e.kind) for e in reported] == [("error", "log")]
    assert "doesn't answer" in reported[0].message
    release.set()
    await log.close()
    assert [e.level for e in reported] == ["error", "info"]
    log = await open_log()
    assert {r.id for r in await log.requests(10)} == {"req_1", "req_2"}


async def test_what_is_kept_while_writing_fails_is_bounded(
    log: RequestLog, reported: list[SystemEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = True

    def failing_store(con: Any, entries: Any, **options: Any) -> set[str]:
        if failing:
            raise duckdb.IOException("No space left on device")
        return store(con, entries, **options)

    monkeypatch.setattr(writer_module, "store", failing_store)
    monkeypatch.setattr(writer_module, "MAX_KEPT", 3)
    for n in range(5):
        await log.record(record(f"req_{n}"))
    failing = False
    await log.record(record("req_5"))
    assert {r.id for r in await log.requests(10)} == {"req_3", "req_4", "req_5"}
    assert [e.level for e in reported] == ["error", "warning"]
    assert "3 rows did not fit" in reported[1].message


async def test_rows_that_cannot_be_written_at_the_end_are_reported(
    log: RequestLog, reported: list[SystemEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_store(con: Any, entries: Any, **options: Any) -> set[str]:
        raise duckdb.IOException("No space left on device")

    monkeypatch.setattr(writer_module, "store", failing_store)
    await log.record(record("req_1"))
    await log.close()
    assert [e.level for e in reported] == ["error", "error"]
    assert "1 rows could not be written" in reported[1].message


async def test_closing_writes_what_is_queued_and_opening_again_goes_on(
    open_log: OpenLog, path: Path
) -> None:
    log = await open_log()
    await log.record(record("req_1"))
    log.post(SystemEvent(START, "info", "server", "stopping"))
    await log.close()
    await log.close()
    assert not path.with_name(path.name + ".wal").exists()
    log = await open_log()
    await log.record(record("req_2", START + 1))
    assert [r.id for r in await log.requests(10)] == ["req_2", "req_1"]
    assert (await log.query("SELECT message FROM events", 10)).rows == (("stopping",),)


async def test_a_closed_log_says_so_and_never_raises_from_record(
    log: RequestLog, reported: list[SystemEvent]
) -> None:
    await log.close()
    await log.record(record("req_1"))
    log.post(SystemEvent(START, "info", "server", "late"))
    assert [e.level for e in reported] == ["error"]
    assert "req_1" in reported[0].message
    with pytest.raises(Unavailable):
        await log.query("SELECT 1", 1)


async def test_old_rows_go_with_all_that_only_they_refer_to(
    open_log: OpenLog, clock: Clock
) -> None:
    log = await open_log()
    await log.record(record("req_old", START), (call("req_old"),), (message("a"), message("b")))
    await log.record(record("req_new", START + 20 * DAY), (call("req_new"),), (message("b"),))
    log.post(SystemEvent(START, "info", "server", "old"))
    log.post(SystemEvent(START + 20 * DAY, "info", "server", "new"))
    await log.close()

    clock.now = START + 31 * DAY
    log = await open_log(retention_days=30)
    await log.record(record("req_now", clock.now))
    assert {r.id for r in await log.requests(10)} == {"req_new", "req_now"}
    assert await log.tool_calls("req_old") == ()
    assert await log.tool_calls("req_new") == (call("req_new"),)
    assert (await log.query("SELECT body FROM messages", 10)).rows == (("b",),)
    assert (await log.query("SELECT message FROM events", 10)).rows == (("new",),)

    clock.now = START + 52 * DAY
    await log.record(record("req_tick", clock.now))  # the pass runs after this commit
    await log.record(record("req_tock", clock.now))
    assert {r.id for r in await log.requests(10)} == {"req_now", "req_tick", "req_tock"}
    assert (await log.query("SELECT count(*) FROM messages", 10)).rows == ((0,),)
