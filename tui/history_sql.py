"""What the history asks the log: pages of requests and of sessions, under a filter.

The filter is the request list's own; here its terms become conditions of SQL, so that the whole
log is searched and not only what was loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from anyclaude.records import RequestRecord
from tui.filters import Part

PAGE = 200

_COLUMNS = tuple(field.name for field in dataclasses.fields(RequestRecord))
_PROMPT = "(input_tokens + cache_read_tokens + cache_creation_tokens)"
_PHASE = "CASE WHEN status = 499 THEN 'cancelled' WHEN status < 400 THEN 'done' ELSE 'failed' END"
_CALLS = (
    "(SELECT string_agg(t.name || ' ' || t.verdict, ' ' ORDER BY t.rowid) "
    "FROM tool_calls t WHERE t.request_id = requests.id)"
)
_HIT = (
    f"CASE WHEN {_PROMPT} > 0 THEN concat_ws(' ', "
    "CASE WHEN cache_read_tokens > 0 THEN 'hit' ELSE 'miss' END, coalesce(cache_tier, ''), "
    "coalesce(prefix_break_cause, '')) END"
)
_FIELDS = {
    "status": f"{_PHASE} || ' ' || status || ' ' || coalesce(stop_reason, '') || ' ' "
    "|| coalesce(error_category, '')",
    "model": "model_requested || ' ' || model || ' ' || backend",
    "tool": _CALLS,
    "cache": _HIT,
    "role": "role",
    "id": "id || ' ' || session_id",
}
_ANYTHING = ", ".join(
    f"coalesce({text}, '')" for text in (*_FIELDS.values(), "route_reason", "error_message")
)
_LOST = "CASE WHEN prefix_break_cause IS NULL THEN 0 ELSE tokens_lost END"
_FIGURES = {
    "ttft": "ttft_ms / 1000",
    "in": f"nullif({_PROMPT}, 0)",
    "out": "output_tokens",
    "lost": f"CASE WHEN {_PROMPT} > 0 THEN {_LOST} END",
    "tps": "tokens_per_second",
    "time": "duration_ms / 1000",
}


def conditions(parts: Sequence[Part], session: str | None = None) -> tuple[str, str]:
    """A condition on ``requests`` for these terms, and the first term that has no such form.

    With ``session`` only that session's requests.
    """
    found: list[str] = []
    left_out = ""
    for part in parts:
        text = _condition(part)
        if text is None:
            left_out = left_out or f"{part.field}{part.sign or ':'}"
        else:
            found.append(f"NOT {text}" if part.inverted else text)
    if session is not None:
        found.append(f"session_id = {quoted(session)}")
    return " AND ".join(found) or "true", left_out


def _condition(part: Part) -> str | None:
    if part.sign:
        figure = _FIGURES.get(part.field)
        return figure and f"coalesce({figure} {part.sign} {part.limit!r}, false)"
    text = _FIELDS.get(part.field) if part.field else f"concat_ws(' ', {_ANYTHING})"
    return text and f"contains(lower(coalesce({text}, '')), {quoted(part.value.lower())})"


def requests_sql(where: str, after: tuple[int, str] | None) -> str:
    """A page of requests, newest first, that come after the one with that time (in µs) and id.

    The columns are those of a record, ``started_at`` as µs, and last the calls as JSON.
    """
    columns = ", ".join("epoch_us(started_at)" if c == "started_at" else c for c in _COLUMNS)
    calls = (
        "(SELECT to_json(list({'name': t.name, 'verdict': t.verdict} ORDER BY t.rowid)) "
        "FROM tool_calls t WHERE t.request_id = requests.id)"
    )
    if after is not None:
        where = f"({where}) AND (started_at, id) < (make_timestamp({after[0]}), {quoted(after[1])})"
    return (
        f"SELECT {columns}, {calls} FROM requests WHERE {where} "
        f"ORDER BY started_at DESC, id DESC LIMIT {PAGE}"
    )


def request_count_sql(where: str) -> str:
    """How many requests there are in all the pages."""
    return f"SELECT count(*) FROM requests WHERE {where}"


def sessions_sql(where: str, after: tuple[int, str] | None) -> str:
    """A page of sessions of the requests that ``where`` leaves, the last active one first.

    The columns are those of :class:`tui.history.SessionRow`. Counts of tokens hit no cache, so
    they are no part of the prompt tokens.
    """
    having = ""
    if after is not None:
        having = (
            "HAVING (max(started_at), session_id) < "
            f"(make_timestamp({after[0]}), {quoted(after[1])}) "
        )
    return (
        "SELECT session_id, epoch_us(min(started_at)), epoch_us(max(started_at)), count(*), "
        f"coalesce(sum({_PROMPT}) FILTER (WHERE role <> 'count'), 0)::BIGINT, "
        "sum(output_tokens)::BIGINT, "
        "coalesce(sum(tokens_reused) FILTER (WHERE role <> 'count'), 0)::BIGINT, "
        "sum(time_saved_ms)::DOUBLE, "
        "count(*) FILTER (WHERE error_category IS NOT NULL AND status <> 499), "
        "coalesce(arg_max(model_requested, started_at) FILTER (WHERE role = 'main'), "
        "arg_max(model_requested, started_at)) "
        f"FROM requests WHERE {where} GROUP BY session_id {having}"
        f"ORDER BY max(started_at) DESC, session_id DESC LIMIT {PAGE}"
    )


def session_count_sql(where: str) -> str:
    """How many sessions there are in all the pages."""
    return f"SELECT count(DISTINCT session_id) FROM requests WHERE {where}"


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("\0", "").replace("'", "''") + "'"
