"""Requests as JSON Lines in a file of their own, which is never written over another one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from anyclaude.errors import UsageError
from anyclaude.records import RequestDetail
from tui.request_row import RequestRow


def row_json(row: RequestRow, detail: RequestDetail | None = None) -> str:
    """One request: its row of the log, or of a running one what is known; its tool calls; and
    with ``detail`` also headers, body, prompt and answer."""
    if row.record is not None:
        values: dict[str, object] = asdict(row.record)
    else:
        values = {
            "id": row.id,
            "started_at": row.at,
            "session_id": row.session_id,
            "role": row.role,
            "model_requested": row.model_requested,
            "model": row.model,
            "backend": row.backend,
            "output_tokens": row.output_tokens,
        }
    values["phase"] = row.phase.value
    values["tool_calls"] = [asdict(call) for call in row.calls]
    if detail is not None:
        more = asdict(detail)
        calls = more.pop("tool_calls")
        values |= {**more, "headers": dict(detail.headers)}
        values["tool_calls"] = values["tool_calls"] or calls
    return json.dumps(values, ensure_ascii=False)


def rows_json(rows: Sequence[RequestRow]) -> Iterator[str]:
    """One line each, in the order of the list."""
    return (row_json(row) for row in rows)


def write_new(path: Path, lines: Iterable[str]) -> int:
    """Writes the lines to a new file that only its owner can read; returns how many.

    Raises :class:`UsageError` when there is such a file already or it can't be written; what
    was begun is gone then.
    """
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} exists already; name another file") from None
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}; name another file") from None
    count = 0
    try:
        with open(handle, "w", encoding="utf-8", errors="surrogatepass") as file:
            for text in lines:
                file.write(text + "\n")
                count += 1
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise UsageError(f"{path} can't be written: {error.strerror}; nothing is left") from None
    return count


def free_path(path: Path) -> Path:
    """``path``, or with a number before its suffix the first that isn't there."""
    count = 1
    found = path
    while found.exists() or found.is_symlink():
        count += 1
        found = path.with_name(f"{path.stem}-{count}{path.suffix}")
    return found
