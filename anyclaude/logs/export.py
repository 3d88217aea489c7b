"""Rows to files: CSV, JSON, JSON Lines, Parquet.

The log's own connection may not touch other files, so rows leave it as JSON Lines written
here, and Parquet is made of those by a second, empty DuckDB. The target appears complete or
not at all.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeAlias

import duckdb

from anyclaude.config.files import appearing
from anyclaude.errors import UsageError
from anyclaude.logs.database import OPTIONS, one_line
from anyclaude.logs.queries import Stop, execute, jsonable, reading
from anyclaude.logs.schema import REQUESTS, TOOL_CALLS, quote
from anyclaude.records import ExportFormat, SqlResult

Format: TypeAlias = Literal["parquet", "jsonl"]

_CHUNK = 256
_OBJECT_SIZE = 16 * 1024 * 1024
_STORED = re.compile(r'\b(?:INTERVAL|BLOB|BIT)\b|"NULL"|ENUM\((?:[^\')]|\'(?:[^\']|\'\')*\')*\)')
_CALL_COLUMNS = tuple(c for c in TOOL_CALLS.columns if c.name != "request_id")
_CALLS_TYPE = f"STRUCT({', '.join(f'{c.name} {c.bare_type}' for c in _CALL_COLUMNS)})[]"
_REQUEST_TYPES = {c.name: c.bare_type for c in REQUESTS.columns} | {"tool_calls": _CALLS_TYPE}


def export_requests(con: duckdb.DuckDBPyConnection, path: Path, format: Format) -> int:
    """Writes every request, oldest first, with its ``tool_calls`` as a list; returns how many.

    Raises :class:`UsageError` when the file can't be written.
    """
    fields = ", ".join(f"{c.name} := t.{c.name}" for c in _CALL_COLUMNS)
    con.execute(
        f"SELECT r.*, coalesce((SELECT list(struct_pack({fields}) ORDER BY t.rowid) "
        f"FROM tool_calls t WHERE t.request_id = r.id), []) AS tool_calls "
        f"FROM requests r ORDER BY r.started_at, r.id"
    )
    columns = [str(column[0]) for column in con.description]
    return _export(path, format, columns, _fetched(con), _REQUEST_TYPES)


def export_rows(result: SqlResult, path: Path, format: Format) -> int:
    """Writes a query's rows and returns how many.

    Columns named as those of ``requests`` get their types in Parquet, others the type their
    values suggest. Raises :class:`UsageError` when the file can't be written or two columns
    share a name.
    """
    _refuse_repeated(result.columns)
    return _export(path, format, result.columns, result.rows, _REQUEST_TYPES)


def export_query(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    path: Path,
    format: ExportFormat,
    *,
    replace: bool,
    stop: Stop,
) -> int:
    """Writes every row of one reading statement and returns how many.

    JSON is an array of objects, a row per line; Parquet has the types of the query as far as
    JSON can carry them. Raises :class:`InvalidRequest` for a bad statement, :class:`UsageError`
    when the file can't be written, is there already and isn't to be replaced, or two columns
    share a name where that can't be.
    """
    with reading(con, sql), appearing(path, replace=replace) as finished:
        columns, types = execute(con, sql)
        rows = _fetched(con, stop)
        if format == "csv":
            return _write_csv(finished, columns, rows)
        _refuse_repeated(columns)
        if format == "json":
            return _write_array(finished, columns, rows)
        lines = finished.with_name("rows.jsonl")
        count, longest = _write_lines(lines, columns, rows)
        _write_parquet(_typed(columns, types, lines, longest if count else 0), finished, stop)
        return count


def _fetched(
    con: duckdb.DuckDBPyConnection, stop: Stop | None = None
) -> Iterator[Sequence[object]]:
    while chunk := con.fetchmany(_CHUNK):
        if stop is not None:
            stop.check()
        yield from chunk


def _refuse_repeated(columns: Sequence[str]) -> None:
    # DuckDB takes names that differ only in case for the same.
    seen: set[str] = set()
    for name in columns:
        if name.lower() in seen:
            raise UsageError(f"two columns are named {name!r}: rename one with AS")
        seen.add(name.lower())


def _export(
    path: Path,
    format: Format,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    types: Mapping[str, str],
) -> int:
    try:
        with appearing(path, replace=True) as finished:
            if format == "jsonl":
                return _write_lines(finished, columns, rows)[0]
            lines = finished.with_name("rows.jsonl")
            count, longest = _write_lines(lines, columns, rows)
            _write_parquet([_select(columns, types, lines, longest if count else 0)], finished)
            return count
    except duckdb.IOException as error:
        raise UsageError(f"{path} can't be written: {one_line(error)}") from error


def _write_lines(
    target: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> tuple[int, int]:
    """The number of lines and the bytes of the longest."""
    count = longest = 0
    with target.open("wb") as file:
        for row in rows:
            line = _object(columns, row) + b"\n"
            file.write(line)
            count += 1
            longest = max(longest, len(line))
    return count, longest


def _write_array(target: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    count = 0
    with target.open("wb") as file:
        file.write(b"[")
        for row in rows:
            file.write((b",\n " if count else b"\n ") + _object(columns, row))
            count += 1
        file.write(b"\n]\n" if count else b"]\n")
    return count


def _write_csv(target: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """NULL is an empty cell, a list or an object its JSON."""
    count = 0
    with target.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_csv_cell(value) for value in row])
            count += 1
    return count


def _csv_cell(value: object) -> str | int | float | None:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, Decimal):
        return str(value)
    plain = jsonable(value)
    if isinstance(plain, str | int | float | None) and not isinstance(plain, bool):
        return plain
    return json.dumps(plain, ensure_ascii=False)


def _object(columns: Sequence[str], row: Sequence[object]) -> bytes:
    values = {name: jsonable(value) for name, value in zip(columns, row, strict=True)}
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "replace")


def _typed(
    columns: Sequence[str], types: Sequence[str], source: Path, longest: int
) -> Sequence[str]:
    """The rows of ``source`` with the query's types, and as their values suggest if those fail."""
    stored = [_STORED.sub(_in_json, type_) for type_ in types]
    given = dict(zip(columns, stored, strict=True))
    return [_select(columns, given, source, longest), _select(columns, {}, source, longest)]


def _in_json(found: re.Match[str]) -> str:
    """What a type is as :func:`jsonable` writes it."""
    return {"INTERVAL": "DOUBLE", '"NULL"': "INTEGER"}.get(found[0], "VARCHAR")


def _select(columns: Sequence[str], types: Mapping[str, str], source: Path, longest: int) -> str:
    """The rows of ``source`` with their types; ``longest`` is 0 when it has none."""
    if not longest:
        nothing = ", ".join(f"NULL::{types.get(n, 'VARCHAR')} AS {_name(n)}" for n in columns)
        return f"SELECT {nothing} WHERE false"
    options = (
        f"{quote(str(source))}, format = 'newline_delimited', "
        f"maximum_object_size = {max(longest, _OBJECT_SIZE)}"
    )
    if all(name in types for name in columns):
        typed = ", ".join(f"{quote(name)}: {quote(types[name])}" for name in columns)
        return f"SELECT * FROM read_json({options}, columns = {{{typed}}})"
    values = ", ".join(
        f"CAST({_name(n)} AS {types[n]}) AS {_name(n)}" if n in types else _name(n) for n in columns
    )
    return f"SELECT {values} FROM read_json({options}, sample_size = -1)"


def _write_parquet(selects: Sequence[str], target: Path, stop: Stop | None = None) -> None:
    """By the first of ``selects`` that works."""
    con = duckdb.connect(":memory:", config={**OPTIONS, "enable_external_access": True})
    if stop is not None:
        stop.watch(con)
    try:
        *others, last = [f"COPY ({s}) TO {quote(str(target))} (FORMAT parquet)" for s in selects]
        for copy in others:
            try:
                con.execute(copy)
                return
            except (duckdb.ConversionException, duckdb.InvalidInputException):
                if stop is not None:
                    stop.check()
        con.execute(last)
    finally:
        con.close()


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
