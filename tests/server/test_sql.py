"""SQL from one process to the log of another: the real client, server, log and DuckDB."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import duckdb
import pytest

from anyclaude.cli.client import AdminClient
from anyclaude.errors import InvalidRequest, Unavailable, UsageError
from anyclaude.logs import queries
from anyclaude.logs.log import RequestLog
from anyclaude.records import ExportFormat, RequestRecord
from tests.server.fakes import TOKEN, Running, serving

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10_000_000) a, range(10_000_000) b"


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[RequestLog]:
    log = await RequestLog.open(
        tmp_path / "data" / "log.duckdb", retention_days=0, bodies=True, report=print
    )
    await log.record(RequestRecord("req_1", 1_800_000_000.0, status=200))
    yield log
    await log.close()


@pytest.fixture
async def server(log: RequestLog, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    async with serving() as server:
        monkeypatch.setattr(server.control, "sql", log.query)
        monkeypatch.setattr(server.control, "export_sql", log.export_query)
        yield server


@pytest.fixture
async def client(server: Running) -> AsyncIterator[AdminClient]:
    async with AdminClient.at(server.url, TOKEN) as client:
        yield client


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set whenever a statement has reached its reading thread."""
    begun = threading.Event()
    real = queries.check_read_only

    def check(con: duckdb.DuckDBPyConnection, sql: str) -> None:
        real(con, sql)
        begun.set()

    monkeypatch.setattr(queries, "check_read_only", check)
    return begun


async def test_rows_come_back_and_long_texts_cut(client: AdminClient) -> None:
    result = await client.sql("SELECT id, repeat('x', 30) FROM requests", 5, 10)
    assert result.rows == (("req_1", "xxxxxxxxxx… and 20 more characters"),)


async def test_a_write_is_refused_in_plain_words(client: AdminClient, log: RequestLog) -> None:
    with pytest.raises(InvalidRequest, match="DELETE is refused, the log is read-only here"):
        await client.sql("DELETE FROM requests")
    assert (await log.query("SELECT count(*) FROM requests", 1)).rows == ((1,),)


async def test_a_query_that_would_run_for_hours_ends_with_its_asker(
    client: AdminClient, begun: threading.Event
) -> None:
    for _ in range(6):  # more than there are reading threads: none may stay behind
        begun.clear()
        task = asyncio.create_task(client.sql(ENDLESS))
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await client.sql("SELECT 1")).rows == ((1,),)


@pytest.mark.parametrize("format", get_args(ExportFormat))
async def test_an_export_is_written_on_the_side_of_the_asker(
    server: Running,
    client: AdminClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    format: ExportFormat,
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(away))
    target = tmp_path / f"rows.{format}"
    sql = "SELECT i, repeat('y', 100) AS text FROM range(20_000) t(i)"
    assert await client.export_sql(sql, target, format) == 20_000
    read = {"csv": duckdb.read_csv, "json": duckdb.read_json, "parquet": duckdb.read_parquet}
    rows = read[format](str(target)).aggregate("count(*), sum(i), min(length(text))").fetchall()
    assert rows == [(20_000, 199_990_000, 100)]
    with pytest.raises(UsageError, match="is there already"):
        await client.export_sql(sql, target, format)
    assert await client.export_sql("SELECT 1 AS a", target, format, replace=True) == 1
    await client.aclose()
    await server.closed()
    assert os.listdir(away) == []


async def test_an_export_that_fails_leaves_no_file(client: AdminClient, tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    with pytest.raises(InvalidRequest, match="DELETE is refused"):
        await client.export_sql("DELETE FROM requests", target, "csv")
    with pytest.raises(InvalidRequest, match="two columns are named 'a'"):
        await client.export_sql("SELECT 1 AS a, 2 AS a", target, "json")
    with pytest.raises(UsageError, match="No such file or directory"):
        await client.export_sql("SELECT 1", tmp_path / "missing" / "rows.csv", "csv")
    assert os.listdir(tmp_path) == ["data"]


async def test_an_export_ends_with_its_asker(
    client: AdminClient, tmp_path: Path, begun: threading.Event
) -> None:
    target = tmp_path / "rows.csv"
    for _ in range(5):
        begun.clear()
        task = asyncio.create_task(client.export_sql(ENDLESS, target, "csv"))
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await client.sql("SELECT 1")).rows == ((1,),)
    assert not target.exists()


async def test_a_server_that_stops_ends_an_export(
    server: Running, client: AdminClient, tmp_path: Path, begun: threading.Event
) -> None:
    task = asyncio.create_task(client.export_sql(ENDLESS, tmp_path / "rows.csv", "csv"))
    await asyncio.to_thread(begun.wait, 60)
    server.stop.set()
    with pytest.raises(Unavailable, match=r"stopping|no anyclaude answers"):
        await task
    assert not (tmp_path / "rows.csv").exists()
