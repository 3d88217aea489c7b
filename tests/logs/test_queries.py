"""What SQL may do to the log: read, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.errors import InvalidRequest
from anyclaude.logs import queries
from anyclaude.logs.database import connect
from anyclaude.logs.log import RequestLog
from anyclaude.logs.migrations import migrate
from anyclaude.logs.queries import jsonable, run
from tests.logs.clock import message, record

READING = [
    "SELECT 1",
    "select 1;",
    " -- comment\nWITH a AS (SELECT 1) SELECT * FROM a",
    "FROM requests",
    "TABLE requests",
    "VALUES (1)",
    "DESCRIBE requests",
    "SHOW TABLES",
    "SUMMARIZE requests",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT * FROM requests",
    "PIVOT requests ON role IN ('main', 'count') USING count(*)",
]

REFUSED = [
    ("", "0 statements"),
    ("-- nothing", "0 statements"),
    ("SELECT 1; SELECT 2", "2 statements"),
    ("INSERT INTO events VALUES (now())", "INSERT is refused"),
    ("UPDATE requests SET status = 1", "UPDATE is refused"),
    ("DELETE FROM requests", "DELETE is refused"),
    ("CREATE TABLE a (b INT)", "CREATE is refused"),
    ("CREATE TEMP TABLE a AS SELECT 1", "CREATE is refused"),
    ("DROP TABLE requests", "DROP is refused"),
    ("ALTER TABLE requests ADD COLUMN a INT", "ALTER is refused"),
    ("COPY requests TO '/tmp/a.csv'", "COPY is refused"),
    ("EXPORT DATABASE '/tmp/a'", "EXPORT is refused"),
    ("ATTACH ':memory:' AS a", "ATTACH is refused"),
    ("DETACH a", "DETACH is refused"),
    ("INSTALL httpfs", "LOAD is refused"),
    ("LOAD httpfs", "LOAD is refused"),
    ("SET threads = 8", "SET is refused"),
    ("USE memory", "SET is refused"),
    ("PRAGMA version", "PRAGMA is refused"),
    ("CALL pragma_version()", "CALL is refused"),
    ("CHECKPOINT", "refused"),
    ("VACUUM", "refused"),
    ("BEGIN", "TRANSACTION is refused"),
    ("COMMIT; SELECT 1", "2 statements"),
    ("PREPARE a AS SELECT 1", "PREPARE is refused"),
    ("PIVOT requests ON role USING count(*)", "PIVOT needs"),
    ("selec 1", "syntax error"),
    ("SELECT '\ud800'", "surrogate"),
    ("SELECT nothing FROM requests", 'column "nothing" not found'),
    ("SELECT * FROM nothing", "nothing"),
    ("SELECT ?", "parameters"),
    ("SELECT CAST('a' AS INTEGER)", "Could not convert"),
    (
        "WITH gone AS (DELETE FROM requests RETURNING id) SELECT * FROM gone",
        "read-only|syntax|WITH",
    ),
    (
        "WITH more AS (INSERT INTO messages VALUES ('h', 'user', 'b') RETURNING hash) "
        "SELECT * FROM more",
        "read-only",
    ),
    ("EXPLAIN ANALYZE DELETE FROM requests", "read-only"),
    ("SELECT * FROM read_csv('/etc/passwd')", "Cannot access file|disabled by configuration"),
    ("SELECT * FROM read_text('/etc/passwd')", "disabled by configuration"),
    ("SELECT * FROM glob('/*')", "disabled by configuration"),
    ("SELECT * FROM '/etc/passwd'", "does not exist"),
    ("SELECT * FROM 'https://example.com/a.parquet'", "disabled by configuration"),
    ("SELECT * FROM live", "does not exist"),
]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(":memory:") as con:
        migrate(con)
        con.execute("INSERT INTO messages VALUES ('h', 'user', 'kept')")
        yield con


@pytest.mark.parametrize("sql", READING)
def test_reading_statements_run(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert run(con, sql, 10).columns


@pytest.mark.parametrize(("sql", "words"), REFUSED)
def test_anything_else_is_refused_in_one_line(
    con: duckdb.DuckDBPyConnection, sql: str, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        run(con, sql, 10)
    assert "\n" not in caught.value.message
    assert con.execute("FROM messages").fetchall() == [("h", "user", "kept")]


async def test_the_open_log_is_as_locked_as_that(log: RequestLog) -> None:
    await log.record(record("req_1"), (), (message("kept"),))
    for sql, words in (
        ("DELETE FROM requests", "DELETE is refused"),
        ("WITH n AS (INSERT INTO messages VALUES ('h', '', '') RETURNING 1) FROM n", "read-only"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled by configuration"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            await log.query(sql, 10)
    rows = (await log.query("SELECT count(*) FROM requests JOIN messages ON true", 1)).rows
    assert rows == ((1,),)


async def test_the_limit_is_kept_and_said(log: RequestLog) -> None:
    result = await log.query("SELECT * FROM range(1000)", 300)
    assert (len(result.rows), result.truncated) == (300, True)
    result = await log.query("SELECT * FROM range(300)", 300)
    assert (len(result.rows), result.truncated) == (300, False)
    with pytest.raises(InvalidRequest, match="limit: must be at least 1"):
        await log.query("SELECT 1", 0)


async def test_a_result_too_big_for_memory_is_cut(
    log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MAX_RESULT_SIZE", 100_000)
    result = await log.query("SELECT repeat('x', 1000) FROM range(5000)", 5000)
    assert result.truncated
    assert 100 <= len(result.rows) < 1000


async def test_long_values_are_cut_and_say_so(log: RequestLog) -> None:
    sql = """SELECT repeat('x', 30) AS text, 'short' AS same, 7 AS number, NULL AS nothing,
        repeat('z', 9)::BLOB AS bytes, range(20) AS list, [1] AS small"""
    assert (await log.query(sql, 1, 10)).rows == (
        (
            "xxxxxxxxxx… and 20 more characters",
            "short",
            7,
            None,
            "7a7a7a7a7a… and 4 more bytes",
            "[0, 1, 2, … and 60 more characters",
            [1],
        ),
    )
    with pytest.raises(InvalidRequest, match="longest: must be at least 1"):
        await log.query(sql, 1, 0)


async def test_cut_values_do_not_count_against_the_size_of_a_result(
    log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MAX_RESULT_SIZE", 100_000)
    result = await log.query("SELECT repeat('x', 10_000) FROM range(500)", 500, 10)
    assert (len(result.rows), result.truncated) == (500, False)


async def test_rows_come_before_an_endless_query_ends(log: RequestLog) -> None:
    result = await log.query("SELECT * FROM range(1_000_000_000_000)", 3)
    assert result.rows == ((0,), (1,), (2,))


async def test_a_query_over_the_memory_limit_says_so(log: RequestLog) -> None:
    with pytest.raises(InvalidRequest, match="more memory"):
        await log.query("SELECT list(i::VARCHAR || repeat('x', 500)) FROM range(9_000_000) t(i)", 1)


_ENDLESS = "SELECT sum(a.range * b.range) FROM range(10_000_000) a, range(10_000_000) b"


async def test_cancelling_the_asker_stops_the_query(
    log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = threading.Event()
    real = queries.check_read_only

    def check(con: duckdb.DuckDBPyConnection, sql: str) -> None:
        entered.set()
        real(con, sql)

    monkeypatch.setattr(queries, "check_read_only", check)
    for _ in range(3):  # more than there are reading threads: none may stay behind
        entered.clear()
        task = asyncio.create_task(log.query(_ENDLESS, 1))
        await asyncio.to_thread(entered.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await log.query("SELECT 1", 1)).rows == ((1,),)


async def test_closing_the_log_stops_a_query(
    log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = threading.Event()
    real = queries.check_read_only

    def check(con: duckdb.DuckDBPyConnection, sql: str) -> None:
        real(con, sql)
        entered.set()

    monkeypatch.setattr(queries, "check_read_only", check)
    task = asyncio.create_task(log.query(_ENDLESS, 1))
    await asyncio.to_thread(entered.wait, 60)
    await log.close()
    with pytest.raises(InvalidRequest, match="interrupted"):
        await task


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT now() AS a, [now()] AS b, 1 AS b",
        "SELECT now() AS a, [now()] AS b, 1 AS b ; -- the end;\n",
    ],
)
async def test_zoned_instants_can_be_asked_for(log: RequestLog, sql: str) -> None:
    result = await log.query(sql, 1)
    assert result.columns == ("a", "b", "b")
    ((now, listed, one),) = result.rows
    assert isinstance(now, datetime)
    assert now.tzinfo is None
    assert str(now)[:13] in str(listed)
    assert one == 1


_NOW = """
import asyncio, sys, time
from pathlib import Path
from anyclaude.logs.log import RequestLog
from tests.logs.clock import record

async def main():
    log = await RequestLog.open(Path(sys.argv[1]), retention_days=0, bodies=True, report=print)
    await log.record(record("req_now", time.time()))
    await log.record(record("req_old", time.time() - 7200))
    sql = "SELECT id FROM requests WHERE started_at BETWEEN now() - INTERVAL 1 HOUR AND now()"
    print((await log.query(sql, 10)).rows)
    await log.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
def test_now_compares_rightly_in_any_time_zone(path: Path, zone: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NOW, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "TZ": zone},
        timeout=120,
        check=False,
    )
    assert done.stdout == "(('req_now',),)\n", done.stderr


_WORDS = (
    *("SELECT", "WITH", "INSERT", "INTO", "VALUES", "FROM", "DELETE", "AS", "messages", "a"),
    *("(", ")", ";", ",", "*", "1", "--", "/*", "'", "\n"),
)
_word = st.sampled_from(_WORDS)


@settings(deadline=None, max_examples=200)
@given(st.lists(_word, max_size=12).map(" ".join) | st.text(max_size=30))
def test_any_text_ends_in_rows_or_in_one_line(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        run(con, sql, 5)
    except InvalidRequest as error:
        assert "\n" not in error.message
    assert con.execute("FROM messages").fetchall() == [("h", "user", "kept")]


def test_every_duckdb_value_has_a_json_form() -> None:
    sql = """SELECT 1.5::DECIMAL(5, 2), '4b371d4b-958b-45a9-80a9-80b74f042bac'::UUID,
        '\\xAB'::BLOB, INTERVAL 3 DAY, DATE '2024-01-01', TIME '12:00:00',
        {'a': 1, 'b': [1.5]}, MAP {1: DATE '2024-01-01'}, 'nan'::DOUBLE, 'inf'::FLOAT,
        170141183460469231731687303715884105727::HUGEINT, '101'::BIT,
        TIMESTAMP '2024-01-01 00:00:00.5', NULL, true, '{"a": 1}'::JSON, ['x', NULL]"""
    row = duckdb.sql(sql).fetchall()[0]
    values = [jsonable(value) for value in row]
    assert json.loads(json.dumps(values, allow_nan=False)) == [
        1.5, "4b371d4b-958b-45a9-80a9-80b74f042bac", "ab", 259200.0, "2024-01-01", "12:00:00",
        {"a": 1, "b": [1.5]}, {"1": "2024-01-01"}, None, None,
        170141183460469231731687303715884105727, "101", "2024-01-01T00:00:00.500000", None, True,
        '{"a": 1}', ["x", None],
    ]  # fmt: skip
