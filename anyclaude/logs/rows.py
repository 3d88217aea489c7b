"""From records to rows and back.

Times become naive UTC datetimes on the way in and Unix seconds on the way out. Rows go in
through DuckDB's appender, half the time of an INSERT; messages by one INSERT over whole
columns, which skips those already there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import cast

import duckdb

from anyclaude.events import McpCall, PromptShaped, SearchMade, SystemEvent, ToolFailed
from anyclaude.logs.schema import (
    EVENTS,
    MCP_CALLS,
    PROMPT_SECTIONS,
    REQUEST_MESSAGES,
    REQUESTS,
    SEARCHES,
    TOOL_CALLS,
    Table,
)
from anyclaude.records import (
    Repair,
    RequestRecord,
    SearchRecord,
    StoredMessage,
    ToolCallRecord,
    ToolIssue,
    Verdict,
)

Row = Sequence[object]
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written together: a request with all that belongs to it, or one event.

    ``failed``, ``searched``, ``shaped`` and ``served`` are such events with tables of their own.
    """

    record: RequestRecord | None = None
    calls: tuple[ToolCallRecord, ...] = ()
    messages: tuple[StoredMessage, ...] = ()
    event: SystemEvent | None = None
    failed: ToolFailed | None = None
    searched: SearchMade | None = None
    shaped: PromptShaped | None = None
    served: McpCall | None = None

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


def _append(con: duckdb.DuckDBPyConnection, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        with con.appender(table.name, columns=list(table.column_names)) as appender:
            appender.append_rows([[_clean(value) for value in row] for row in rows])


_ADD_FAILURE = """
    INSERT INTO tool_failures (tool_use_id, request_id, happened_at, name, kind, message)
    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""


def _add_failures(
    con: duckdb.DuckDBPyConnection, failed: Sequence[ToolFailed], *, bodies: bool
) -> None:
    for event in failed:
        it = event.failure
        words = it.message if bodies else None
        row = (it.tool_use_id, it.request_id, instant(event.at), it.name, it.kind, words)
        con.execute(_ADD_FAILURE, [_clean(value) for value in row])


def _add_sections(
    con: duckdb.DuckDBPyConnection, shaped: Sequence[PromptShaped], *, bodies: bool
) -> None:
    """Prompts that aren't there yet: the same one is told again after a restart."""
    new: dict[str, PromptShaped] = {}
    for event in shaped:
        found = con.execute(
            "SELECT 1 FROM prompt_sections WHERE prompt_id = ? LIMIT 1", [event.prompt_id]
        ).fetchone()
        if found is None:
            new.setdefault(event.prompt_id, event)
    _append(
        con,
        PROMPT_SECTIONS,
        [
            (
                event.prompt_id,
                position,
                part.place,
                part.title if bodies else None,
                part.kind,
                part.importance,
                part.protected,
                part.action,
                part.tokens_before,
                part.tokens_after,
            )
            for event in new.values()
            for position, part in enumerate(event.sections)
        ],
    )


_ADD_MESSAGES = """
    INSERT INTO messages (hash, role, body)
    SELECT unnest(CAST($hashes AS VARCHAR[])), unnest(CAST($roles AS VARCHAR[])),
           unnest(CAST($bodies AS VARCHAR[]))
    ON CONFLICT (hash) DO UPDATE SET body = excluded.body WHERE messages.body IS NULL
"""


def _add_messages(
    con: duckdb.DuckDBPyConnection, messages: Sequence[StoredMessage], *, bodies: bool
) -> None:
    if messages:
        con.execute(
            _ADD_MESSAGES,
            {
                "hashes": [message.hash for message in messages],
                "roles": [message.role for message in messages],
                "bodies": [_clean(message.body) if bodies else None for message in messages],
            },
        )


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
    _append(con, REQUESTS, [_request_row(record, bodies=bodies) for record in records])
    _append(con, TOOL_CALLS, [_call_row(call) for entry in entries for call in entry.calls])
    _append(
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
    _add_messages(con, tuple(messages.values()), bodies=bodies)
    _append(
        con,
        EVENTS,
        [
            (instant(e.at), e.level, e.kind, e.message, e.request_id, e.detail)
            for e in (entry.event for entry in entries)
            if e is not None
        ],
    )
    searched = [entry.searched.search for entry in entries if entry.searched is not None]
    _append(con, SEARCHES, [_search_row(search, bodies=bodies) for search in searched])
    failed = [entry.failed for entry in entries if entry.failed is not None]
    _add_failures(con, failed, bodies=bodies)
    shaped = [entry.shaped for entry in entries if entry.shaped is not None]
    _add_sections(con, shaped, bodies=bodies)
    served = [entry.served for entry in entries if entry.served is not None]
    _append(con, MCP_CALLS, [_served_row(event, bodies=bodies) for event in served])
    return set(messages)


def _not_stored(con: duckdb.DuckDBPyConnection, entries: Sequence[Entry]) -> list[Entry]:
    ids = [entry.record.id for entry in entries if entry.record is not None]
    found = con.execute(
        "SELECT id FROM requests WHERE id IN (SELECT unnest(CAST(? AS VARCHAR[])))", [ids]
    ).fetchall()
    stored = {str(row[0]) for row in found}
    return [entry for entry in entries if entry.record is None or entry.record.id not in stored]


def _request_row(record: RequestRecord, *, bodies: bool) -> Row:
    if not bodies:
        record = replace(record, prefix_break_before=None, prefix_break_after=None)
    return [
        instant(record.started_at) if name == "started_at" else getattr(record, name)
        for name in REQUESTS.column_names
    ]


def _search_row(search: SearchRecord, *, bodies: bool) -> Row:
    if not bodies:
        search = replace(search, query="", pages=())
    pages = json.dumps(search.pages, ensure_ascii=False)
    return [pages if name == "pages" else getattr(search, name) for name in SEARCHES.column_names]


def _call_row(call: ToolCallRecord) -> Row:
    return [
        _listed(getattr(call, name)) if name in _LISTS else getattr(call, name)
        for name in TOOL_CALLS.column_names
    ]


def _served_row(event: McpCall, *, bodies: bool) -> Row:
    call = event.call if bodies else replace(event.call, suspicious="")
    hidden = () if bodies else ("arguments", "result")
    return [
        instant(event.at)
        if name == "happened_at"
        else None
        if name in hidden
        else getattr(call, name)
        for name in MCP_CALLS.column_names
    ]


_LISTS = ("issues", "repairs")


def _listed(values: Sequence[ToolIssue | Repair]) -> str:
    return json.dumps(
        [asdict(value) for value in values], ensure_ascii=False, separators=(",", ":")
    )


# ------------------------------------------------------------------------------------- back


def request_of(row: Row) -> RequestRecord:
    """The record of a row with all columns of ``requests`` in their order."""
    values = dict(zip(REQUESTS.column_names, row, strict=True))
    values["started_at"] = seconds(cast(datetime, values["started_at"]))
    return RequestRecord(**values)  # type: ignore[arg-type]


def call_of(row: Row) -> ToolCallRecord:
    """The record of a row with all columns of ``tool_calls`` in their order."""
    values = dict(zip(TOOL_CALLS.column_names, row, strict=True))
    for name, cls in (("issues", ToolIssue), ("repairs", Repair)):
        values[name] = tuple(cls(**item) for item in json.loads(cast(str, values[name] or "[]")))
    values["verdict"] = cast(Verdict, values["verdict"])
    return ToolCallRecord(**values)  # type: ignore[arg-type]
