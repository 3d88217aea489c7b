"""The tools that anyclaude offers as an MCP server, without a word of the protocol."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from anyclaude.control import Control
from anyclaude.errors import InvalidRequest, NotFound
from anyclaude.mcp.server.slow import (
    explain,
    one_line,
    ran_here_of,
    ran_here_sql,
    typical_of,
    typical_sql,
)
from anyclaude.mcp.server.source import Ask, Source
from anyclaude.mcp.server.turns import slowest, turns_of
from anyclaude.records import RequestRecord
from anyclaude.types import JsonObject

MAX_ROWS = 200
MAX_CELL = 400  # characters of one value
RECENT = 200  # rows among which a turn is looked for
LISTED = 12  # requests of a turn that are listed
_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")

Run: TypeAlias = Callable[[Source, JsonObject], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class OwnTool:
    """A tool of ours. ``run`` raises our own errors, whose text is fit for the model."""

    name: str
    title: str
    description: str
    schema: JsonObject
    run: Run
    read_only: bool = True


def own_tools(source: Source) -> tuple[OwnTool, ...]:
    """All of them, in the order in which they are offered."""
    questions = source.questions()
    return (
        OwnTool(
            "why_was_it_slow",
            "Why was it slow?",
            "Says why a request to anyclaude took as long as it did, from its log: waiting, reading"
            " the prompt, writing the answer, what broke the prefix cache and what that cost. Use"
            " it when asked why the last turn, or an answer, was slow. Without arguments it"
            " explains the slowest request of the newest session's last finished turn.",
            _object(
                request_id={
                    "type": "string",
                    "description": "A request-id (req_…) to explain instead of the last turn's.",
                }
            ),
            _why_slow,
        ),
        OwnTool(
            "log_report",
            "Ready questions about the log",
            "Answers one of these questions from anyclaude's request log: "
            + " ".join(f"{q.name}: {q.title}" for q in questions),
            _object(
                "question",
                question={"type": "string", "enum": [q.name for q in questions]},
                limit=_LIMIT,
            ),
            _report,
        ),
        OwnTool(
            "log_sql",
            "SQL over the log",
            "Runs one read-only DuckDB statement over anyclaude's request log. Tables: requests,"
            " tool_calls, tool_failures, searches, events, messages, request_messages. Columns and"
            " what they mean: SELECT table_name, column_name, comment FROM duckdb_columns() WHERE"
            " NOT internal.",
            _object("query", query={"type": "string", "minLength": 1}, limit=_LIMIT),
            _sql,
        ),
        OwnTool(
            "cache_status",
            "Caches",
            "Lists anyclaude's cache tiers: hits, misses, size and what each has saved.",
            _object(),
            _caches,
        ),
        OwnTool(
            "models",
            "Models",
            "Lists the models on this machine, which one is loaded, and the backends with their"
            " health.",
            _object(),
            _models,
        ),
        OwnTool(
            "running_requests",
            "Running requests",
            "Says what anyclaude is doing now: requests that run or wait, speeds and memory.",
            _object(),
            _running,
        ),
        OwnTool(
            "ask_local_model",
            "Ask the local model",
            "Hands work to the model that anyclaude serves on this machine and returns its answer."
            " It sees nothing but this prompt: put in everything it needs. Good for drafts,"
            " summaries and classification of text that shouldn't leave the machine.",
            _object(
                "prompt",
                prompt={"type": "string", "minLength": 1},
                system={"type": "string", "description": "What it should be told beforehand."},
                max_tokens={
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 32_000,
                    "description": "The longest answer, 1024 if not given.",
                },
                model={
                    "type": "string",
                    "description": "A model's name, for anyclaude's routes to go by; the one that"
                    " is loaded if not given.",
                },
            ),
            _ask,
            read_only=False,
        ),
    )


def _object(*required: str, **properties: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_LIMIT: JsonObject = {
    "type": "integer",
    "minimum": 1,
    "maximum": MAX_ROWS,
    "description": "The most rows, 50 if not given.",
}


# ------------------------------------------------------------------------------------- the log


async def _why_slow(source: Source, arguments: JsonObject) -> str:
    named = str(arguments.get("request_id", ""))
    async with source.control() as control:
        if named:
            return await _explained(control, await _named(control, named))
        turns = turns_of(await control.requests(RECENT))
        asked = turns.asked_about
        if not asked:
            raise NotFound("the log has no request of a conversation yet")
        text = await _explained(control, slowest(asked))
    lines = [text, "", f"It was the slowest of that turn's {_count(len(asked), 'request')}:"]
    lines += [f"- {one_line(record)}" for record in asked[-LISTED:]]
    if turns.running and asked is not turns.running:
        lines += ["", "Of the turn that is under way:"]
        lines += [f"- {one_line(record)}" for record in turns.running[-LISTED:]]
    return "\n".join(lines)


async def _explained(control: Control, record: RequestRecord) -> str:
    typical = await control.sql(typical_sql(record), 1)
    ran = await control.sql(ran_here_sql(record))
    return explain(record, typical_of(typical.rows[0]), [ran_here_of(row) for row in ran.rows])


async def _named(control: Control, request_id: str) -> RequestRecord:
    if not _ID.fullmatch(request_id):
        raise InvalidRequest("it is no request-id", field="request_id")
    result = await control.sql(
        "SELECT * REPLACE (epoch(started_at) AS started_at) FROM requests"
        f" WHERE id = '{request_id}'",
        1,
    )
    if not result.rows:
        raise NotFound(f"the log has no request {request_id}; log_report slowest lists some")
    known = RequestRecord.__dataclass_fields__
    row = zip(result.columns, result.rows[0], strict=True)
    return RequestRecord(**{name: value for name, value in row if name in known})  # type: ignore[arg-type]


async def _report(source: Source, arguments: JsonObject) -> str:
    wanted = next(q for q in source.questions() if q.name == arguments["question"])
    return f"{wanted.title}\n\n{await _rows(source, wanted.sql, arguments)}"


async def _sql(source: Source, arguments: JsonObject) -> str:
    return await _rows(source, str(arguments["query"]), arguments)


async def _rows(source: Source, query: str, arguments: JsonObject) -> str:
    limit = arguments.get("limit")
    rows = limit if isinstance(limit, int) else 50
    async with source.control() as control:
        result = await control.sql(query, rows, MAX_CELL)
    more = f"\nThere are more than these {rows} rows." if result.truncated else ""
    return source.render(result) + more


# ----------------------------------------------------------------------------- what there is


async def _caches(source: Source, arguments: JsonObject) -> str:
    async with source.control() as control:
        tiers = await control.cache()
    lines = []
    for tier in tiers:
        if not tier.enabled:
            lines.append(f"- {tier.tier}: off")
            continue
        asked = tier.hits + tier.misses
        share = f" ({tier.hits / asked:.0%})" if asked else ""
        size = f"{_mib(tier.bytes)} in {_count(tier.entries, 'entry', 'entries')}"
        if tier.limit_bytes:
            size += f", at most {_mib(tier.limit_bytes)}"
        lines.append(
            f"- {tier.tier}: {tier.hits} of {_count(asked, 'request')} hit{share}; {size};"
            f" {tier.evictions} evicted; saved {tier.tokens_saved:,} tokens and"
            f" {tier.seconds_saved:.1f} s"
        )
    return "\n".join(lines)


async def _models(source: Source, arguments: JsonObject) -> str:
    async with source.control() as control:
        models, backends = await control.models(), await control.backends()
    lines = ["Models on this machine:"]
    for model in models:
        state = "loaded" if model.loaded else "fits" if model.fits else "too large for the memory"
        window = f"window {model.context_limit:,}" if model.context_limit else "window unknown"
        quantised = f", {model.quantization}" if model.quantization else ""
        lines.append(f"- {model.name}: {state}, {_mib(model.size_bytes)}, {window}{quantised}")
    if not models:
        lines.append("- none")
    lines += ["", "Backends:"]
    for backend in backends:
        health = "healthy" if backend.healthy else f"not healthy ({backend.detail})"
        latency = f", first token {backend.latency_ms:.0f} ms" if backend.latency_ms else ""
        breaker = f", breaker {backend.breaker}" if backend.breaker else ""
        lines.append(
            f"- {backend.name} ({backend.type}): {health}, {backend.in_flight} in flight"
            f"{latency}{breaker}"
        )
    return "\n".join(lines)


async def _running(source: Source, arguments: JsonObject) -> str:
    async with source.control() as control:
        stats, running = await control.stats(), await control.running()
    vitals = stats.vitals
    lines = [
        f"{_count(len(running), 'answer')} under way, {vitals.waiting} waiting for the model"
        + (", admission is paused" if vitals.paused else ""),
        f"writing {vitals.decode_tps:.1f} tokens/s, reading {vitals.prefill_tps:.0f} tokens/s,"
        f" memory {_mib(vitals.memory_bytes)} of {_mib(vitals.memory_total_bytes)}",
        f"engine: {stats.engine.phase} {stats.engine.model}".rstrip(),
        *(
            f"- {r.id} {r.role}, {r.model or r.model_requested} at {r.backend}: for"
            f" {r.duration_ms / 1000:.1f} s,"
            + (
                " no token yet"
                if r.ttft_ms is None
                else f" first token after {r.ttft_ms / 1000:.2f} s"
            )
            for r in running
        ),
    ]
    return "\n".join(lines)


async def _ask(source: Source, arguments: JsonObject) -> str:
    longest = arguments.get("max_tokens")
    said = await source.ask(
        Ask(
            str(arguments["prompt"]),
            str(arguments.get("system", "")),
            longest if isinstance(longest, int) else 1024,
            str(arguments.get("model", "")),
        )
    )
    cut = "; cut off at max_tokens" if said.cut_off else ""
    return (
        f"{said.text}\n\n[{said.model}: {said.prompt_tokens:,} prompt tokens,"
        f" {said.output_tokens:,} written{cut}]"
    )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _mib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def checked(tool: OwnTool, arguments: Mapping[str, object]) -> str:
    """What is wrong with a call's arguments, as a sentence; empty when nothing is."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(tool.schema)
    for error in validator.iter_errors(arguments):
        where = ".".join(str(part) for part in error.absolute_path)
        return f"{where}: {error.message}" if where else error.message
    return ""
