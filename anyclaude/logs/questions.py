"""Questions that are ready to be asked: the log's views, and a few of its tables."""

from __future__ import annotations

from dataclasses import dataclass

from anyclaude.logs.views import VIEWS


@dataclass(frozen=True, slots=True)
class Question:
    """A question in words and in SQL; ``about`` says what the answer's columns mean."""

    name: str
    title: str
    sql: str
    about: str = ""


TITLES = {
    "latency": "How fast are answers, per model and backend?",
    "hit_rate": "How often did a cache help, hour by hour?",
    "tool_success": "How many tool calls reached the client in a usable form?",
    "tools_used": "Which tools are called most, and when last?",
    "tool_quality": "How well does each model call each tool, and what was mended?",
    "tool_issues": "What do models get wrong in their calls?",
    "tool_refusals": "Which calls did the client refuse, and in what words?",
    "tokens_saved": "What did each cache tier save, day by day?",
    "sessions": "What did each session ask for, and how much came from a cache?",
    "system_prompts": "How does each system prompt fare in the cache?",
    "misses": "Why were prompts read again, and what did that cost?",
    "keys": "What has each virtual key used today?",
    "mcp_tools": "Which tools of MCP servers ran here, and how did they fare?",
    "prompts": "How much of its prompts was each model shown, and how full is its window?",
}
"""The question that each view answers."""

_TABLES = (
    Question(
        "slowest",
        "Which requests kept someone waiting longest?",
        """SELECT started_at, id, role, model, ttft_ms, queue_ms, prefill_ms, duration_ms,
       tokens_reused, tokens_lost, prefix_break_cause AS cause
FROM requests
WHERE ttft_ms IS NOT NULL
ORDER BY ttft_ms DESC
LIMIT 50""",
        "The fifty requests with the latest first token; times are milliseconds.",
    ),
    Question(
        "failed",
        "Which requests failed, and in what words?",
        """SELECT started_at, id, role, model_requested, status, error_category, error_message
FROM requests
WHERE error_category IS NOT NULL
ORDER BY started_at DESC""",
        "Newest first; the message is what the client got.",
    ),
    Question(
        "events",
        "What happened lately, apart from requests?",
        """SELECT happened_at, level, kind, message, request_id
FROM events
ORDER BY happened_at DESC
LIMIT 200""",
        "Errors, flushes, resets, model loads and memory pressure, newest first.",
    ),
    Question(
        "searches",
        "What was searched for on the web, and by whom?",
        """SELECT started_at, provider, query, results, tokens, ms, cached, error, role, request_id
FROM searches JOIN requests ON requests.id = request_id
ORDER BY started_at DESC
LIMIT 200""",
        "Newest first; role search is the client's own tool, any other had results put in unasked.",
    ),
    Question(
        "columns",
        "What is in the log: which tables, with which columns?",
        """SELECT table_name, column_name, data_type
FROM information_schema.columns
WHERE table_schema = 'main'
ORDER BY table_name, ordinal_position""",
        "What each of them holds is in docs/log-schema.md.",
    ),
)


def questions() -> tuple[Question, ...]:
    """All of them, in the order of the list."""
    views = [Question(v.name, TITLES[v.name], f"SELECT * FROM {v.name}", v.comment) for v in VIEWS]
    return (*views, *_TABLES)
