from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import duckdb
import pytest

from anyclaude.events import SystemEvent
from anyclaude.logs import migrations
from anyclaude.logs.database import connect
from anyclaude.logs.docs import schema_markdown
from anyclaude.logs.migrations import MIGRATIONS, Migration, migrate
from anyclaude.logs.rows import call_of, request_of
from anyclaude.logs.schema import REQUESTS, TABLES, TOOL_CALLS
from anyclaude.logs.views import VIEWS
from anyclaude.records import RequestRecord, ToolCallRecord, ToolFailure

DOCS = Path(__file__).parents[2] / "docs" / "log-schema.md"


def _columns(con: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return [str(row[0]) for row in con.execute(f"DESCRIBE {table}").fetchall()]


def test_tables_have_the_contracts_columns() -> None:
    with connect(":memory:") as con:
        migrate(con)
        assert _columns(con, "requests") == [f.name for f in fields(RequestRecord)]
        assert set(_columns(con, "tool_calls")) == {f.name for f in fields(ToolCallRecord)}
        failures = {f.name for f in fields(ToolFailure)} | {"happened_at"}
        assert set(_columns(con, "tool_failures")) == failures
        assert _columns(con, "searches") == [
            "request_id", "provider", "query", "results", "tokens", "ms", "cached", "error",
            "pages",
        ]  # fmt: skip
        events = {f.name for f in fields(SystemEvent)} - {"at"} | {"happened_at"}
        assert set(_columns(con, "events")) == events
        assert _columns(con, "messages") == ["hash", "role", "body"]
        assert _columns(con, "request_messages") == ["request_id", "position", "hash"]


def test_migrations_are_numbered_in_order_and_run_once() -> None:
    assert [step.number for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
    with connect(":memory:") as con:
        assert migrate(con) == tuple(step.number for step in MIGRATIONS)
        assert migrate(con) == ()
        listed = con.execute("SELECT number, name FROM schema_migrations").fetchall()
        assert listed == [(step.number, step.name) for step in MIGRATIONS]


def test_a_migration_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Migration(len(MIGRATIONS) + 1, "bad", ("CREATE TABLE half (a INT)", "SELECT nothing"))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, bad))
    with connect(":memory:") as con:
        with pytest.raises(duckdb.Error):
            migrate(con)
        done = con.execute("SELECT max(number) FROM schema_migrations").fetchone()
        assert done == (len(MIGRATIONS),)
        with pytest.raises(duckdb.CatalogException):
            con.execute("FROM half")


def test_rows_of_an_older_release_stay_and_can_be_read() -> None:
    old = MIGRATIONS[:2]
    with connect(":memory:") as con, pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", old)
        assert migrate(con) == (1, 2)
        con.execute(
            "INSERT INTO requests (id, started_at, prefix_break_cause) "
            "VALUES ('req_1', TIMESTAMP '2026-01-01', 'evicted')"
        )
        before = set(_columns(con, "requests"))
        patch.undo()
        assert migrate(con) == tuple(step.number for step in MIGRATIONS[2:])
        new = {c.name for c in REQUESTS.columns if c.since > 2}
        assert set(_columns(con, "requests")) == before | new
        (row,) = con.execute(f"SELECT {', '.join(REQUESTS.column_names)} FROM requests").fetchall()
        kept = request_of(row)
        assert (kept.id, kept.prefix_break_cause) == ("req_1", "evicted")
        assert (kept.tokens_lost, kept.tokens_from_disk, kept.system_id) == (0, 0, "")
        assert con.execute("SELECT cause, tokens_lost FROM misses").fetchall() == [("evicted", 0)]


def test_issues_of_an_older_release_become_json() -> None:
    with connect(":memory:") as con, pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:3])
        migrate(con)
        con.execute(
            "INSERT INTO tool_calls (request_id, tool_use_id, name, version, verdict, issues, "
            "repaired, raw, final, tokens) VALUES "
            "('r', 't', 'Bash', 1, 'failed', ['no \"JSON\"', 'é'], false, 'x', '', 3), "
            "('r', 't', 'Bash', 1, 'valid', NULL, false, 'x', '', 3)"
        )
        patch.undo()
        migrate(con)
        columns = ", ".join(TOOL_CALLS.column_names)
        first, second = con.execute(f"SELECT {columns} FROM tool_calls ORDER BY verdict").fetchall()
        assert [issue.text for issue in call_of(first).issues] == ['no "JSON"', "é"]
        assert (call_of(first).repairs, call_of(first).ms) == ((), 0.0)
        assert call_of(second).issues == ()


def test_a_row_from_before_the_keys_has_none() -> None:
    with connect(":memory:") as con, pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:4])
        assert migrate(con)[-1] == 4
        con.execute(
            "INSERT INTO requests (id, started_at, status, input_tokens) "
            "VALUES ('req_1', CAST(now() AS TIMESTAMP), 200, 7)"
        )
        patch.undo()
        assert migrate(con) == tuple(step.number for step in MIGRATIONS[4:])
        (row,) = con.execute(f"SELECT {', '.join(REQUESTS.column_names)} FROM requests").fetchall()
        kept = request_of(row)
        assert (kept.input_tokens, kept.key_name, kept.cost_usd) == (7, "", 0.0)
        assert con.execute("FROM keys").fetchall() == []


def test_a_file_of_an_older_release_survives_its_migration(tmp_path: Path) -> None:
    path = str(tmp_path / "old.duckdb")
    with pytest.MonkeyPatch.context() as patch, connect(path) as con:
        patch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:2])
        migrate(con)
        con.execute(
            "INSERT INTO requests (id, started_at) VALUES ('req_1', TIMESTAMP '2026-01-01')"
        )
        con.execute("INSERT INTO tool_calls (request_id, issues) VALUES ('req_1', ['bad'])")
    with connect(path) as con:
        migrate(con)
        con.execute(
            "INSERT INTO requests (id, started_at) VALUES ('req_2', TIMESTAMP '2026-01-02')"
        )
    with connect(path) as con:  # what the journal held is read back
        assert migrate(con) == ()
        found = con.execute("SELECT id, system_id, tokens_lost FROM requests ORDER BY id")
        assert found.fetchall() == [("req_1", "", 0), ("req_2", "", 0)]
        (issues,) = con.execute("SELECT issues FROM tool_calls").fetchall()
        assert '"got":"bad"' in issues[0]


def test_everything_is_described() -> None:
    with connect(":memory:") as con:
        migrate(con)
        silent = con.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal "
            "AND comment IS NULL AND table_name IN "
            "(SELECT table_name FROM duckdb_tables() WHERE table_name <> 'schema_migrations')"
        ).fetchall()
        assert silent == []
        named = {row[0] for row in con.execute("SHOW TABLES").fetchall()}
        ours = {table.name for table in TABLES} | {view.name for view in VIEWS}
        assert named == ours | {"schema_migrations"}


def test_the_schemas_page_is_fresh() -> None:
    assert DOCS.read_text(encoding="utf-8") == schema_markdown(), "run: just docs"
