"""The request log as the rest of anyclaude sees it: an async face over the writer's thread
and the readers' threads."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias, cast

import duckdb

from anyclaude.errors import InvalidRequest, Unavailable
from anyclaude.events import McpCall, PromptShaped, SearchMade, SystemEvent, ToolFailed
from anyclaude.logs.database import Database, one_line
from anyclaude.logs.export import export_query, export_requests
from anyclaude.logs.queries import Reader, run
from anyclaude.logs.rows import Entry, call_of, instant, request_of
from anyclaude.logs.schema import REQUESTS, TOOL_CALLS
from anyclaude.logs.writer import Writer
from anyclaude.records import (
    ExportFormat,
    RequestRecord,
    SqlResult,
    StoredMessage,
    ToolCallRecord,
)

PATIENCE_S = 2.0

Aside: TypeAlias = SystemEvent | ToolFailed | SearchMade | PromptShaped | McpCall
"""What has rows of its own beside those of requests."""

_USED = """
    SELECT key_name,
           CAST(sum(input_tokens + cache_read_tokens + cache_creation_tokens + output_tokens)
               AS BIGINT),
           CAST(sum(cost_usd) AS DOUBLE)
    FROM requests
    WHERE key_name <> '' AND role <> 'count' AND started_at >= ?
    GROUP BY key_name
    ORDER BY key_name
"""


class RequestLog:
    """An open log database. Its methods belong to the event loop that opened it."""

    def __init__(
        self,
        path: Path,
        database: Database,
        writer: Writer,
        *,
        report: Callable[[SystemEvent], None],
        now: Callable[[], float],
        patience: float,
    ) -> None:
        self.path = path
        self._database = database
        self._writer = writer
        self._report = report
        self._now = now
        self._patience = patience
        self._reader = Reader(database.reader)
        self._stalled = False
        self._closed = False
        self._queued: set[asyncio.Future[None]] = set()
        """Rows on their way that nobody may overlook who asks now."""
        self._landed: deque[asyncio.Future[None]] = deque()
        """Those of them that the writer's thread is through with."""

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        retention_days: int,
        bodies: bool,
        report: Callable[[SystemEvent], None],
        now: Callable[[], float] = time.time,
        patience: float = PATIENCE_S,
    ) -> RequestLog:
        """Opens or creates the database and starts its threads.

        ``report`` hears, on this loop, of whatever a person should know about the log itself;
        the log doesn't store those events unless they are posted back to it. Raises
        :class:`ConfigError` when the file can't be used: locked by another process, not
        writable, not a log. A damaged file is moved aside and reported instead.
        """
        loop = asyncio.get_running_loop()

        def from_thread(event: SystemEvent) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
                loop.call_soon_threadsafe(report, event)

        def moved(message: str, detail: str) -> None:
            from_thread(SystemEvent(now(), "error", "log", message, detail=detail))

        database = Database(path, now=now, moved=moved)
        await asyncio.to_thread(database.open)
        writer = Writer(
            database, bodies=bodies, retention_days=retention_days, now=now, report=from_thread
        )
        writer.start()
        return cls(path, database, writer, report=report, now=now, patience=patience)

    # ----------------------------------------------------------------------------- writing

    async def record(
        self,
        record: RequestRecord,
        calls: Sequence[ToolCallRecord] = (),
        messages: Sequence[StoredMessage] = (),
        *,
        hurry: bool = True,
    ) -> None:
        """Stores a finished request; it is on disk when this returns.

        Without ``hurry`` that takes a little longer, and costs less where there are many.

        Never raises and never waits longer than ``patience`` seconds. When the database can't
        be written, that is reported once, and the row is kept and written as soon as it can be.
        Cancelling the caller doesn't stop the writing.
        """
        if self._closed:
            self._say(
                "error", f"request {record.id} ended after the log was closed; its row is lost"
            )
            return
        loop = asyncio.get_running_loop()
        settled: asyncio.Future[None] = loop.create_future()
        self._queued.add(settled)

        def on_writer_thread() -> None:
            self._landed.append(settled)
            if len(self._landed) > 1:
                return  # Whoever comes for the first one takes them all.
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._settle)

        entry = Entry(record, tuple(calls), tuple(messages))
        self._writer.submit(entry, on_writer_thread, hurry=hurry)
        if self._stalled:
            return
        done, _ = await asyncio.wait({settled}, timeout=self._patience)
        if not done and not self._stalled:
            self._stalled = True
            self._say(
                "error",
                f"the log database {self.path} doesn't answer; rows are kept in memory "
                "until it does: check its disk",
            )

    def _settle(self) -> None:
        if self._stalled:
            self._stalled = False
            self._say("info", f"the log database {self.path} answers again")
        while self._landed:
            settled = self._landed.popleft()
            settled.set_result(None)
            self._queued.discard(settled)

    async def _caught_up(self) -> None:
        """Waits, as long as for a row, until those that were recorded before are written."""
        if not self._queued or self._stalled or self._closed:
            return
        self._writer.hurry()
        await asyncio.wait(self._queued, timeout=self._patience)

    def post(self, event: Aside) -> None:
        """Queues a row of ``events``, ``tool_failures`` or ``searches``, those of
        ``prompt_sections``, or at a call's end one of ``mcp_calls``."""
        if self._closed:
            return
        if isinstance(event, ToolFailed):
            self._writer.submit(Entry(failed=event))
        elif isinstance(event, SearchMade):
            self._writer.submit(Entry(searched=event))
        elif isinstance(event, PromptShaped):
            self._writer.submit(Entry(shaped=event))
        elif isinstance(event, McpCall):
            if event.call.status:
                self._writer.submit(Entry(served=event))
        else:
            self._writer.submit(Entry(event=event))

    def _say(self, level: Literal["info", "error"], message: str) -> None:
        self._report(SystemEvent(self._now(), level, "log", message))

    # ----------------------------------------------------------------------------- reading

    async def query(self, sql: str, limit: int, longest: int | None = None) -> SqlResult:
        """Runs one read-only statement and returns at most ``limit`` rows.

        Texts are cut at ``longest`` characters. Sees every row that was recorded before.
        Cancelling the caller stops it. Raises
        :class:`InvalidRequest` with DuckDB's own words, :class:`Unavailable` when the database
        isn't open.
        """
        await self._caught_up()
        return await self._reader.ask(lambda con: run(con, sql, limit, longest))

    async def requests(self, limit: int, before: float | None = None) -> tuple[RequestRecord, ...]:
        """The newest requests started before the Unix time ``before``, newest first."""
        columns = ", ".join(REQUESTS.column_names)
        where = "" if before is None else "WHERE started_at < ?"
        values: list[object] = [] if before is None else [_instant(before)]
        sql = f"SELECT {columns} FROM requests {where} ORDER BY started_at DESC, id DESC LIMIT ?"
        rows = await self._rows(sql, [*values, limit])
        return tuple(request_of(row) for row in rows)

    async def request(self, request_id: str) -> RequestRecord | None:
        """One request's row, or ``None``."""
        columns = ", ".join(REQUESTS.column_names)
        rows = await self._rows(f"SELECT {columns} FROM requests WHERE id = ?", [request_id])
        return request_of(rows[0]) if rows else None

    async def used_since(self, moment: float) -> tuple[tuple[str, int, float], ...]:
        """Virtual keys with the tokens and dollars of requests since the Unix time ``moment``.

        Tokens are those read, from a cache or not, and written.
        """
        rows = await self._rows(_USED, [instant(moment)])
        return tuple(cast("list[tuple[str, int, float]]", rows))

    async def tool_calls(self, request_id: str) -> tuple[ToolCallRecord, ...]:
        """The calls of one request in the order they were written."""
        columns = ", ".join(TOOL_CALLS.column_names)
        sql = f"SELECT {columns} FROM tool_calls WHERE request_id = ? ORDER BY rowid"
        return tuple(call_of(row) for row in await self._rows(sql, [request_id]))

    async def messages(self, request_id: str) -> tuple[StoredMessage, ...]:
        """The messages of one request in order; bodies are empty where they weren't stored."""
        rows = await self._rows(
            "SELECT m.hash, m.role, coalesce(m.body, '') FROM request_messages r "
            "JOIN messages m USING (hash) WHERE r.request_id = ? ORDER BY r.position",
            [request_id],
        )
        return tuple(StoredMessage(str(row[0]), str(row[1]), str(row[2])) for row in rows)

    async def _rows(self, sql: str, values: list[object]) -> list[tuple[object, ...]]:
        def question(con: duckdb.DuckDBPyConnection) -> list[tuple[object, ...]]:
            try:
                return con.execute(sql, values).fetchall()
            except duckdb.Error as error:
                raise Unavailable(f"the log can't be read: {one_line(error)}") from error

        await self._caught_up()
        return await self._reader.ask(question)

    async def export(self, path: Path, format: Literal["parquet", "jsonl"]) -> int:
        """Writes every request with its tool calls to ``path`` and returns their number.

        Raises :class:`UsageError` when the file can't be written.
        """
        await self._caught_up()
        return await self._reader.ask(lambda con: export_requests(con, path, format))

    async def export_query(
        self, sql: str, path: Path, format: ExportFormat, replace: bool = False
    ) -> int:
        """Writes every row of one read-only statement to ``path`` and returns their number.

        Cancelling the caller stops it and leaves no file. Raises :class:`InvalidRequest` with
        DuckDB's own words, :class:`UsageError` when the file can't be written, or is there
        already and isn't to be replaced.
        """
        await self._caught_up()
        return await self._reader.ask_long(
            lambda con, stop: export_query(con, sql, path, format, replace=replace, stop=stop)
        )

    async def close(self) -> None:
        """Writes what is queued, folds everything into the one file and lets go of it."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._writer.stop)
        await asyncio.to_thread(self._reader.close)


def _instant(before: float) -> datetime:
    try:
        return instant(before)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidRequest("is not a Unix time in seconds", field="before") from error
