"""Reading: one statement, read-only, bounded, and stoppable.

Three locks keep a query from doing more than reading: DuckDB's own parser must call the text
exactly one SELECT (or EXPLAIN), the transaction is read-only, since a SELECT may hide an
INSERT in its WITH clause, and the whole database has no access to files or network.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

import duckdb

from anyclaude.errors import InvalidRequest, Unavailable
from anyclaude.logs.database import one_line
from anyclaude.records import SqlResult
from anyclaude.types import JsonValue

T = TypeVar("T")

MAX_RESULT_SIZE = 64 * 1024 * 1024
_FIRST = 16
_CHUNK = 256
_CHUNK_SIZE = 2 * 1024 * 1024
_THREADS = 4
_READ_ONLY = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
_HINT = "one SELECT, WITH, FROM, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN"


def check_read_only(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raises :class:`InvalidRequest` unless ``sql`` is exactly one reading statement."""
    try:
        sql.encode()
        statements = con.extract_statements(sql)
    except UnicodeEncodeError as error:
        raise InvalidRequest("the statement holds a lone surrogate") from error
    except duckdb.Error as error:
        raise InvalidRequest(one_line(error)) from error
    if len(statements) != 1:
        raise InvalidRequest(f"{len(statements)} statements given; send {_HINT}")
    kind = statements[0].type
    if kind == duckdb.StatementType.MULTI:
        raise InvalidRequest("PIVOT needs its values named here: PIVOT … ON column IN (…)")
    if kind not in _READ_ONLY:
        raise InvalidRequest(f"{kind.name} is refused, the log is read-only here; send {_HINT}")


def run(
    con: duckdb.DuckDBPyConnection, sql: str, limit: int, longest: int | None = None
) -> SqlResult:
    """Checks and runs ``sql``, and fetches at most ``limit`` rows.

    A text of more than ``longest`` characters is cut there, and says how many are missing.
    Raises :class:`InvalidRequest` with DuckDB's own words for anything wrong with it.
    """
    for name, least in (("limit", limit), ("longest", longest)):
        if least is not None and least < 1:
            raise InvalidRequest("must be at least 1", field=name)
    with reading(con, sql):
        return _fetch(con, sql, limit, longest)


@contextmanager
def reading(con: duckdb.DuckDBPyConnection, sql: str) -> Iterator[None]:
    """Checks ``sql``, and has what is done in the meantime read only.

    Raises :class:`InvalidRequest` with DuckDB's own words for whatever went wrong.
    """
    check_read_only(con, sql)
    try:
        con.execute("BEGIN TRANSACTION READ ONLY")
        try:
            yield
        finally:
            with suppress(duckdb.Error):
                con.rollback()
    except duckdb.OutOfMemoryException as error:
        raise InvalidRequest(
            "the query needs more memory than the log may use; filter, aggregate or LIMIT it"
        ) from error
    except duckdb.InterruptException as error:
        raise InvalidRequest("the query was interrupted") from error
    except (duckdb.FatalException, duckdb.ConnectionException) as error:
        raise Unavailable(f"the log can't be read: {one_line(error)}", retry_after=1.0) from error
    except duckdb.Error as error:
        raise InvalidRequest(one_line(error)) from error


def execute(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Runs ``sql`` so that its rows can be fetched; the names and types of its columns."""
    con.execute(sql)
    described = con.description
    types = [str(column[1]) for column in described]
    if any("WITH TIME ZONE" in type_ for type_ in types):
        con.execute(_without_zones(sql, types))
        types = [str(column[1]) for column in con.description]
    return tuple(str(column[0]) for column in described), tuple(types)


def _fetch(con: duckdb.DuckDBPyConnection, sql: str, limit: int, longest: int | None) -> SqlResult:
    columns, _ = execute(con, sql)
    rows: list[tuple[object, ...]] = []
    size, step = 0, _FIRST
    # Chunks, so that the conversion to Python lets other threads run in between.
    while chunk := con.fetchmany(min(step, limit + 1 - len(rows))):
        big = sum(len(value) for row in chunk for value in row if isinstance(value, str | bytes))
        step = max(1, min(_CHUNK, _CHUNK_SIZE * len(chunk) // max(1, big)))
        if longest is not None:
            chunk = [tuple(_cut(value, longest) for value in row) for row in chunk]
        rows.extend(chunk)
        size += big if longest is None else min(big, longest * len(columns) * len(chunk))
        if len(rows) > limit or size > MAX_RESULT_SIZE:
            break
    more = len(rows) > limit or (size > MAX_RESULT_SIZE and con.fetchone() is not None)
    return SqlResult(columns, tuple(rows[:limit]), truncated=more)


def _cut(value: object, longest: int) -> object:
    if isinstance(value, bytes) and len(value) > longest // 2:
        return f"{value[: longest // 2].hex()}… and {len(value) - longest // 2:,} more bytes"
    if isinstance(value, list | dict):
        # Only the text of a nested value tells how much of it there is.
        text = json.dumps(jsonable(value), ensure_ascii=False)
        return value if len(text) <= longest else _cut(text, longest)
    if isinstance(value, str) and len(value) > longest:
        return f"{value[:longest]}… and {len(value) - longest:,} more characters"
    return value


def _without_zones(sql: str, types: Sequence[str]) -> str:
    """``sql`` with its zoned columns cast: fetching those needs a package we don't ship."""
    names = [f"c{index}" for index in range(len(types))]
    values = [
        f"CAST({name} AS {'TIMESTAMP' if type_ == 'TIMESTAMP WITH TIME ZONE' else 'VARCHAR'})"
        if "WITH TIME ZONE" in type_
        else name
        for name, type_ in zip(names, types, strict=True)
    ]
    return f"SELECT {', '.join(values)} FROM ({_bare(sql)}) AS t({', '.join(names)})"


def _bare(sql: str) -> str:
    """The statement without closing semicolons and comments."""
    text = sql.encode()
    for offset, kind in reversed(duckdb.tokenize(sql)):
        if kind != duckdb.token_type.comment and text[offset:].strip() != b";":
            break
        text = text[:offset]
    return text.decode()


class Stop:
    """How a question under way is told that nobody waits for its answer any more."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._busy: list[duckdb.DuckDBPyConnection] = []

    def check(self) -> None:
        """Raises :class:`InvalidRequest` once it was told."""
        if self._asked.is_set():
            raise InvalidRequest("the query was interrupted")

    def watch(self, con: duckdb.DuckDBPyConnection) -> None:
        """Has what runs on ``con`` interrupted too."""
        self._busy.append(con)

    def now(self) -> None:
        """Tells it; a query that hadn't begun doesn't notice, hence to be repeated."""
        self._asked.set()
        for con in self._busy:
            with suppress(duckdb.Error):  # closed in this very moment
                con.interrupt()


class Reader:
    """A few threads that read, each call on a cursor of its own."""

    def __init__(
        self, cursor: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
    ) -> None:
        self._cursor = cursor
        self._closed = False
        self._pool = concurrent.futures.ThreadPoolExecutor(
            _THREADS, thread_name_prefix="anyclaude-sql"
        )

    async def ask(self, question: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Runs ``question`` on a thread; cancelling the caller interrupts it."""
        return await self.ask_long(lambda con, stop: question(con))

    async def ask_long(self, question: Callable[[duckdb.DuckDBPyConnection, Stop], T]) -> T:
        """The same for a question that has more to do than one query, and looks at ``stop``."""
        if self._closed:
            raise Unavailable("the log is closed")
        stop = Stop()

        def work() -> T:
            stop.check()
            with self._cursor() as con:
                stop.watch(con)
                return question(con, stop)

        job = self._pool.submit(work)
        answer = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            while not job.cancel() and not job.done():
                stop.now()
                await asyncio.wait((answer,), timeout=0.02)
            with suppress(Exception, asyncio.CancelledError):
                await answer  # its error is nobody's now
            raise

    def close(self) -> None:
        """Ends the threads once their current question is answered."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)


def jsonable(value: object) -> JsonValue:
    """A DuckDB value as JSON: instants and dates in ISO form, decimals and huge integers as
    numbers where those are exact enough, bytes as hex, NaN and infinities as ``null``."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return jsonable(float(value))
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case UUID():
            return str(value)
        case Mapping():
            return {str(key): jsonable(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [jsonable(item) for item in value]
        case _:
            return str(value)
