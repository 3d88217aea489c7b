"""From records to rows and back.

Every insert is one statement over whole columns (``SELECT unnest(?), …``): a batch of 200
requests costs little more than one. Times become naive UTC datetimes on the way in and Unix
seconds on the way out.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import duckdb

from anyclaude.events import SystemEvent
from anyclaude.logs.schema import EVENTS, MESSAGES, REQUEST_MESSAGES, REQUESTS, TOOL_CALLS, Table
from anyclaude.types import RequestRecord, StoredMessage, ToolCallRecord, Verdict

Row = Sequence[object]
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written together: a request with all that belongs to it, or one event."""

    record: RequestRecord | None = None
    calls: tuple[ToolCallRecord, ...] = ()
    messages: tuple[StoredMessage, ...] = ()
    event: SystemEvent | None = None

    @property
    def size(self) -> int:
        """Characters it holds in memory, roughly."""
        return (
            1_000
            + sum(len(message.body) for message in self.messages)
            + sum(len(call.raw) + len(call.final) for call in self.calls)
        )


def instant(seconds: float) -> datetime:
    """Unix seconds as the naive UTC datetime of a ``TIMESTAMP``."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def seconds(value: datetime) -> float:
    """The Unix seconds of a naive UTC datetime."""
    return value.replace(tzinfo=UTC).timestamp()


def _clean(value: object) -> object:
    """Lone surrogates, which DuckDB refuses, become U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value


def _insert_sql(table: Table, suffix: str = "") -> str:
    values = ", ".join(f"unnest(CAST(? AS {column.bare_type}[]))" for column in table.columns)
    return f"INSERT INTO {table.name} ({', '.join(table.column_names)}) SELECT {values} {suffix}"


_INSERTS = {table.name: _insert_sql(table) for table in (REQUESTS, TOOL_CALLS, EVENTS)}
_INSERTS[REQUEST_MESSAGES.name] = _insert_sql(REQUEST_MESSAGES)
_INSERTS[MESSAGES.name] = _insert_sql(
    MESSAGES, "ON CONFLICT (hash) DO UPDATE SET body = excluded.body WHERE messages.body IS NULL"
)


def _insert(con: duckdb.DuckDBPyConnection, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        columns = [[_clean(value) for value in column] for column in zip(*rows, strict=True)]
        con.execute(_INSERTS[table.name], columns)


def store(
    con: duckdb.DuckDBPyConnection,
    entries: Sequence[Entry],
    *,
    bodies: bool,
    again: bool,
    known: Container[str],
) -> set[str]:
    """Writes the entries into the open transaction and returns the message hashes it stored.

    ``again`` says that some may have been committed already, by an attempt that failed in an
    unknown state: those are skipped. Messages whose hash is in ``known`` are there already.
    """
    if again:
        entries = _not_stored(con, entries)
    records = [entry.record for entry in entries if entry.record is not None]
    _insert(con, REQUESTS, [_request_row(record) for record in records])
    _insert(con, TOOL_CALLS, [_call_row(call) for entry in entries for call in entry.calls])
    _insert(
        con,
        REQUEST_MESSAGES,
        [
            (entry.record.id, position, message.hash)
            for entry in entries
            if entry.record is not None
            for position, message in enumerate(entry.messages)
        ],
    )
    messages = {m.hash: m for entry in entries for m in entry.messages if m.hash not in known}
    _insert(
        con, MESSAGES, [(m.hash, m.role, m.body if bodies else None) for m in messages.values()]
    )
    _insert(
        con,
        EVENTS,
        [
            (instant(e.at), e.level, e.kind, e.message, e.request_id, e.detail)
            for e in (entry.event for entry in entries)
            if e is not None
        ],
    )
    return set(messages)


def _not_stored(con: duckdb.DuckDBPyConnection, entries: Sequence[Entry]) -> list[Entry]:
    ids = [entry.record.id for entry in entries if entry.record is not None]
    found = con.execute(
        "SELECT id FROM requests WHERE id IN (SELECT unnest(CAST(? AS VARCHAR[])))", [ids]
    ).fetchall()
    stored = {str(row[0]) for row in found}
    return [entry for entry in entries if entry.record is None or entry.record.id not in stored]


def _request_row(record: RequestRecord) -> Row:
    return [
        instant(record.started_at) if name == "started_at" else getattr(record, name)
        for name in REQUESTS.column_names
    ]


def _call_row(call: ToolCallRecord) -> Row:
    return [
        list(call.issues) if name == "issues" else getattr(call, name)
        for name in TOOL_CALLS.column_names
    ]


# ------------------------------------------------------------------------------------- back


def request_of(row: Row) -> RequestRecord:
    """The record of a row with all columns of ``requests`` in their order."""
    values = dict(zip(REQUESTS.column_names, row, strict=True))
    values["started_at"] = seconds(cast(datetime, values["started_at"]))
    return RequestRecord(**values)  # type: ignore[arg-type]


def call_of(row: Row) -> ToolCallRecord:
    """The record of a row with all columns of ``tool_calls`` in their order."""
    values = dict(zip(TOOL_CALLS.column_names, row, strict=True))
    values["issues"] = tuple(cast("list[str]", values["issues"] or []))
    values["verdict"] = cast(Verdict, values["verdict"])
    return ToolCallRecord(**values)  # type: ignore[arg-type]
