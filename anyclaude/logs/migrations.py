"""The log database's history, as numbered migrations.

A migration is a number, a name and SQL; those applied are listed in ``schema_migrations`` and
never run again, so a released migration is never edited: a change is a new one.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from anyclaude.errors import ConfigError
from anyclaude.logs.schema import (
    EVENTS,
    PROMPT_SECTIONS,
    REQUESTS,
    TABLES,
    TOOL_CALLS,
    Column,
    Table,
    quote,
)
from anyclaude.logs.views import VIEWS


def _create_tables(number: int) -> tuple[str, ...]:
    statements: list[str] = []
    for table in (table for table in TABLES if table.since == number):
        first = [column for column in table.columns if column.since == 1]
        columns = ", ".join(f"{c.name} {c.first_type or c.type}" for c in first)
        statements.append(f"CREATE TABLE {table.name} ({columns})")
        statements.append(f"COMMENT ON TABLE {table.name} IS {quote(table.comment)}")
        statements.extend(_comment(table, column) for column in first)
    return tuple(statements)


def _comment(table: Table, column: Column) -> str:
    return f"COMMENT ON COLUMN {table.name}.{column.name} IS {quote(column.comment)}"


def _add_columns(number: int) -> tuple[str, ...]:
    statements: list[str] = []
    for table in TABLES:
        for column in table.columns:
            if column.since == number:
                statements.append(
                    f"ALTER TABLE {table.name} ADD COLUMN {column.name} {column.type}"
                )
                statements.append(_comment(table, column))
    return tuple(statements)


def _create_views(number: int) -> tuple[str, ...]:
    statements: list[str] = []
    for view in (view for view in VIEWS if view.since == number):
        statements.append(f"CREATE VIEW {view.name} AS {view.sql}")
        statements.append(f"COMMENT ON VIEW {view.name} IS {quote(view.comment)}")
    return tuple(statements)


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema's history; ``statements`` run in one transaction."""

    number: int
    name: str
    statements: tuple[str, ...]


# Not one ALTER with USING: after a crash, DuckDB reads that back before it knows any JSON.
_ISSUES_AS_JSON = (
    "ALTER TABLE tool_calls ADD COLUMN issues_as_json VARCHAR",
    "UPDATE tool_calls SET issues_as_json = coalesce(CAST(to_json(list_transform(issues, "
    "lambda said: {'path': '', 'rule': '', 'got': said, 'expected': ''})) AS VARCHAR), '[]')",
    "ALTER TABLE tool_calls DROP COLUMN issues",
    "ALTER TABLE tool_calls RENAME COLUMN issues_as_json TO issues",
)

MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "tables", _create_tables(1)),
    Migration(2, "views", _create_views(2)),
    Migration(
        3,
        "misses",
        (*_add_columns(3), _comment(REQUESTS, REQUESTS["prefix_break_cause"]), *_create_views(3)),
    ),
    Migration(
        4,
        "tool calls",
        (
            *_create_tables(4),
            *_ISSUES_AS_JSON,
            *_add_columns(4),
            *(_comment(TOOL_CALLS, TOOL_CALLS[name]) for name in ("issues", "version")),
            _comment(EVENTS, EVENTS["kind"]),
            *_create_views(4),
        ),
    ),
    Migration(5, "keys", (*_add_columns(5), *_create_views(5))),
    Migration(
        6,
        "prompts",
        (
            *_create_tables(6),
            *_add_columns(6),
            _comment(EVENTS, EVENTS["kind"]),
            *_create_views(6),
        ),
    ),
    Migration(
        7,
        "mcp",
        (*_create_tables(7), _comment(EVENTS, EVENTS["kind"]), *_create_views(7)),
    ),
    Migration(
        8,
        "pages",
        (*_add_columns(8), _comment(PROMPT_SECTIONS, PROMPT_SECTIONS["action"])),
    ),
)

_LIST = (
    "CREATE TABLE IF NOT EXISTS schema_migrations "
    "(number INTEGER PRIMARY KEY, name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)"
)


def migrate(con: duckdb.DuckDBPyConnection, name: str = "the log database") -> tuple[int, ...]:
    """Brings the database up to date and returns the numbers it applied.

    Raises :class:`ConfigError` when a newer release has already changed it.
    """
    con.execute(_LIST)
    rows = con.execute("SELECT number FROM schema_migrations").fetchall()
    done = {int(row[0]) for row in rows}
    newest = MIGRATIONS[-1].number
    if done and max(done) > newest:
        raise ConfigError(
            f"{name} has schema {max(done)}, written by a newer anyclaude; this one knows "
            f"{newest}: update anyclaude, or name another file with --db"
        )
    applied = [step for step in MIGRATIONS if step.number not in done]
    for step in applied:
        _apply(con, step)
    return tuple(step.number for step in applied)


def _apply(con: duckdb.DuckDBPyConnection, step: Migration) -> None:
    con.begin()
    try:
        for statement in step.statements:
            con.execute(statement)
        con.execute(
            "INSERT INTO schema_migrations VALUES (?, ?, CAST(now() AS TIMESTAMP))",
            [step.number, step.name],
        )
        con.commit()
    except BaseException:
        con.rollback()
        raise
