"""What can be copied of a request, ready to paste, and the reason where something can't."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude.config.client_env import OPEN_TOKEN
from anyclaude.records import RequestDetail, ToolCallRecord
from tui.request_row import RequestRow

_FORWARDED = ("anthropic-version", "anthropic-beta")
_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class Copyable:
    """One line of the copy menu; without ``text`` there is nothing, and ``note`` says why."""

    id: str
    name: str
    text: str
    note: str = ""


def copyables(
    row: RequestRow | None,
    detail: RequestDetail | None,
    address: str,
    env_lines: Sequence[str],
    shown: tuple[str, str],
    *,
    looking: bool = False,
) -> tuple[Copyable, ...]:
    """Everything the menu offers; ``shown`` is the text on show and what to call it.

    ``detail`` is that of ``row``, or ``None`` when it isn't kept, or not known yet: ``looking``.
    """
    text, what = shown
    first = Copyable("shown", f"What is on show: {what}" if what else "What is on show", text)
    paste = Copyable("paste", "The lines to paste into another terminal", "\n".join(env_lines))
    if row is None:
        return first, paste
    unknown = "still being looked up" if looking else "not kept any more"
    gone = unknown if detail is None else "empty"
    calls = row.calls or (detail.tool_calls if detail else ())
    return (
        first,
        Copyable("id", "Request id", row.id),
        Copyable("prompt", "Prompt, as the model read it", detail.prompt if detail else "", gone),
        Copyable("output", "Output, as the model wrote it", output_of(row, detail), gone),
        Copyable("tools", "Tool calls as JSON", tools_of(calls), "it called no tool"),
        _curl(detail, address, unknown),
        Copyable("sql", "SQL for this request", sql_of(row.id)),
        paste,
    )


def output_of(row: RequestRow, detail: RequestDetail | None) -> str:
    """The model's own text; of a running request what there is so far."""
    if detail is not None and detail.output:
        return detail.output
    return "".join(piece.text for piece in row.pieces)


def tools_of(calls: Sequence[ToolCallRecord]) -> str:
    """The calls as the client got them, and as written where they could not be delivered."""
    if not calls:
        return ""
    found: list[dict[str, object]] = []
    for call in calls:
        given = {"name": call.name, "id": call.tool_use_id, "verdict": call.verdict}
        try:
            found.append({**given, "input": json.loads(call.final)})
        except ValueError:
            found.append({**given, "raw": call.raw})
    return json.dumps(found, indent=2, ensure_ascii=False)


def sql_of(request_id: str) -> str:
    """Questions about one request for the SQL pane or DuckDB."""
    value = "'" + request_id.replace("'", "''") + "'"
    return (
        f"SELECT * FROM requests WHERE id = {value};\n"
        f"SELECT * FROM tool_calls WHERE request_id = {value};"
    )


def _curl(detail: RequestDetail | None, address: str, unknown: str) -> Copyable:
    name = "curl that sends it again"
    if detail is None or not detail.body:
        return Copyable("curl", name, "", unknown if detail is None else "its body is not kept")
    try:
        body = json.loads(detail.body)
    except ValueError:
        return Copyable("curl", name, "", "its body is not JSON")
    if not isinstance(body, dict) or "model" not in body:
        return Copyable("curl", name, "", "only its messages are kept")
    return Copyable("curl", name, curl_of(detail, address, stream=bool(body.get("stream"))))


def curl_of(detail: RequestDetail, address: str, *, stream: bool) -> str:
    """A command for sh that sends the body as it was received.

    The key is never in it: the shell puts that of ``anyclaude env`` in. The body goes by
    standard input, since as an argument it may be longer than the system allows.
    """
    headers = {"content-type": "application/json", "anthropic-version": _VERSION}
    headers |= {name.lower(): v for name, v in detail.headers if name.lower() in _FORWARDED}
    end = "BODY"
    while end in detail.body.split("\n"):
        end += "_"
    lines = [f"curl -sS{'N' if stream else ''} {shlex.quote(f'{address}/v1/messages')}"]
    lines += [f"  -H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    lines.append(f'  -H "authorization: Bearer ${{ANTHROPIC_AUTH_TOKEN:-{OPEN_TOKEN}}}"')
    lines.append(f"  --data-binary @- <<'{end}'")
    return " \\\n".join(lines) + f"\n{detail.body}\n{end}\n"
