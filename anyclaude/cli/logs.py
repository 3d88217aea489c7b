"""``anyclaude logs``: follow the requests, and take the log elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import click

from anyclaude.cli.connect import connect
from anyclaude.cli.options import with_settings
from anyclaude.cli.output import cell
from anyclaude.cli.sql import query_log
from anyclaude.config.settings import Settings
from anyclaude.errors import UsageError
from anyclaude.events import Event, RequestFinished, SystemEvent
from anyclaude.records import RequestRecord, SqlResult

TABLES = (
    "requests",
    "tool_calls",
    "tool_failures",
    "mcp_calls",
    "searches",
    "events",
    "messages",
    "request_messages",
)
FORMATS: Mapping[str, Literal["parquet", "jsonl"]] = {".parquet": "parquet", ".jsonl": "jsonl"}
PAGE = 10_000
_TAIL = (
    "SELECT id, epoch(started_at) AS started_at, role, model, status, stop_reason, error_message,"
    " input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, ttft_ms,"
    " tokens_per_second FROM requests ORDER BY requests.started_at DESC, id LIMIT {}"
)


@click.group()
def logs() -> None:
    """Follow and export the request log."""


@logs.command()
@click.option("-n", "count", type=click.IntRange(0), default=10, show_default=True, help="Rows.")
@click.option("--follow/--no-follow", default=True, help="Wait for more while a server runs.")
@with_settings
def tail(settings: Settings, count: int, follow: bool) -> None:
    """Print the last requests, then each as it ends while the server runs."""
    asyncio.run(_tail(settings, count, follow))


async def _tail(settings: Settings, count: int, follow: bool) -> None:
    client = await connect(settings)
    if client is None:
        found = await asyncio.to_thread(query_log, settings, _TAIL.format(count), max(1, count))
        _print_rows(found)
        return
    async with client:
        # The events are asked for before the rows, so that none falls between the two.
        events = client.events()
        first = asyncio.ensure_future(anext(events, None)) if follow else None
        seen = _print_rows(await client.sql(_TAIL.format(count), max(1, count)))
        if first is not None:
            await _follow(events, await first, seen)


async def _follow(events: AsyncIterator[Event], event: Event | None, seen: set[str]) -> None:
    while event is not None:
        if isinstance(event, RequestFinished) and event.record.id not in seen:
            click.echo(request_line(event.record))
        elif isinstance(event, SystemEvent):
            click.echo(f"{_clock(event.at)} {event.level} {event.kind}: {cell(event.message, 200)}")
        event = await anext(events, None)


def _print_rows(found: SqlResult) -> set[str]:
    records = [
        RequestRecord(**dict(zip(found.columns, row, strict=True)))  # type: ignore[arg-type]
        for row in reversed(found.rows)
    ]
    for record in records:
        click.echo(request_line(record))
    return {record.id for record in records}


def request_line(record: RequestRecord) -> str:
    """One request on one line."""
    prompt = record.input_tokens + record.cache_read_tokens + record.cache_creation_tokens
    parts = [
        _clock(record.started_at),
        cell(record.id),
        cell(record.role),
        cell(record.model) or "-",
        f"in={prompt}",
        f"cached={record.cache_read_tokens}",
        f"out={record.output_tokens}",
    ]
    if record.ttft_ms is not None:
        parts.append(f"ttft={record.ttft_ms / 1000:.2f}s")
    if record.tokens_per_second is not None:
        parts.append(f"tok/s={record.tokens_per_second:.1f}")
    parts.append(str(record.status))
    parts.append(cell(record.error_message or record.stop_reason or "", 200))
    return " ".join(parts).rstrip()


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")


@logs.command()
@click.option(
    "--to",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; its ending, .parquet or .jsonl, decides the format.",
)
@click.option("--table", type=click.Choice(TABLES), default=TABLES[0], show_default=True)
@with_settings
def export(settings: Settings, path: Path, table: str) -> None:
    """Write a table of the log to a Parquet or JSON-lines file."""
    form = FORMATS.get(path.suffix)
    if form is None:
        raise UsageError(f"--to {path}: expected a name that ends in .parquet or .jsonl")
    from anyclaude.logs.export import export_rows

    count = export_rows(_all_rows(settings, table), path, form)
    click.echo(f"{count} row{'' if count == 1 else 's'} of {table} in {path}")


def _all_rows(settings: Settings, table: str) -> SqlResult:
    """A whole table in pages, so that no single answer holds it all."""
    rows: list[tuple[object, ...]] = []
    while True:
        query = f"SELECT * FROM {table} ORDER BY rowid LIMIT {PAGE} OFFSET {len(rows)}"
        page = query_log(settings, query, PAGE)
        rows += page.rows
        if len(page.rows) < PAGE:
            return SqlResult(page.columns, tuple(rows))
