"""The log database's tables, column by column, each since the migration that added it.

Every table, view and column carries its description as a ``COMMENT``, which is where
``docs/log-schema.md`` comes from (:func:`anyclaude.logs.docs.schema_markdown`).

Tables: ``requests``, ``tool_calls``, ``tool_failures``, ``mcp_calls``, ``searches``, ``events``,
``messages``, the link ``request_messages`` and ``prompt_sections``. Views: ``latency``
(percentiles), ``hit_rate`` (by hour), ``tool_success``, ``tools_used``, ``tool_quality``,
``tool_issues``, ``tool_refusals``, ``tokens_saved`` (by day and tier), ``sessions``,
``system_prompts``, ``misses``, ``keys``, ``prompts`` and ``mcp_tools``.

Instants are ``TIMESTAMP`` in UTC: DuckDB's Python client can't read ``TIMESTAMPTZ`` without a
package we don't ship. Our connections set the session's time zone to UTC, so that comparing
with ``now()`` is right.
"""

from __future__ import annotations

from dataclasses import dataclass

from anyclaude.types import PrefixBreak, Role, Tier


@dataclass(frozen=True, slots=True)
class Column:
    """A column: SQL type with constraints, what it holds, and the migration that added it.

    ``first_type`` is the type it was added with, when a later migration changed it.
    """

    name: str
    type: str
    comment: str
    since: int = 1
    first_type: str = ""

    @property
    def bare_type(self) -> str:
        """The type without constraints, fit for a ``CAST``."""
        return self.type.split(" ", 1)[0]


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    comment: str
    columns: tuple[Column, ...]
    since: int = 1

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


def _words(values: type[Role] | type[Tier] | type[PrefixBreak]) -> str:
    return ", ".join(value.value for value in values)


REQUESTS = Table(
    "requests",
    "One row per request, written before the last byte of its answer is sent.",
    (
        Column("id", "VARCHAR PRIMARY KEY", "The request-id header of the answer."),
        Column("started_at", "TIMESTAMP NOT NULL", "When it arrived, UTC."),
        Column("session_id", "VARCHAR", "The client's session, empty when it sent none."),
        Column("role", "VARCHAR", f"What it was for: {_words(Role)}."),
        Column("model_requested", "VARCHAR", "The model name the client asked for."),
        Column("model", "VARCHAR", "The model that answered."),
        Column("backend", "VARCHAR", "The backend that answered."),
        Column("route_reason", "VARCHAR", "Why that backend and model."),
        Column("streaming", "BOOLEAN", "Whether the answer was streamed."),
        Column("status", "INTEGER", "The HTTP status; 499 when the client hung up."),
        Column("stop_reason", "VARCHAR", "end_turn, tool_use, max_tokens or stop_sequence."),
        Column(
            "error_category",
            "VARCHAR",
            "network, schema, resource, timeout, invalid_input, not_implemented or unknown; "
            "NULL without an error.",
        ),
        Column("error_message", "VARCHAR", "The error as the client got it."),
        Column("system_tokens", "BIGINT", "Prompt tokens of the system prompt and the tools."),
        Column("user_tokens", "BIGINT", "Prompt tokens of everything after them."),
        Column("input_tokens", "BIGINT", "Prompt tokens neither read from nor put in a cache."),
        Column("output_tokens", "BIGINT", "Tokens generated."),
        Column("cache_level", "VARCHAR", "L1, L2, L3 or MISS."),
        Column("cache_tier", "VARCHAR", f"The tier that was hit: {_words(Tier)}; NULL on a miss."),
        Column("cache_read_tokens", "BIGINT", "Prompt tokens read from the KV cache."),
        Column(
            "cache_creation_tokens",
            "BIGINT",
            "New prompt tokens up to the last cache_control mark.",
        ),
        Column("kv_bytes", "BIGINT", "Bytes of the request's keys and values."),
        Column("tokens_reused", "BIGINT", "Prompt tokens that needed no prefill."),
        Column("time_saved_ms", "DOUBLE", "Prefill time saved by the reuse."),
        Column("queue_ms", "DOUBLE", "Waiting for the model."),
        Column("prefill_ms", "DOUBLE", "From the model's start on it to the first token."),
        Column("ttft_ms", "DOUBLE", "From arrival to the first token; NULL without one."),
        Column("decode_ms", "DOUBLE", "From the first token to the last."),
        Column("duration_ms", "DOUBLE", "From arrival to the last byte."),
        Column("tokens_per_second", "DOUBLE", "Decode speed; NULL when nothing was decoded."),
        Column("tool_count", "INTEGER", "Tools offered by the client."),
        Column("retries", "INTEGER", "Attempts after the first."),
        Column("prefix_break_at", "BIGINT", "The first prompt token that differed from the cache."),
        Column("prefix_break_cause", "VARCHAR", f"Why: {_words(PrefixBreak)}."),
        Column(
            "tokens_from_disk",
            "BIGINT DEFAULT 0",
            "Prompt tokens whose KV was loaded from disk.",
            since=3,
        ),
        Column(
            "tokens_lost",
            "BIGINT DEFAULT 0",
            "Prompt tokens that had been computed before and had to be again.",
            since=3,
        ),
        Column(
            "prefix_lost_ms",
            "DOUBLE DEFAULT 0",
            "What that took, at the prefill speed measured last.",
            since=3,
        ),
        Column(
            "prefix_break_message",
            "INTEGER",
            "The message that holds prefix_break_at; -1: the system prompt or the tools.",
            since=3,
        ),
        Column(
            "prefix_break_before",
            "VARCHAR",
            "The text there in the prompt before; NULL without a difference or when bodies are "
            "switched off.",
            since=3,
        ),
        Column("prefix_break_after", "VARCHAR", "The text there in this prompt.", since=3),
        Column(
            "system_id",
            "VARCHAR DEFAULT ''",
            "The same for requests with the same system prompt and tools.",
            since=3,
        ),
        Column(
            "key_name",
            "VARCHAR DEFAULT ''",
            "The name of the virtual key that it came with; empty when it came with none.",
            since=5,
        ),
        Column(
            "cost_usd",
            "DOUBLE DEFAULT 0",
            "Dollars by the backend's price_in and price_out; 0 where it has no price.",
            since=5,
        ),
        Column(
            "prompt_tier",
            "VARCHAR DEFAULT ''",
            "The tier in which system prompt and tools were shortened; empty: untouched.",
            since=6,
        ),
        Column("prompt_id", "VARCHAR DEFAULT ''", "prompt_sections.prompt_id.", since=6),
        Column(
            "prompt_tokens_before",
            "BIGINT DEFAULT 0",
            "Tokens of system texts and tools as the client sent them.",
            since=6,
        ),
        Column(
            "prompt_tokens_after",
            "BIGINT DEFAULT 0",
            "Tokens of system texts and tools as the model was shown them.",
            since=6,
        ),
        Column(
            "window_tokens",
            "BIGINT DEFAULT 0",
            "The model's context window; 0 where it isn't known.",
            since=6,
        ),
        Column(
            "overflow",
            "VARCHAR DEFAULT ''",
            "What was left out of the conversation to make it fit; empty: nothing.",
            since=6,
        ),
    ),
)

TOOL_CALLS = Table(
    "tool_calls",
    "One row per tool call that a model wrote, readable or not.",
    (
        Column("request_id", "VARCHAR NOT NULL", "requests.id."),
        Column("tool_use_id", "VARCHAR", "The id the client got, empty when it got no call."),
        Column("name", "VARCHAR", "The tool's name as the model wrote it."),
        Column("version", "INTEGER", "Attempts at the call, this one included."),
        Column("verdict", "VARCHAR", "valid, repaired, regenerated, failed or unparsed."),
        Column(
            "issues",
            "VARCHAR",
            "What was wrong with it as written: a JSON list of path, rule, got and expected. "
            "The rule unchecked is no fault; without an expected, got is a sentence.",
            first_type="VARCHAR[]",
        ),
        Column("repaired", "BOOLEAN", "Whether final differs from raw by our hand."),
        Column("raw", "VARCHAR", "The model's own text."),
        Column("final", "VARCHAR", "The input as sent to the client, JSON."),
        Column("tokens", "BIGINT", "Tokens the call took."),
        Column(
            "repairs",
            "VARCHAR DEFAULT '[]'",
            "What was mended: a JSON list of stage (syntax, alias, coerced or regenerated), path, "
            "before and after.",
            since=4,
        ),
        Column("ms", "DOUBLE DEFAULT 0", "Time from its first token to its last.", since=4),
    ),
)

TOOL_FAILURES = Table(
    "tool_failures",
    "One row per tool call that the client answered with an error.",
    (
        Column("tool_use_id", "VARCHAR PRIMARY KEY", "tool_calls.tool_use_id."),
        Column("request_id", "VARCHAR", "requests.id of the request that brought the result."),
        Column("happened_at", "TIMESTAMP NOT NULL", "When that was, UTC."),
        Column("name", "VARCHAR", "The tool's name as the client has it."),
        Column(
            "kind",
            "VARCHAR",
            "input (the arguments don't fit the client's schema), unknown_tool, refused (not run "
            "for another reason) or tool (it ran and failed).",
        ),
        Column("message", "VARCHAR", "The client's or the tool's words; NULL without bodies."),
    ),
    since=4,
)

MCP_CALLS = Table(
    "mcp_calls",
    "One row per call of an MCP server's tool that ran here, or was refused.",
    (
        Column("request_id", "VARCHAR NOT NULL", "requests.id."),
        Column("tool_use_id", "VARCHAR", "tool_calls.tool_use_id."),
        Column("happened_at", "TIMESTAMP NOT NULL", "When it ended, UTC."),
        Column("server", "VARCHAR", "The server's name in the configuration."),
        Column("tool", "VARCHAR", "The tool's name as its server has it."),
        Column("round", "INTEGER", "The answer's round in which it was called, from 1."),
        Column("arguments", "VARCHAR", "As JSON, the first characters; NULL without bodies."),
        Column(
            "status",
            "VARCHAR",
            "ok, error (the tool's own), refused (not allowed to run), timeout, lost (the server "
            "went away), cancelled or limit.",
        ),
        Column("result", "VARCHAR", "Its first characters; NULL without bodies."),
        Column("chars", "BIGINT", "Characters of the whole result."),
        Column("cached", "BOOLEAN", "Whether an earlier result answered it."),
        Column("suspicious", "VARCHAR", "What in the result reads like instructions, or empty."),
        Column("ms", "DOUBLE", "Time it took."),
    ),
    since=7,
)

SEARCHES = Table(
    "searches",
    "One row per web search made for a request.",
    (
        Column("request_id", "VARCHAR NOT NULL", "requests.id."),
        Column("provider", "VARCHAR", "Who was asked."),
        Column("query", "VARCHAR", "What was asked; empty without bodies."),
        Column("results", "INTEGER", "Results that came back."),
        Column("tokens", "BIGINT", "Prompt tokens the results took."),
        Column("ms", "DOUBLE", "Time it took."),
        Column("cached", "BOOLEAN", "Whether the answer came from the result cache."),
        Column("error", "VARCHAR", "What went wrong; NULL when nothing did."),
        Column(
            "pages",
            "VARCHAR",
            "JSON list of the addresses whose text was read and quoted; empty without bodies.",
            since=8,
        ),
    ),
)

EVENTS = Table(
    "events",
    "What happened apart from requests: errors, flushes, resets, model loads, memory pressure.",
    (
        Column("happened_at", "TIMESTAMP NOT NULL", "When, UTC."),
        Column("level", "VARCHAR", "info, warning or error."),
        Column(
            "kind",
            "VARCHAR",
            "error, flush, reset, model, memory, cache, canonical, echo, input, log, server, "
            "tools, breaker, route, search, prompt or mcp.",
        ),
        Column("message", "VARCHAR", "One line for a person."),
        Column("request_id", "VARCHAR", "requests.id; NULL when no request was concerned."),
        Column("detail", "VARCHAR", "More of it, empty when there is no more."),
    ),
)

MESSAGES = Table(
    "messages",
    "Message bodies, once each however often a client sends them again.",
    (
        Column("hash", "VARCHAR PRIMARY KEY", "The body's hash."),
        Column("role", "VARCHAR", "user, assistant or system."),
        Column("body", "VARCHAR", "The message as JSON; NULL when bodies are switched off."),
    ),
)

REQUEST_MESSAGES = Table(
    "request_messages",
    "Which messages a request had, in order.",
    (
        Column("request_id", "VARCHAR NOT NULL", "requests.id."),
        Column("position", "INTEGER NOT NULL", "The message's place in the request, from 0."),
        Column("hash", "VARCHAR NOT NULL", "messages.hash."),
    ),
)

PROMPT_SECTIONS = Table(
    "prompt_sections",
    "The parts of a shortened prompt, once for each prompt however many requests have it.",
    (
        Column("prompt_id", "VARCHAR NOT NULL", "The same for all requests with this prompt."),
        Column("position", "INTEGER NOT NULL", "The part's place in the prompt, from 0."),
        Column("place", "VARCHAR", "Where in the request: system.0, tools.Read, messages.1."),
        Column("title", "VARCHAR", "How the part begins; NULL when bodies are switched off."),
        Column(
            "kind",
            "VARCHAR",
            "safety, instruction, tool_rule, environment, heading, catalogue, reference or "
            "example.",
        ),
        Column("importance", "DOUBLE", "How much it matters, from 0 to 1."),
        Column("protected", "BOOLEAN", "Whether it must stay byte for byte."),
        Column(
            "action",
            "VARCHAR",
            "kept, shortened, dropped, duplicate, replaced, deferred (named only) or added.",
        ),
        Column("tokens_before", "BIGINT", "Its tokens as the client sent it."),
        Column("tokens_after", "BIGINT", "Its tokens as the model was shown it."),
    ),
    since=6,
)

TABLES = (
    REQUESTS,
    TOOL_CALLS,
    TOOL_FAILURES,
    MCP_CALLS,
    SEARCHES,
    EVENTS,
    MESSAGES,
    REQUEST_MESSAGES,
    PROMPT_SECTIONS,
)


def quote(text: str) -> str:
    """``text`` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
