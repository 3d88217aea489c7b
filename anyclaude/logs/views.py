"""The views that answer the usual questions about the log.

Counts of tokens (``role = 'count'``) generate nothing and hit no cache, so they are left out
wherever they would dilute a rate. A hang-up (status 499) is nobody's error.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """A named question, its answer in SQL, and a description for the docs.

    ``since`` is the number of the migration that creates it.
    """

    name: str
    comment: str
    sql: str
    since: int = 2


LATENCY = View(
    "latency",
    "Percentiles per model and backend, over requests that produced a first token: time to "
    "first token, whole duration and waiting in milliseconds, decode speed in tokens/s.",
    """
    SELECT model, backend, count(*) AS requests,
           quantile_cont(ttft_ms, 0.5) AS ttft_p50_ms,
           quantile_cont(ttft_ms, 0.95) AS ttft_p95_ms,
           quantile_cont(ttft_ms, 0.99) AS ttft_p99_ms,
           quantile_cont(duration_ms, 0.5) AS duration_p50_ms,
           quantile_cont(duration_ms, 0.95) AS duration_p95_ms,
           quantile_cont(queue_ms, 0.95) AS queue_p95_ms,
           quantile_cont(tokens_per_second, 0.5) AS decode_p50_tps
    FROM requests
    WHERE ttft_ms IS NOT NULL AND status = 200
    GROUP BY model, backend
    ORDER BY requests DESC, model, backend
    """,
)

HIT_RATE = View(
    "hit_rate",
    "Per hour (UTC): requests that hit a cache, and the share of prompt tokens that came out "
    "of one. Answered requests only.",
    """
    SELECT date_trunc('hour', started_at) AS hour, count(*) AS requests,
           count(*) FILTER (WHERE cache_level <> 'MISS') AS hits,
           count(*) FILTER (WHERE cache_level <> 'MISS') / count(*) AS hit_rate,
           CAST(sum(input_tokens + cache_read_tokens + cache_creation_tokens) AS BIGINT)
               AS prompt_tokens,
           CAST(sum(cache_read_tokens) AS BIGINT) AS cache_read_tokens,
           sum(cache_read_tokens)
               / nullif(sum(input_tokens + cache_read_tokens + cache_creation_tokens), 0)
               AS token_hit_rate
    FROM requests
    WHERE status = 200 AND role <> 'count'
    GROUP BY hour
    ORDER BY hour
    """,
)

TOOL_SUCCESS = View(
    "tool_success",
    "Per model and tool: calls by verdict, and the share that reached the client in a usable "
    "form (valid, repaired or regenerated).",
    """
    SELECT coalesce(r.model, '') AS model, t.name, count(*) AS calls,
           count(*) FILTER (WHERE t.verdict = 'valid') AS valid,
           count(*) FILTER (WHERE t.verdict = 'repaired') AS repaired,
           count(*) FILTER (WHERE t.verdict = 'regenerated') AS regenerated,
           count(*) FILTER (WHERE t.verdict = 'failed') AS failed,
           count(*) FILTER (WHERE t.verdict = 'unparsed') AS unparsed,
           count(*) FILTER (WHERE t.verdict IN ('valid', 'repaired', 'regenerated')) / count(*)
               AS success_rate
    FROM tool_calls t LEFT JOIN requests r ON r.id = t.request_id
    GROUP BY ALL
    ORDER BY calls DESC, model, t.name
    """,
)

TOOLS_USED = View(
    "tools_used",
    "Tools by how often they were called, in how many requests and sessions, and when last.",
    """
    SELECT t.name, count(*) AS calls, count(DISTINCT t.request_id) AS requests,
           count(DISTINCT r.session_id) AS sessions, CAST(sum(t.tokens) AS BIGINT) AS tokens,
           max(r.started_at) AS last_used
    FROM tool_calls t LEFT JOIN requests r ON r.id = t.request_id
    GROUP BY t.name
    ORDER BY calls DESC, t.name
    """,
)

TOOL_QUALITY = View(
    "tool_quality",
    "Per model and tool, most used first: calls that were valid as written, those mended in each "
    "stage (a call may need several), failed and unparsed ones, calls that the client refused and "
    "that failed when run, tokens, seconds of generation, and the shares that were valid at once "
    "and that reached the client in a usable form.",
    """
    WITH calls AS (
        SELECT coalesce(r.model, '') AS model, t.*,
               json_extract_string(t.repairs, '$[*].stage') AS stages, f.kind AS failure
        FROM tool_calls t
        LEFT JOIN requests r ON r.id = t.request_id
        LEFT JOIN tool_failures f ON f.tool_use_id = t.tool_use_id AND t.tool_use_id <> ''
    )
    SELECT model, name, count(*) AS calls,
           count(*) FILTER (WHERE verdict = 'valid') AS valid_at_once,
           count(*) FILTER (WHERE list_contains(stages, 'syntax')) AS mended_syntax,
           count(*) FILTER (WHERE list_contains(stages, 'alias')) AS mended_alias,
           count(*) FILTER (WHERE list_contains(stages, 'coerced')) AS mended_coerced,
           count(*) FILTER (WHERE verdict = 'regenerated') AS regenerated,
           count(*) FILTER (WHERE verdict = 'failed') AS failed,
           count(*) FILTER (WHERE verdict = 'unparsed') AS unparsed,
           count(*) FILTER (WHERE failure IN ('input', 'unknown_tool', 'refused'))
               AS refused_by_client,
           count(*) FILTER (WHERE failure = 'tool') AS failed_when_run,
           CAST(sum(tokens) AS BIGINT) AS tokens,
           sum(ms) / 1000 AS seconds,
           count(*) FILTER (WHERE verdict = 'valid') / count(*) AS valid_share,
           count(*) FILTER (WHERE verdict IN ('valid', 'repaired', 'regenerated')) / count(*)
               AS usable_share
    FROM calls
    GROUP BY model, name
    ORDER BY calls DESC, model, name
    """,
    since=4,
)

TOOL_ISSUES = View(
    "tool_issues",
    "What is wrong with calls as models write them, per model, tool, rule and path (indices as "
    "*): how often, how many of those calls were mended, what was expected, an example of what "
    "came instead, and when last.",
    """
    WITH said AS (
        SELECT coalesce(r.model, '') AS model, t.name, t.verdict, r.started_at,
               unnest(from_json(t.issues,
                   '[{"path":"VARCHAR","rule":"VARCHAR","got":"VARCHAR","expected":"VARCHAR"}]'
               )) AS issue
        FROM tool_calls t LEFT JOIN requests r ON r.id = t.request_id
    )
    SELECT model, name, issue.rule AS rule,
           regexp_replace(issue.path, '(^|\\.)[0-9]+', '\\1*', 'g') AS path,
           count(*) AS times,
           count(*) FILTER (WHERE verdict IN ('repaired', 'regenerated')) AS mended,
           any_value(issue.expected) AS expected, any_value(issue.got) AS example,
           max(started_at) AS last_at
    FROM said
    WHERE issue.rule <> 'unchecked'
    GROUP BY ALL
    ORDER BY times DESC, model, name, rule, path
    """,
    since=4,
)

TOOL_REFUSALS = View(
    "tool_refusals",
    "Calls that the client answered with an error, newest first: its words, and what we had "
    "thought of the call that caused it. Calls of an older log have no model and verdict.",
    """
    SELECT f.happened_at, r.model, f.name, f.kind, f.message, t.verdict, t.issues, t.repairs,
           t.raw, t.final, f.tool_use_id, t.request_id AS call_request_id,
           f.request_id AS result_request_id
    FROM tool_failures f
    LEFT JOIN tool_calls t ON t.tool_use_id = f.tool_use_id
    LEFT JOIN requests r ON r.id = t.request_id
    ORDER BY f.happened_at DESC
    """,
    since=4,
)

TOKENS_SAVED = View(
    "tokens_saved",
    "Per day (UTC) and cache tier: prompt tokens that needed no prefill and the seconds that "
    "saved. Requests that hit no tier have tier NULL.",
    """
    SELECT CAST(started_at AS DATE) AS day, cache_tier AS tier, count(*) AS requests,
           CAST(sum(input_tokens + cache_read_tokens + cache_creation_tokens) AS BIGINT)
               AS prompt_tokens,
           CAST(sum(tokens_reused) AS BIGINT) AS tokens_reused,
           sum(time_saved_ms) / 1000 AS seconds_saved
    FROM requests
    WHERE role <> 'count'
    GROUP BY day, tier
    ORDER BY day, tier
    """,
)

SESSIONS = View(
    "sessions",
    "Per client session: its span, requests by role, errors, tokens, the share of its prompts "
    "read from a cache, and tool calls.",
    """
    WITH calls AS (
        SELECT r.session_id, count(*) AS tool_calls
        FROM tool_calls t JOIN requests r ON r.id = t.request_id
        GROUP BY r.session_id
    )
    SELECT r.session_id, min(r.started_at) AS first_at, max(r.started_at) AS last_at,
           count(*) AS requests,
           count(*) FILTER (WHERE r.role = 'main') AS main,
           count(*) FILTER (WHERE r.role = 'subagent') AS subagent,
           count(*) FILTER (WHERE r.error_category IS NOT NULL AND r.status <> 499) AS errors,
           CAST(sum(r.input_tokens + r.cache_read_tokens + r.cache_creation_tokens)
               FILTER (WHERE r.role <> 'count') AS BIGINT) AS prompt_tokens,
           CAST(sum(r.output_tokens) AS BIGINT) AS output_tokens,
           sum(r.cache_read_tokens) FILTER (WHERE r.role <> 'count')
               / nullif(sum(r.input_tokens + r.cache_read_tokens + r.cache_creation_tokens)
                   FILTER (WHERE r.role <> 'count'), 0) AS cache_share,
           coalesce(any_value(c.tool_calls), 0) AS tool_calls
    FROM requests r LEFT JOIN calls c ON c.session_id = r.session_id
    GROUP BY r.session_id
    ORDER BY last_at DESC
    """,
)

SYSTEM_PROMPTS = View(
    "system_prompts",
    "Per system prompt with its tools (system_id) and model, answered requests only: their "
    "number, the head's tokens, hits (the whole head came out of a cache), the median time to "
    "first token in milliseconds without and with a hit, the prompt tokens that needed no "
    "prefill and the seconds that saved, tokens that had to be computed again, and the roles.",
    """
    WITH answered AS (
        SELECT *, tokens_reused > 0 AND tokens_reused >= system_tokens - 1 AS hit
        FROM requests
        WHERE status = 200 AND role <> 'count' AND system_id <> ''
    )
    SELECT system_id, model, max(system_tokens) AS tokens, count(*) AS requests,
           count(*) FILTER (WHERE hit) AS hits,
           quantile_cont(ttft_ms, 0.5) FILTER (WHERE NOT hit) AS first_ttft_ms,
           quantile_cont(ttft_ms, 0.5) FILTER (WHERE hit) AS cached_ttft_ms,
           CAST(sum(tokens_reused) AS BIGINT) AS tokens_saved,
           sum(time_saved_ms) / 1000 AS seconds_saved,
           CAST(sum(tokens_lost) AS BIGINT) AS tokens_lost,
           max(started_at) AS last_seen,
           string_agg(DISTINCT role, ', ' ORDER BY role) AS roles
    FROM answered
    GROUP BY system_id, model
    ORDER BY requests DESC, last_seen DESC
    """,
    since=3,
)

MISSES = View(
    "misses",
    "Prompts that didn't just go on where the last one ended, newest first: the likely cause, "
    "the first token and the message concerned (-1: the system prompt or the tools), what had "
    "been computed and must be again, in tokens and in seconds at the measured speed, and the "
    "texts around a difference, then and now.",
    """
    SELECT started_at, id, session_id, role, model, prefix_break_cause AS cause,
           prefix_break_at AS token, prefix_break_message AS message,
           tokens_lost, prefix_lost_ms / 1000 AS seconds_lost,
           input_tokens + cache_read_tokens + cache_creation_tokens AS prompt_tokens,
           tokens_reused, tokens_from_disk,
           prefix_break_before AS text_before, prefix_break_after AS text_after
    FROM requests
    WHERE prefix_break_cause <> 'none'
    ORDER BY started_at DESC
    """,
    since=3,
)

KEYS = View(
    "keys",
    "Per virtual key, since midnight UTC: requests, tokens read (from a cache or not) and "
    "written, errors, and dollars.",
    """
    SELECT key_name, count(*) AS requests,
           CAST(sum(input_tokens + cache_read_tokens + cache_creation_tokens + output_tokens)
               AS BIGINT) AS tokens,
           count(*) FILTER (WHERE status >= 400 AND status <> 499) AS errors,
           sum(cost_usd) AS cost_usd,
           max(started_at) AS last_seen
    FROM requests
    WHERE key_name <> '' AND role <> 'count'
          AND started_at >= date_trunc('day', CAST(now() AS TIMESTAMP))
    GROUP BY key_name
    ORDER BY tokens DESC, key_name
    """,
    since=5,
)

PROMPTS = View(
    "prompts",
    "Per model and tier, over answered requests: tokens of system texts and tools as they were "
    "sent and as the model was shown them, how full the window was on average and at most, and "
    "how many requests had something of their conversation left out.",
    """
    SELECT model, prompt_tier, count(*) AS requests,
           CAST(avg(prompt_tokens_before) AS BIGINT) AS tokens_before,
           CAST(avg(prompt_tokens_after) AS BIGINT) AS tokens_after,
           sum(prompt_tokens_after) / nullif(sum(prompt_tokens_before), 0) AS share,
           avg((input_tokens + cache_read_tokens + cache_creation_tokens)
               / nullif(window_tokens, 0)) AS window_used,
           max((input_tokens + cache_read_tokens + cache_creation_tokens)
               / nullif(window_tokens, 0)) AS window_used_most,
           count(*) FILTER (WHERE overflow <> '') AS cut
    FROM requests
    WHERE status = 200 AND role <> 'count'
    GROUP BY model, prompt_tier
    ORDER BY requests DESC, model, prompt_tier
    """,
    since=6,
)

MCP_TOOLS = View(
    "mcp_tools",
    "Per tool of an MCP server: calls, those that came to a result, those that an earlier result "
    "answered, those refused, and the median and the longest time of the others in milliseconds.",
    """
    SELECT server, tool, count(*) AS calls,
           count(*) FILTER (WHERE status = 'ok') AS ok,
           count(*) FILTER (WHERE cached) AS cached,
           count(*) FILTER (WHERE status = 'refused') AS refused,
           count(*) FILTER (WHERE suspicious <> '') AS suspicious,
           quantile_cont(ms, 0.5) FILTER (WHERE NOT cached AND status <> 'refused') AS median_ms,
           max(ms) FILTER (WHERE NOT cached AND status <> 'refused') AS longest_ms,
           max(happened_at) AS last_at
    FROM mcp_calls
    GROUP BY server, tool
    ORDER BY calls DESC, server, tool
    """,
    since=7,
)

VIEWS = (
    LATENCY,
    HIT_RATE,
    TOOL_SUCCESS,
    TOOLS_USED,
    TOOL_QUALITY,
    TOOL_ISSUES,
    TOOL_REFUSALS,
    TOKENS_SAVED,
    SESSIONS,
    SYSTEM_PROMPTS,
    MISSES,
    KEYS,
    PROMPTS,
    MCP_TOOLS,
)
