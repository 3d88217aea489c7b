from __future__ import annotations

import asyncio
import json
import stat
import threading
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from anyclaude.errors import InvalidRequest, UsageError
from anyclaude.logs import export
from anyclaude.logs.export import Format, export_rows
from anyclaude.logs.file import export_file, query_file
from anyclaude.logs.log import RequestLog
from anyclaude.records import ExportFormat, SqlResult, ToolIssue
from tests.logs.clock import START, call, record
from tests.logs.conftest import OpenLog


async def _fill(log: RequestLog) -> None:
    calls = (
        call("req_1", issues=(ToolIssue("a", "type", "1", "x"),), tokens=3),
        call("req_1", "Edit", verdict="failed"),
    )
    await log.record(record("req_2", START + 1))
    await log.record(record("req_1", START + 0.5, ttft_ms=1.5, model='é"'), calls)


async def test_json_lines_hold_every_request_and_its_calls(log: RequestLog, tmp_path: Path) -> None:
    await _fill(log)
    target = tmp_path / "out.jsonl"
    assert await log.export(target, "jsonl") == 2
    first, second = (json.loads(line) for line in target.read_text().splitlines())
    assert (first["id"], second["id"]) == ("req_1", "req_2")
    assert first["started_at"] == "2026-09-21T14:13:20.500000"
    assert first["model"] == 'é"'
    assert [c["name"] for c in first["tool_calls"]] == ["Bash", "Edit"]
    issues = first["tool_calls"][0]["issues"]
    assert json.loads(issues) == [{"path": "a", "rule": "type", "got": "1", "expected": "x"}]
    assert second["tool_calls"] == []
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["out.jsonl"]


async def test_parquet_keeps_the_types(log: RequestLog, tmp_path: Path) -> None:
    await _fill(log)
    target = tmp_path / "it's.parquet"
    assert await log.export(target, "parquet") == 2
    rows = duckdb.read_parquet(str(target)).select("id, started_at, ttft_ms, streaming, tool_calls")
    assert [str(type_) for type_ in rows.types[:4]] == [
        "VARCHAR", "TIMESTAMP", "DOUBLE", "BOOLEAN",
    ]  # fmt: skip
    first, second = rows.fetchall()
    assert first[:4] == ("req_1", datetime(2026, 9, 21, 14, 13, 20, 500000), 1.5, False)
    assert [c["tokens"] for c in first[4]] == [3, 0]
    assert second[4] == []


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
async def test_an_empty_log_exports_to_an_empty_file(
    log: RequestLog, tmp_path: Path, format: Format
) -> None:
    target = tmp_path / "out"
    assert await log.export(target, format) == 0
    if format == "jsonl":
        assert target.read_bytes() == b""
    else:
        assert duckdb.read_parquet(str(target)).fetchall() == []


async def test_a_target_that_cannot_be_written_is_named(log: RequestLog, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing/out.*No such file or directory"):
        await log.export(tmp_path / "missing" / "out", "jsonl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="folder can't be written"):
        await log.export(tmp_path / "folder", "parquet")


def test_rows_of_any_query_can_be_written(tmp_path: Path) -> None:
    result = SqlResult(
        ("id", "started_at", "n", 'odd "name"'),
        (("a", "2026-09-21T14:13:20", 1, [1, 2]), ("b", None, 2, [])),
    )
    target = tmp_path / "out.parquet"
    assert export_rows(result, target, "parquet") == 2
    rows = duckdb.read_parquet(str(target))
    assert [str(type_) for type_ in rows.types] == ["VARCHAR", "TIMESTAMP", "BIGINT", "BIGINT[]"]
    assert rows.fetchall()[0] == ("a", datetime(2026, 9, 21, 14, 13, 20), 1, [1, 2])


def test_a_row_longer_than_duckdbs_json_limit_goes_to_parquet(tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    body = "x" * (17 * 1024 * 1024)
    assert export_rows(SqlResult(("body",), ((body,),)), target, "parquet") == 1
    length = duckdb.read_parquet(str(target)).aggregate("max(length(body))").fetchall()
    assert length == [(len(body),)]


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two columns are named 'a'"):
        export_rows(SqlResult(("a", "a"), ((1, 2),)), tmp_path / "out", "jsonl")


async def test_a_file_without_a_server_can_be_asked_and_exported(
    open_log: OpenLog, path: Path, tmp_path: Path
) -> None:
    log = await open_log()
    await _fill(log)
    await log.close()
    before = path.read_bytes()

    def ask() -> None:
        result = query_file(path, "SELECT id, now() FROM requests ORDER BY id", 1)
        assert (result.columns[0], result.rows[0][0], result.truncated) == ("id", "req_1", True)
        with pytest.raises(InvalidRequest, match="DELETE is refused"):
            query_file(path, "DELETE FROM requests", 1)
        with pytest.raises(InvalidRequest, match="disabled by configuration"):
            query_file(path, "SELECT * FROM read_text('/etc/passwd')", 1)
        assert export_file(path, tmp_path / "out.jsonl", "jsonl") == 2

    await asyncio.to_thread(ask)
    assert path.read_bytes() == before


def test_a_file_that_is_not_there_or_not_a_log_is_named(path: Path) -> None:
    with pytest.raises(UsageError, match=r"no log database at .*anyclaude\.duckdb"):
        query_file(path, "SELECT 1", 1)
    path.parent.mkdir()
    path.write_text("something else")
    with pytest.raises(UsageError, match="damaged"):
        query_file(path, "SELECT 1", 1)
    path.unlink()
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE other (a INT)")
    with pytest.raises(UsageError, match="can't be read"):
        export_file(path, path.with_name("out"), "jsonl")


# ------------------------------------------------------------------------- of any query

_VALUES = """
    SELECT i AS n, CASE WHEN i = 1 THEN 'a "b", c' END AS text, 1.5::DECIMAL(5, 2) AS price,
           TIMESTAMP '2026-01-02 03:04:05' AS at, DATE '2026-01-02' AS day, [i, 2] AS list,
           {'a': 'x'} AS pair, INTERVAL 90 SECOND AS span, '2026-01-02T03:04:05' AS like_a_time,
           now() > TIMESTAMP '2000-01-01' AS yes, NULL AS nothing, 'b'::ENUM('a', 'b') AS kind
    FROM range(1, 3) t(i)
"""


async def test_a_query_goes_to_csv(log: RequestLog, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    assert await log.export_query(_VALUES, target, "csv") == 2
    assert target.read_text().splitlines() == [
        "n,text,price,at,day,list,pair,span,like_a_time,yes,nothing,kind",
        '1,"a ""b"", c",1.50,2026-01-02 03:04:05,2026-01-02,"[1, 2]","{""a"": ""x""}",90.0,'
        "2026-01-02T03:04:05,true,,b",
        '2,,1.50,2026-01-02 03:04:05,2026-01-02,"[2, 2]","{""a"": ""x""}",90.0,'
        "2026-01-02T03:04:05,true,,b",
    ]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


async def test_a_query_goes_to_json(log: RequestLog, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    assert await log.export_query(_VALUES, target, "json") == 2
    first, second = json.loads(target.read_text())
    assert (first["text"], first["list"], first["pair"]) == ('a "b", c', [1, 2], {"a": "x"})
    assert (second["n"], second["text"], second["nothing"]) == (2, None, None)
    assert await log.export_query("SELECT 1 AS a WHERE false", target, "json", replace=True) == 0
    assert json.loads(target.read_text()) == []


async def test_a_query_goes_to_parquet_with_its_types(log: RequestLog, tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    assert await log.export_query(_VALUES, target, "parquet") == 2
    rows = duckdb.read_parquet(str(target))
    assert dict(zip(rows.columns, map(str, rows.types), strict=True)) == {
        "n": "BIGINT", "text": "VARCHAR", "price": "DECIMAL(5,2)", "at": "TIMESTAMP",
        "day": "DATE", "list": "BIGINT[]", "pair": "STRUCT(a VARCHAR)", "span": "DOUBLE",
        "like_a_time": "VARCHAR", "yes": "BOOLEAN", "nothing": "INTEGER", "kind": "VARCHAR",
    }  # fmt: skip
    assert rows.fetchall()[1] == (
        2, None, Decimal("1.50"), datetime(2026, 1, 2, 3, 4, 5), date(2026, 1, 2), [2, 2],
        {"a": "x"}, 90.0, "2026-01-02T03:04:05", True, None, "b",
    )  # fmt: skip


async def test_types_that_json_cannot_carry_become_what_their_values_suggest(
    log: RequestLog, tmp_path: Path
) -> None:
    target = tmp_path / "out.parquet"
    sql = "SELECT union_value(num := 2) AS either, 1 AS n"
    assert await log.export_query(sql, target, "parquet") == 1
    assert duckdb.read_parquet(str(target)).select("n").fetchall() == [(1,)]


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
async def test_nothing_is_replaced_unless_asked(
    log: RequestLog, tmp_path: Path, format: ExportFormat
) -> None:
    target = tmp_path / "out"
    target.write_text("mine")
    with pytest.raises(UsageError, match="out is there already"):
        await log.export_query("SELECT 1 AS a", target, format)
    assert target.read_text() == "mine"
    assert await log.export_query("SELECT 1 AS a", target, format, replace=True) == 1
    assert target.read_bytes() != b"mine"


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
async def test_a_query_that_fails_leaves_nothing(
    log: RequestLog, tmp_path: Path, format: ExportFormat
) -> None:
    for sql, words in (
        ("DELETE FROM requests", "DELETE is refused"),
        ("SELECT CAST(i AS VARCHAR)::DATE FROM range(3) t(i)", "Could not convert|date"),
        ("WITH n AS (INSERT INTO messages VALUES ('h', '', '') RETURNING 1) FROM n", "read-only"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            await log.export_query(sql, tmp_path / "out", format)
    with pytest.raises(UsageError, match="No such file or directory; name a file"):
        await log.export_query("SELECT 1", tmp_path / "missing" / "out", format)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == []


@pytest.mark.parametrize("format", ["json", "parquet"])
async def test_columns_of_one_name_fit_csv_only(
    log: RequestLog, tmp_path: Path, format: ExportFormat
) -> None:
    with pytest.raises(UsageError, match="two columns are named 'A'"):
        await log.export_query('SELECT 1 AS a, 2 AS "A"', tmp_path / "out", format)
    assert await log.export_query('SELECT 1 AS a, 2 AS "A"', tmp_path / "out", "csv") == 1


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
async def test_an_export_without_end_is_stopped_and_leaves_nothing(
    log: RequestLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: ExportFormat
) -> None:
    begun = threading.Event()
    real = export._fetched

    def fetched(*given: object) -> object:
        for row in real(*given):  # type: ignore[arg-type]
            begun.set()
            yield row

    monkeypatch.setattr(export, "_fetched", fetched)
    sql = "SELECT * FROM range(1_000_000_000_000)"
    task = asyncio.create_task(log.export_query(sql, tmp_path / "out", format))
    await asyncio.to_thread(begun.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "data"] == []


async def test_the_writing_of_parquet_can_be_stopped(
    log: RequestLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    endless = "SELECT sum(a.range * b.range) FROM range(10_000_000) a, range(10_000_000) b"

    def typed(*_: object) -> list[str]:
        begun.set()
        return [endless]

    monkeypatch.setattr(export, "_typed", typed)
    task = asyncio.create_task(log.export_query("SELECT 1", tmp_path / "out", "parquet"))
    await asyncio.to_thread(begun.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await log.query("SELECT 1", 1)).rows == ((1,),)
